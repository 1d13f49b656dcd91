"""The tokenizer inside a GGUF file, as the two files that a Hugging Face folder has for it."""

from typing import Any, NamedTuple

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from lens.load.gguf import GGUFFile

CONTROL, USER_DEFINED = 3, 4  # tokenizer.ggml.token_type


def _byte_level() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def _digits_then_bytes() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _byte_level()])


# How a text is cut before the merges, by the name that the file gives (tokenizer.ggml.pre).
PRE_TOKENIZERS = {"gpt-2": _byte_level, "smollm": _digits_then_bytes}


class TokenizerFiles(NamedTuple):
    """Contents of tokenizer.json (text) and tokenizer_config.json (object)."""

    tokenizer: str
    config: dict[str, Any]


def tokenizer_files(file: GGUFFile) -> TokenizerFiles:
    """The byte-level BPE tokenizer of a GGUF; ValueError names a kind that Lens does not build."""
    tokenizer = build(file)
    tokens = file.fields["tokenizer.ggml.tokens"]
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    for name, field in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        token_id = file.fields.get(f"tokenizer.ggml.{field}_token_id")
        if token_id is not None:
            if not 0 <= token_id < len(tokens):
                raise ValueError(f"{file.path} is damaged: its {field} token is {token_id} of {len(tokens)} tokens.")
            config[f"{name}_token"] = tokens[token_id]
    if "tokenizer.chat_template" in file.fields:
        config["chat_template"] = file.fields["tokenizer.chat_template"]
    return TokenizerFiles(tokenizer.to_str(), config)


def build(file: GGUFFile) -> Tokenizer:
    """Tokenizer from the token list, the merges and the token types of the file."""
    fields = file.fields
    kind, pre = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre")
    if kind != "gpt2" or pre not in PRE_TOKENIZERS:
        raise ValueError(
            f"{file.path} has a tokenizer of kind {kind!r} with pre-tokenizer {pre!r}; "
            f"Lens builds 'gpt2' (byte-level BPE) with {' or '.join(map(repr, PRE_TOKENIZERS))}."
        )
    tokens, merges = _list(file, "tokens", str), _list(file, "merges", str)
    types = _list(file, "token_type", int)
    n_rows = file.tensors["token_embd.weight"].shape[0]
    if len(types) != len(tokens) or len(set(tokens)) != len(tokens) or len(tokens) > n_rows:
        raise ValueError(
            f"{file.path} is damaged: {len(tokens)} tokens ({len(set(tokens))} different), {len(types)} token types "
            f"and {n_rows} rows of embedding do not fit together."
        )
    pairs = [tuple(merge.split(" ")) for merge in merges]
    try:
        model = models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=pairs)
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise ValueError(f"{file.path} is damaged: its merges do not fit its tokens ({error}).") from error
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = PRE_TOKENIZERS[pre]()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    added = [(token, kind) for token, kind in zip(tokens, types, strict=True) if kind in (CONTROL, USER_DEFINED)]
    tokenizer.add_tokens([AddedToken(token, special=kind == CONTROL, normalized=False) for token, kind in added])
    return tokenizer


def _list(file: GGUFFile, name: str, item: type) -> list:
    values = file.fields.get(f"tokenizer.ggml.{name}")
    if not isinstance(values, list) or not values or not isinstance(values[0], item):
        raise ValueError(f"{file.path} has no list tokenizer.ggml.{name}; Lens builds no tokenizer without it.")
    return values
