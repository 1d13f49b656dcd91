"""The byte-level BPE tokenizer of the shipped models, and their text as token ids."""

import json
from collections.abc import Iterator
from pathlib import Path
from string import ascii_uppercase

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from lens.load.files import TOKEN_COUNTS

BOS = "<|endoftext|>"  # id 0: begins every context, and parts the documents of a packed one
D_VOCAB = 1024
NAMES = (
    "John Mary Tom James Anna Sarah David Emma Jane Paul Peter Mark Alice Claire Dan Amy "
    "Kate Tim Sam Bob Max Lisa Susan George"
)
PRONOUNS = "he she it they we you I him her his its them me my your our their who"
WHOLE = tuple(f" {word}" for word in [*NAMES.split(), *PRONOUNS.split(), *ascii_uppercase])  # each is one token
EVERY = 4  # the tokenizer is trained on every fourth document
OFTEN = 20_000  # how many times each of WHOLE is shown to it, so that it earns a merge of its own


def train_tokenizer(texts: list[str], d_vocab: int = D_VOCAB, often: int = OFTEN) -> Tokenizer:
    """A tokenizer of ``d_vocab`` ids: BOS, the 256 bytes, and merges. Digits stand alone, as numbers are read so."""
    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Split(Regex(r"\d"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=d_vocab, special_tokens=[BOS], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(_shown(texts, often), trainer)
    return tokenizer


def _shown(texts: list[str], often: int) -> Iterator[str]:
    yield from texts[::EVERY]
    for word in WHOLE:
        yield word * often


def read_texts(corpus: Path) -> list[str]:
    """The documents of ``train.jsonl``, in its order."""
    with (corpus / "train.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def encode(tokenizer: Tokenizer, texts: list[str]) -> np.ndarray:
    """All documents as one row of ids, uint16, with a BOS before each."""
    bos = tokenizer.token_to_id(BOS)
    encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return np.concatenate([np.array([bos, *one.ids], np.uint16) for one in encoded])


def save_token_counts(tokens: np.ndarray, d_vocab: int, folder: Path) -> None:
    """Write how often each id occurs in ``tokens``: random tokens for tests are drawn without the rarest."""
    counts = np.bincount(tokens, minlength=d_vocab).tolist()
    (folder / TOKEN_COUNTS).write_text(json.dumps({"counts": counts}) + "\n", "utf-8")


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the two files that a model folder needs to read text."""
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": BOS, "eos_token": BOS}), "utf-8")
