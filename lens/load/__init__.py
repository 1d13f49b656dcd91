"""Opening models: by short name, Hub id, local folder or GGUF file.

Importing this package, or :mod:`lens.load.catalogue`, imports no torch; :func:`read` does.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lens.load.progress import Progress, part, silent
from lens.tokens import BosPolicy

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from lens.config import Config
    from lens.load.entries import Entry

__all__ = ["Loaded", "Progress", "read"]


class Loaded(NamedTuple):
    """A model as it was read: what ``HookedTransformer`` is made of."""

    cfg: "Config"
    state: "dict[str, torch.Tensor]"
    tokenizer: "PreTrainedTokenizerBase | None"
    name: str
    revision: str | None  # as asked for, else the commit of a model of the Hub; None for files of this machine
    note: str  # a sentence that every figure of the model carries; may be empty
    bos: BosPolicy


class _Source(NamedTuple):
    folder: Path
    revision: str | None
    entry: "Entry"
    note: str


def read(
    name: "str | Entry",
    *,
    revision: str | None = None,
    device: "str | torch.device | None" = None,
    dtype: "str | torch.dtype | None" = None,
    progress: Progress | None = None,
) -> Loaded:
    """Config, weights and tokenizer of a model, float32 unless asked otherwise.

    ``name``: an alias, a Hub id, a local folder or a .gguf file; or what ``catalogue.resolve`` made of one, which for a
    name from a stranger is ``resolve(name, paths=False)``. ``revision``: branch, tag or commit, for models of the
    Hub. A model of the Hub that is in the local cache is taken from there. Errors say what is wrong and what to do.
    """
    from lens.load.catalogue import resolve
    from lens.load.device import pick_device, pick_dtype

    where, form = pick_device(device), pick_dtype(dtype)
    progress = progress or silent
    entry = resolve(name) if isinstance(name, str) else name
    source = _source(entry, revision, part(progress, 0.0, 0.8))
    from lens.load.folder import read_folder
    from lens.load.tokenizer import bos_policy

    parts = read_folder(source.folder, where, form, part(progress, 0.8, 1.0))
    bos = bos_policy(source.entry.start, parts.tokenizer)
    return Loaded(*parts, name=source.entry.alias, revision=source.revision, note=source.note, bos=bos)


def _source(entry: "Entry", revision: str | None, progress: Progress) -> _Source:
    """The folder that holds the model, downloaded or converted if need be."""
    if entry.hub_id is not None:
        return _from_hub(entry, revision, progress)
    if revision is not None:
        raise ValueError(
            f"{entry.alias!r} is on this machine and has no revisions; got revision={revision!r}. Leave it out."
        )
    if entry.wheel is not None:
        return _from_wheel(entry, progress)
    if entry.path.is_dir():
        return _Source(entry.path, None, entry, entry.note)
    return _from_gguf(entry, entry.path, progress)


def _from_hub(entry: "Entry", revision: str | None, progress: Progress) -> _Source:
    from lens.load import hub
    from lens.load.catalogue import available_offline, cached_id

    try:
        folder = hub.fetch(cached_id(entry, revision) or entry.hub_id, revision, progress)
    except hub.NoNetwork as error:
        names = ", ".join(available_offline()) or "nothing yet"
        raise ConnectionError(f"{error} What opens without a network: {names}.") from error
    return _Source(folder, revision or folder.name, entry, entry.note)


def _from_wheel(entry: "Entry", progress: Progress) -> _Source:
    from lens.load.catalogue import wheel_file

    path = wheel_file(entry.wheel)
    if path is None:
        raise FileNotFoundError(
            f"{entry.alias} comes with a Python package that is not installed. Run: {entry.wheel.install}"
        )
    return _from_gguf(entry, path, progress)


def _from_gguf(entry: "Entry", path: Path, progress: Progress) -> _Source:
    from lens.load.converted import converted_copy, manifest_note, sha256
    from lens.load.entries import ENTRIES

    digest = sha256(path)
    if entry.wheel is not None and digest != entry.wheel.sha256:
        raise ValueError(f"{path} is damaged or of another version. Run: {entry.wheel.install} --force-reinstall")
    folder = converted_copy(path, digest, progress)
    # A file of the table opened by its path is the same model: same start token, same note.
    known = next((one for one in ENTRIES if one.wheel is not None and one.wheel.sha256 == digest), entry)
    return _Source(folder, None, replace(known, alias=entry.alias), known.note or manifest_note(folder))
