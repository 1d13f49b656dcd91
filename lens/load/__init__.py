"""Opening models: by short name, Hub id, local folder or GGUF file.

Importing this package, or :mod:`lens.load.catalogue`, imports no torch; :func:`read` does.
"""

from typing import TYPE_CHECKING, NamedTuple

from lens.progress import Progress, part, silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from transformers import PreTrainedTokenizerBase

    from lens.config import Config
    from lens.load.checkpoints import Checkpoint, Checkpoints
    from lens.load.entries import Entry
    from lens.load.placement import DeviceMap
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
    token_counts: "torch.Tensor | None" = None  # how often each id occurs in the training text, where that is known
    end_ids: tuple[int, ...] = ()  # tokens with which a text ends, as the model's files say


def read(
    name: "str | Entry | Checkpoints",
    *,
    revision: str | None = None,
    checkpoint_index: int | None = None,
    checkpoint_value: int | None = None,
    device: "str | torch.device | None" = None,
    dtype: "str | torch.dtype | None" = None,
    device_map: "DeviceMap | None" = None,
    ignore: "Sequence[str]" = (),
    progress: Progress = silent,
) -> Loaded:
    """Config, weights and tokenizer of a model, float32 unless asked otherwise.

    ``name``: an alias, a Hub id, a local folder or a .gguf file; what ``catalogue.resolve`` made of one, which for a
    name from a stranger is ``resolve(name, paths=False)``; or what ``checkpoints`` found. ``revision``: branch, tag or
    commit, for models of the Hub, or the file or folder of a checkpoint. ``checkpoint_index`` (negative: from the end)
    or ``checkpoint_value`` (tokens or steps): the model at that point of its training. ``device_map``: over several
    devices, "auto" or part → device (:func:`lens.load.placement.place`), in place of ``device``. ``ignore``: attributes
    of its config.json that Lens does not know and shall not mind; the note then says so. A model of the Hub that is in
    the local cache is taken from there. Errors say what is wrong and what to do.
    """
    from lens.load.catalogue import resolve
    from lens.load.checkpoints import Checkpoints, chosen_checkpoint
    from lens.load.device import pick_device, pick_dtype
    from lens.load.sources import locate

    if device is not None and device_map is not None:
        raise ValueError(f"device={str(device)!r} and device_map={device_map!r}; give one of the two.")
    where, form = pick_device("cpu" if device_map is not None else device), pick_dtype(dtype)
    entry = resolve(name) if isinstance(name, str) else name.entry if isinstance(name, Checkpoints) else name
    given = name if isinstance(name, Checkpoints) else None
    chosen = chosen_checkpoint(given or entry, revision, checkpoint_index, checkpoint_value)
    if entry.built is not None:
        if ignore:
            raise ValueError(f"{entry.alias} is built by Lens and has no config.json; got ignore={list(ignore)}.")
        from lens.load.built import read_built

        return Loaded(*(made := read_built(entry, revision, where, form))[:3], entry.alias, None, entry.note, made.bos)
    run, checkpoint, rest = chosen or (None, None, revision)
    source = locate(entry, rest, part(progress, 0.0, 0.8), checkpoint=chosen and (run, checkpoint))
    from lens.load.folder import read_folder

    parts = read_folder(source, where, form, part(progress, 0.8, 1.0), device_map, ignore)
    note = " ".join(filter(None, (source.note, parts.note)))
    about = (entry.alias, source.revision, note, parts.bos)
    return Loaded(*parts[:3], *about, checkpoint, run, parts.token_counts, parts.end_ids)
