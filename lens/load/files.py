"""Which files make up a model folder in the Hugging Face layout. Opens no weights, needs no torch."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lens.untrusted import parse_json

CONFIG = "config.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)
GENERATION = "generation_config.json"  # names all end tokens of a model that has several
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")  # of a LoRA adapter, as peft names them
TOKEN_COUNTS = "token_counts.json"  # how often each id occurs in the training text; Lens writes it for its own models
TOKENIZER_ROOTS = ("tokenizer.json", "vocab.json", "tokenizer.model")  # any of them is enough to make a tokenizer
# In the order of preference: memory-mapped first, pickles last.
WEIGHT_ROOTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
LFS_POINTER = b"version https://git-lfs"  # what a file begins with that stands for one that was not fetched
TOY_ROOT = re.compile(r"model_final\.pth|SoLU_\d+L_v\d+_final\.pth")  # Neel Nanda's toy models, newer and older


@dataclass(frozen=True)
class Weights:
    """The weight files of one model. ``where`` is the index (tensor name → file), None when there is a single file."""

    files: tuple[Path, ...]
    where: dict[str, Path] | None


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; ValueError if it is damaged."""
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:  # UnicodeDecodeError is one, too
        raise ValueError(f"{path} is not readable JSON ({error}). The file is damaged or truncated.") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a JSON {type(value).__name__}; an object was wanted. The file is damaged.")
    return value


def weights_of(folder: Path) -> Weights:
    """The weight files of ``folder``; FileNotFoundError says which are missing."""
    name = weight_root([path.name for path in folder.iterdir() if path.is_file()])
    if name is None:
        raise FileNotFoundError(f"{folder} has no weights: wanted {' or '.join(WEIGHT_ROOTS)}. {contents(folder)}")
    root = folder / name
    if root.suffix != ".json":
        return Weights((root,), None)
    where = _index(root)
    shards = sorted(set(where.values()))
    missing = [path.name for path in shards if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} lacks {len(missing)} of the {len(shards)} weight files of its index: {', '.join(missing[:3])}. "
            "The download or copy is not complete."
        )
    return Weights(tuple(shards), where)


def weight_root(names: Collection[str]) -> str | None:
    """The file from which the weights are read, of those in a folder; None if there is none."""
    known = next((name for name in WEIGHT_ROOTS if name in names), None)
    return known or next((name for name in sorted(names) if TOY_ROOT.fullmatch(name)), None)


def _index(root: Path) -> dict[str, Path]:
    where = read_json(root).get("weight_map")
    if not isinstance(where, dict) or not where:
        raise ValueError(f"{root} has no weight_map; it is damaged or not an index of weights.")
    outside = [name for name in where.values() if not isinstance(name, str) or Path(name).name != name or name == ".."]
    if outside:
        raise ValueError(f"{root} points to {outside[0]!r}; the files of an index must lie beside it.")
    return {tensor: root.parent / name for tensor, name in where.items()}


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds an adapter, be it alone or beside its base."""
    return (folder / ADAPTER_CONFIG).is_file()


def adapter_weights(folder: Path) -> Path:
    """The weight file of an adapter; FileNotFoundError if there is none."""
    found = next((folder / name for name in ADAPTER_WEIGHTS if (folder / name).is_file()), None)
    if found is None:
        raise FileNotFoundError(
            f"{folder} has {ADAPTER_CONFIG} without {' or '.join(ADAPTER_WEIGHTS)}. {contents(folder)} Get the weights "
            f"of the adapter, or remove {ADAPTER_CONFIG} to open the base."
        )
    return found


def is_complete(folder: Path) -> bool:
    """Whether the config and every weight file are there, as far as can be told without opening weights.

    An adapter alone is complete with its own two files: where its base is, it says itself.
    """
    if is_adapter(folder) and not (folder / CONFIG).is_file():
        return any((folder / name).is_file() for name in ADAPTER_WEIGHTS)
    if not (folder / CONFIG).is_file():
        return False
    try:
        weights_of(folder)
    except (FileNotFoundError, ValueError):  # the question has an answer: no
        return False
    return True


def wanted(names: Collection[str], weights: str | None = None) -> list[str]:
    """What to fetch of a repository that holds ``names``: config, tokenizer, and one set of weights.

    ``weights``: this file in place of the model's own weights.
    """
    root = weights or weight_root(names)
    adapter = (ADAPTER_CONFIG, *(name for name in ADAPTER_WEIGHTS if name in names))
    files = [name for name in (CONFIG, GENERATION, *TOKENIZER_FILES, *adapter[:2], root) if name in names]
    if root is not None and root.endswith(".index.json"):
        stem, suffix = root.removesuffix(".index.json").rsplit(".", 1)
        files += sorted(name for name in names if re.fullmatch(rf"{stem}-\d+-of-\d+\.{suffix}", name))
    return files


def contents(folder: Path) -> str:
    """A sentence that names the first files of a folder, for messages."""
    names = sorted(path.name for path in folder.iterdir())
    return f"It holds: {', '.join(names[:8]) or 'nothing'}{', …' if len(names) > 8 else ''}."
