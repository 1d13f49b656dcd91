"""The tokenizer inside a GGUF file, as the two files that a Hugging Face folder has for it."""

from typing import Any, NamedTuple

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from lens.load.gguf import GGUFFile
from lens.untrusted import damage

UNKNOWN, CONTROL, USER_DEFINED = 2, 3, 4  # tokenizer.ggml.token_type
SPACE = "▁"  # what stands for a space in a SentencePiece vocabulary


def _byte_level(use_regex: bool = True) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


# How a text is cut before the merges of a byte-level vocabulary, by the name that the file gives (tokenizer.ggml.pre):
# as GPT-2 does, as that with every digit alone, or by an expression that transformers keeps under the same name.
LIKE_GPT2 = ("gpt-2", "phi-2", "mpt", "olmo")
DIGITS_ALONE = ("smollm", "starcoder", "refact", "command-r")
UNSAID = (None, "default")  # older files of GPT-2 and GPT-NeoX, which both cut as GPT-2 does
# A piece that is a token is taken whole in these, whatever the merges would make of it, and a text begins with BOS.
WHOLE_FIRST = ("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "tekken")


ENDS = ("eos", "eot", "eom")  # of a text, of a turn, of a message: generation stops at each


class TokenizerFiles(NamedTuple):
    """Contents of tokenizer.json (text) and tokenizer_config.json (object), and the tokens with which a text ends."""

    tokenizer: str
    config: dict[str, Any]
    end_ids: list[int]


def tokenizer_files(file: GGUFFile) -> TokenizerFiles:
    """The tokenizer of a GGUF; ValueError names a kind that Lens does not build."""
    tokenizer = build(file)
    tokens = file.fields["tokenizer.ggml.tokens"]
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    for name, field in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        token_id = _special(file, field, len(tokens))
        if token_id is not None:
            config[f"{name}_token"] = tokens[token_id]
    if "tokenizer.chat_template" in file.fields:
        config["chat_template"] = file.fields["tokenizer.chat_template"]
    ends = (_special(file, field, len(tokens)) for field in ENDS)
    return TokenizerFiles(tokenizer.to_str(), config, [end for end in dict.fromkeys(ends) if end is not None])


def _special(file: GGUFFile, field: str, n_tokens: int) -> int | None:
    token_id = file.fields.get(f"tokenizer.ggml.{field}_token_id")
    if token_id is not None and not (isinstance(token_id, int) and 0 <= token_id < n_tokens):
        raise ValueError(f"{file.path} is damaged: its {field} token is {token_id!r:.40} of {n_tokens} tokens.")
    return token_id


def build(file: GGUFFile) -> Tokenizer:
    """Tokenizer from the token list, the merges or scores, and the token types of the file."""
    kind = file.fields.get("tokenizer.ggml.model")
    if kind not in ("gpt2", "llama"):
        raise ValueError(
            f"{file.path} has a tokenizer of kind {kind!r}; Lens builds 'gpt2' (byte-level BPE) and 'llama' "
            "(SentencePiece)."
        )
    tokens, types = _list(file, "tokens", str), _list(file, "token_type", int)
    n_rows = file.tensors["token_embd.weight"].shape[0]
    if len(types) != len(tokens) or len(set(tokens)) != len(tokens) or len(tokens) > n_rows:
        raise ValueError(
            f"{file.path} is damaged: {len(tokens)} tokens ({len(set(tokens))} different), {len(types)} token types "
            f"and {n_rows} rows of embedding do not fit together."
        )
    tokenizer = _byte_level_bpe(file, tokens) if kind == "gpt2" else _sentence_piece(file, tokens)
    vocab = tokenizer.get_vocab()
    added = [(token, kind) for token, kind in zip(tokens, types, strict=True) if kind in (CONTROL, USER_DEFINED)]
    tokenizer.add_tokens(
        [AddedToken(token, special=kind == CONTROL, normalized=False) for token, kind in added if token in vocab]
    )
    _begin_with_bos(file, tokenizer, tokens)
    return tokenizer


def _byte_level_bpe(file: GGUFFile, tokens: list[str]) -> Tokenizer:
    pre = _pre_tokenizer(file)
    merges = [tuple(merge.split(" ")) for merge in _list(file, "merges", str)]
    tokenizer = Tokenizer(_bpe(file, tokens, merges, ignore_merges=_whole_first(file)))
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    if file.fields.get("tokenizer.ggml.pre") == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def _bpe(file: GGUFFile, tokens: list[str], merges: list[tuple[str, ...]], **how: Any) -> models.BPE:
    with damage(f"{file.path} is damaged: its merges do not fit its tokens", "Get the file again."):
        return models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges, **how)


def _whole_first(file: GGUFFile) -> bool:
    return file.fields.get("tokenizer.ggml.pre") in WHOLE_FIRST


def _pre_tokenizer(file: GGUFFile) -> pre_tokenizers.PreTokenizer:
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS as SPLITS

    pre, architecture = file.fields.get("tokenizer.ggml.pre"), file.fields.get("general.architecture")
    if pre in LIKE_GPT2 or (pre in UNSAID and architecture in ("gpt2", "gptneox")):
        return _byte_level()
    if pre in DIGITS_ALONE:
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _byte_level()])
    if isinstance(pre, str) and pre in SPLITS:
        cut = pre_tokenizers.Split(Regex(SPLITS[pre]), behavior="isolated")
        return pre_tokenizers.Sequence([cut, _byte_level(use_regex=False)])
    known = sorted({*LIKE_GPT2, *DIGITS_ALONE, *SPLITS})
    raise ValueError(
        f"{file.path} has a byte-level tokenizer with pre-tokenizer {pre!r}; Lens builds {', '.join(map(repr, known))}."
    )


def _sentence_piece(file: GGUFFile, tokens: list[str]) -> Tokenizer:
    """BPE over the pieces of SentencePiece. A file without merges says by its scores which pair goes first."""
    from transformers.convert_slow_tokenizer import generate_merges

    for name in ("remove_extra_whitespaces", "precompiled_charsmap"):
        if file.fields.get(f"tokenizer.ggml.{name}"):
            raise ValueError(f"{file.path}: its SentencePiece tokenizer has {name}, which Lens does not build.")
    gemma = str(file.fields.get("general.architecture")).startswith("gemma")
    # A run of spaces is written with spaces in the files of Gemma, whose scores are not in the order of the merges.
    pieces = [SPACE * len(token) if token and not token.strip(" ") else token for token in tokens]
    scores = [-index for index in range(len(pieces))] if gemma else _list(file, "scores", float)
    if "tokenizer.ggml.merges" in file.fields:
        merges = [tuple(merge.split(" ")) for merge in _list(file, "merges", str)]
    else:
        vocab = {piece: index for index, piece in enumerate(pieces)}
        merges = generate_merges(vocab, dict(zip(pieces, scores, strict=True)))
    unknown = pieces[_special(file, "unknown", len(pieces)) or 0]
    tokenizer = Tokenizer(_bpe(file, pieces, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    prefix = not gemma and file.fields.get("tokenizer.ggml.add_space_prefix", True)
    spaces = [normalizers.Replace(" ", SPACE)]
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), *spaces] if prefix else spaces)
    parts = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*parts, decoders.Strip(" ", 1, 0)] if prefix else parts)
    return tokenizer


def _begin_with_bos(file: GGUFFile, tokenizer: Tokenizer, tokens: list[str]) -> None:
    """Have the tokenizer put BOS before a text, where the file says so, or does not say and its kind does."""
    fields = file.fields
    habit = fields.get("tokenizer.ggml.model") == "llama" or _whole_first(file)
    bos = fields.get("tokenizer.ggml.bos_token_id")
    if not fields.get("tokenizer.ggml.add_bos_token", habit) or bos is None or not 0 <= bos < len(tokens):
        return
    template = processors.TemplateProcessing(single=f"{tokens[bos]} $A", special_tokens=[(tokens[bos], bos)])
    before = [] if tokenizer.post_processor is None else [tokenizer.post_processor]
    tokenizer.post_processor = processors.Sequence([*before, template])


def _list(file: GGUFFile, name: str, item: type) -> list:
    values = file.fields.get(f"tokenizer.ggml.{name}")
    if not isinstance(values, list) or not values or not isinstance(values[0], item):
        raise ValueError(f"{file.path} has no list tokenizer.ggml.{name}; Lens builds no tokenizer without it.")
    return values
