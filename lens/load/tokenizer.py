"""The tokenizer of a model folder, and the token that Lens puts before a text."""

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lens.load import hub
from lens.load.catalogue import HUB_ID
from lens.load.entries import Start
from lens.load.files import CONFIG, GENERATION, TOKENIZER_ROOTS, read_json
from lens.progress import Progress
from lens.tokens import NO_BOS, BosPolicy
from lens.untrusted import damage

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

    from lens.load.sources import Source

SETTINGS = "tokenizer_config.json"
SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token")


def read_tokenizer(folder: Path, hf_config: dict[str, Any]) -> "PreTrainedTokenizerBase | None":
    """The tokenizer of ``folder``, None if it has none. Code that comes with a tokenizer is never run.

    Where there is a tokenizer.json, it alone says how text becomes ids, whatever class the other files name.
    """
    file = folder / "tokenizer.json"
    if file.is_file():
        tokenizer = _from_file(file, _settings(folder))
    elif any((folder / name).is_file() for name in TOKENIZER_ROOTS):
        reader = _class_of(folder)
        with damage(f"{folder} has no readable tokenizer", "Its files are damaged, incomplete or of another kind."):
            tokenizer = reader.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    else:
        return None
    _name_special_tokens(tokenizer, hf_config)
    return tokenizer


MISTRAL = ("mistral", "mixtral", "ministral")


def _class_of(folder: Path) -> type:
    """The class of transformers that reads the vocabulary of ``folder``.

    For Mistral's models it would choose one of the package mistral-common where that is installed, which has no pieces.
    """
    from transformers import AutoTokenizer, LlamaTokenizer

    settings, config = (read_json(folder / name) if (folder / name).is_file() else {} for name in (SETTINGS, CONFIG))
    unnamed = "tokenizer_class" not in settings and config.get("model_type") in MISTRAL
    return LlamaTokenizer if unnamed and (folder / "tokenizer.model").is_file() else AutoTokenizer


def read_end_ids(folder: Path, config: dict[str, Any]) -> tuple[int, ...]:
    """The tokens with which a text ends: those of config.json and of generation_config.json together."""
    generation = read_json(folder / GENERATION) if (folder / GENERATION).is_file() else {}
    text = config.get("text_config") or {}  # of a model that reads pictures as well
    return end_ids(config.get("eos_token_id"), text.get("eos_token_id"), generation.get("eos_token_id"))


def end_ids(*stated: int | list[int] | None) -> tuple[int, ...]:
    """Ids in the forms in which files state them, one or a list or nothing, without repeats."""
    lists = [one if isinstance(one, list) else [one] for one in stated]
    return tuple(dict.fromkeys(token for ids in lists for token in ids if isinstance(token, int)))


def _from_file(file: Path, settings: dict[str, Any]) -> "PreTrainedTokenizerFast":
    from transformers import PreTrainedTokenizerFast

    with damage(f"{file} is not a readable tokenizer", "It is damaged or truncated."):
        # Not from_pretrained: that looks at the class names of the other files and may ask the Hub.
        return PreTrainedTokenizerFast(tokenizer_file=str(file), **settings)


def _settings(folder: Path) -> dict[str, Any]:
    """Special tokens and chat template, from the files beside tokenizer.json."""
    values: dict[str, Any] = {}
    for name in ("special_tokens_map.json", SETTINGS):
        if (folder / name).is_file():
            values |= read_json(folder / name)
    settings = {name: _text(values[name]) for name in SPECIAL if values.get(name)}
    further = values.get("additional_special_tokens") or []
    settings["additional_special_tokens"] = [
        _text(one) for one in (further if isinstance(further, list) else [further])
    ]
    template = folder / "chat_template.jinja"
    settings["chat_template"] = template.read_text("utf-8") if template.is_file() else values.get("chat_template")
    return settings


def _text(token: str | dict[str, Any]) -> str:
    text = token.get("content") if isinstance(token, dict) else token
    if not isinstance(text, str):
        raise ValueError(f"The tokenizer's files name {token!r:.60} as a special token; a text was wanted.")
    return text


def _name_special_tokens(tokenizer: "PreTrainedTokenizerBase", hf_config: dict[str, Any]) -> None:
    """Fill in what the tokenizer's files leave out and config.json knows by id (GPT-2's start token, for one)."""
    for name in ("bos_token", "eos_token"):
        token_id = hf_config.get(f"{name}_id")
        if getattr(tokenizer, name) is None and isinstance(token_id, int) and token_id < len(tokenizer):
            setattr(tokenizer, name, tokenizer.convert_ids_to_tokens(token_id))


class Found(NamedTuple):
    """A tokenizer, or why there is none."""

    tokenizer: "PreTrainedTokenizerBase | None"
    missing: str = ""


def tokenizer_of(source: "Source", config: dict[str, Any], progress: Progress) -> Found:
    """The tokenizer beside the weights, or else of the repository that the config names (``tokenizer_name``).

    That repository is asked only for models that come from the Hub themselves.
    """
    beside = read_tokenizer(source.folder, {})
    if beside is not None:
        return Found(beside)
    name = config.get("tokenizer_name")
    if not isinstance(name, str) or not HUB_ID.fullmatch(name):
        return Found(None, "this model came without a tokenizer, and its config names none")
    folder = hub.cached_tokenizer(name)
    advice = f"its tokenizer is that of {name}, which is not on this machine"
    if folder is None and source.entry.hub_id is None:
        return Found(None, f"{advice}; put its tokenizer.json beside the weights")
    try:
        folder = folder or hub.fetch_tokenizer(name, progress)
    except hub.NoNetwork:  # the weights are here: ids can be read, text cannot
        return Found(None, f"{advice}, and the Hub cannot be reached")
    return Found(read_tokenizer(folder, {}))


def bos_policy(
    start: Start | None,
    tokenizer: "PreTrainedTokenizerBase | None",
    missing: str = "this model came without a tokenizer",
) -> BosPolicy:
    """Which token stands before a text: the model's entry in the table decides, else its own tokenizer.

    ``missing`` says why there is no tokenizer, for a model that reads ids only.
    """
    if tokenizer is None:
        return BosPolicy(None, "", False, missing)
    if start is not None:
        return _stated(start, tokenizer)
    if tokenizer.bos_token is None:
        return NO_BOS
    itself = tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id]
    habit = "which it puts before a text itself" if itself else "though it does not put it there by itself"
    reason = f"{tokenizer.bos_token} is the token with which its own tokenizer begins a text, {habit}"
    return BosPolicy(tokenizer.bos_token_id, tokenizer.bos_token, True, reason)


def kept_policy(bos: BosPolicy, tokenizer: "PreTrainedTokenizerBase | None") -> BosPolicy:
    """A model's policy under another tokenizer: the same token, if it has that one, else what the new one begins with.

    ``bos`` may be that of a model without a tokenizer, which has no token to keep.
    """
    if tokenizer is None or bos.id is None or bos.token not in tokenizer.get_vocab():
        return bos_policy(None, tokenizer)
    return bos._replace(id=tokenizer.convert_tokens_to_ids(bos.token))


def with_bos(tokenizer: "PreTrainedTokenizerBase | None", bos: BosPolicy) -> "PreTrainedTokenizerBase | None":
    """A tokenizer whose own BOS is that of the model's policy; a copy where it was another."""
    if tokenizer is None or bos.id is None or tokenizer.bos_token_id == bos.id:
        return tokenizer
    made = copy.deepcopy(tokenizer)
    made.bos_token = bos.token
    return made


def _stated(start: Start, tokenizer: "PreTrainedTokenizerBase") -> BosPolicy:
    token, vocab = start.token or tokenizer.bos_token, tokenizer.get_vocab()
    if token is None and not start.prepend:
        return BosPolicy(None, "", False, start.reason)
    if token not in vocab:
        wanted = repr(start.token) if start.token else "token that begins a text"
        raise ValueError(f"The tokenizer has no {wanted}, which Lens puts before texts of this model.")
    return BosPolicy(vocab[token], token, start.prepend, start.reason)
