"""Opening models: by short name, Hub id, local folder or GGUF file.

Importing this package, or :mod:`lens.load.catalogue`, imports no torch; :func:`read` does.
"""

from typing import TYPE_CHECKING, NamedTuple

from lens.load.progress import Progress, part, silent

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from lens.config import Config
    from lens.load.checkpoints import Checkpoint, Checkpoints
    from lens.load.entries import Entry
    from lens.tokens import BosPolicy

__all__ = ["Loaded", "Progress", "read"]


class Loaded(NamedTuple):
    """A model as it was read: what ``HookedTransformer`` is made of."""

    cfg: "Config"
    state: "dict[str, torch.Tensor]"
    tokenizer: "PreTrainedTokenizerBase | None"
    name: str
    revision: str | None  # as asked for, else the commit of a model of the Hub, with the checkpoint's place if it is a
    # file or folder; None for a model of this machine
    note: str  # a sentence that every figure of the model carries; may be empty
    bos: "BosPolicy"
    checkpoint: "Checkpoint | None" = None  # which one this is, and of which list, if one was asked for
    checkpoints: "Checkpoints | None" = None


def read(
    name: "str | Entry | Checkpoints",
    *,
    revision: str | None = None,
    checkpoint_index: int | None = None,
    checkpoint_value: int | None = None,
    device: "str | torch.device | None" = None,
    dtype: "str | torch.dtype | None" = None,
    progress: Progress | None = None,
) -> Loaded:
    """Config, weights and tokenizer of a model, float32 unless asked otherwise.

    ``name``: an alias, a Hub id, a local folder or a .gguf file; what ``catalogue.resolve`` made of one, which for a
    name from a stranger is ``resolve(name, paths=False)``; or what ``checkpoints`` found. ``revision``: branch, tag or
    commit, for models of the Hub, or the file or folder of a checkpoint. ``checkpoint_index`` (negative:
    from the end) or ``checkpoint_value`` (tokens or steps): the model at that point of its training. A model of the Hub
    that is in the local cache is taken from there. Errors say what is wrong and what to do.
    """
    from lens.load.catalogue import resolve
    from lens.load.checkpoints import Checkpoints, checkpoint_named, checkpoints
    from lens.load.device import pick_device, pick_dtype
    from lens.load.sources import locate

    where, form = pick_device(device), pick_dtype(dtype)
    progress = progress or silent
    found = name if isinstance(name, Checkpoints) else None
    entry = found.entry if found else resolve(name) if isinstance(name, str) else name
    one = None
    asked = found is not None or checkpoint_index is not None or checkpoint_value is not None
    named = None if asked or revision is None else checkpoint_named(entry, revision)
    if named is not None:
        (found, one), revision = named, None
    elif asked:
        progress(0.0, f"Looking for the checkpoints of {entry.alias}")
        found = found or checkpoints(entry)
        one = found.at(checkpoint_index, checkpoint_value)
    source = locate(entry, revision, part(progress, 0.0, 0.8), checkpoint=found and (found, one))
    from lens.load.folder import read_folder

    parts = read_folder(source, where, form, part(progress, 0.8, 1.0))
    return Loaded(*parts[:3], entry.alias, source.revision, source.note, parts.bos, one, found)
