"""A synthetic task that takes two layers: random words that repeat, each sequence with a period of its own.

What comes next is what followed the same word before. The periods differ, so that counting back a fixed number of
tokens does not find it.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from torch import Tensor

from lens.load.staged import D_VOCAB, N_CTX

BOS, UNKNOWN = "<bos>", "<unk>"
TEXT = (
    "the cat sat on mat dog red apple green pear blue plum sun moon star sea hill tree bird fish book door house milk "
    "bread salt rain snow wind fire stone gold king queen boy girl ship boat road bell clock lamp song rose leaf hand "
    "ring bear"
)
WORDS = tuple(TEXT.split())  # those of the examples in the prompt box among them
FIRST = D_VOCAB - len(WORDS)  # id of the first word, after BOS and the unknown word
PERIODS = range(6, 17)
LENGTH = N_CTX + 1  # a sequence with its BOS: the last token is predicted, never read


class Sequences(NamedTuple):
    """[BOS] and 32 words, of which the first ``period`` are distinct and come again and again."""

    tokens: Int[Tensor, "batch pos"]
    period: Int[Tensor, " batch"]

    @property
    def later(self) -> Bool[Tensor, "batch predicted"]:
        """Which predictions are of later copies: entry p predicts token p + 1; the first copy ends at ``period``."""
        return torch.arange(1, self.tokens.shape[1])[None] > self.period[:, None]


def sequences(n: int, *seed: int) -> Sequences:
    """``n`` sequences, decided by ``seed``: periods even over 6 … 16, words of a period without replacement."""
    random = np.random.default_rng(seed)
    period = random.integers(PERIODS.start, PERIODS.stop, n)
    words = FIRST + random.random((n, len(WORDS))).argsort(1)[:, : PERIODS.stop - 1]
    place = np.arange(LENGTH - 1)[None] % period[:, None]
    rows = np.concatenate([np.zeros((n, 1), np.int64), np.take_along_axis(words, place, 1)], 1)
    return Sequences(torch.from_numpy(rows), torch.from_numpy(period))


def guess_loss(given: Sequences) -> float:
    """Loss of a guess among the repeated words, nats: ln(period), mean over all predictions of later copies."""
    return given.period.double().log()[:, None].expand(given.later.shape)[given.later].mean().item()


def distance_loss(given: Sequences) -> float:
    """Loss of a guess that counts back, nats, mean over all predictions of later copies.

    It gives the words 6 to 16 tokens back equal shares, whatever they are: what can be known without comparing words.
    A word that stands at two of these distances has both shares, so the loss is below ln 11.
    """
    hits, counted = torch.zeros(given.later.shape), torch.zeros(given.later.shape)
    target = torch.arange(1, given.tokens.shape[1])
    for back in PERIODS:
        source = given.tokens[:, (target - back).clamp(min=0)]
        there = target > back
        hits += (source == given.tokens[:, 1:]) & there
        counted += there
    return -(hits / counted)[given.later].double().log().mean().item()


def per_sequence(loss: Float[Tensor, "batch predicted"], given: Sequences) -> Float[Tensor, " batch"]:
    """Mean loss on later copies, sequence by sequence."""
    return (loss * given.later).sum(1) / given.later.sum(1)


def make_tokenizer() -> Tokenizer:
    """A word is a token, with the space before it; case and punctuation are dropped, other words are ``<unk>``."""
    vocab = {token: i for i, token in enumerate((BOS, UNKNOWN, *(f" {word}" for word in WORDS)))}
    tokenizer = Tokenizer(WordLevel(vocab, unk_token=UNKNOWN))
    kept = normalizers.Replace(Regex("[^a-z]+"), " ")
    ends = (normalizers.Replace(Regex(" $"), ""), normalizers.Replace(Regex("^(?=[a-z])"), " "))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), kept, *ends])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(" [a-z]+"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([BOS, UNKNOWN])
    return tokenizer


def save_tokenizer(folder: Path) -> None:
    """Write the two files that a model folder needs to read text."""
    make_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": BOS, "unk_token": UNKNOWN}), "utf-8")
