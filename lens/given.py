"""Models that this process was asked to show: an address of this machine opens them by their name.

``lens.show`` puts them here, the app finds them. A model that is in memory is opened from ``source``, a text that is no
path; what is on disk, from its path.
"""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lens.hooked import HookedTransformer

LOCAL = "local:"  # before the name of a model of this machine; neither a path nor weights stand in an address
IN_MEMORY = "in memory: "
NOW = "in memory"  # the revision of such a model: no model that is opened by a name has it
_SOURCES: dict[str, str] = {}  # name -> source
_MODELS: dict[str, HookedTransformer] = {}  # source -> model
_USED: set[str] = set()  # names of models in memory, also of those that are gone: results are kept under them
_CHANGING = threading.Lock()


def give(what: HookedTransformer | Path, name: str) -> str:
    """Offer a model under ``name`` from now on; under another if something else has that name. What it is called."""
    is_file = isinstance(what, Path)
    stem = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".-_")[:90] or "model"
    with _CHANGING:
        called, number = stem, 1
        while called in _USED or (called in _SOURCES and not (is_file and _SOURCES[called] == str(what))):
            number += 1
            called = f"{stem}-{number}"
        source = str(what) if is_file else IN_MEMORY + called
        _SOURCES[called] = source
        if not is_file:
            _MODELS[source] = what
            _USED.add(called)
    return called


def forget() -> None:
    """Offer nothing any more, and hold no model."""
    with _CHANGING:
        _SOURCES.clear()
        _MODELS.clear()


def sources() -> dict[str, str]:
    """name -> what opens it, of all that was given; nothing on a server for visitors of other machines."""
    with _CHANGING:
        return {} if os.environ.get("LENS_HOSTED") == "1" else dict(_SOURCES)


def model_of(source: str) -> HookedTransformer | None:
    """The model in memory that ``source`` stands for; None for a path or the name of a model."""
    return _MODELS.get(source)


def given(name: str) -> HookedTransformer:
    """The model that ``lens.show`` was given in this process and called ``name``; KeyError says which there are."""
    source = _SOURCES.get(name, "")
    if source not in _MODELS:
        known = ", ".join(name for name, source in _SOURCES.items() if source in _MODELS) or "none"
        raise KeyError(f"no model in memory was given to lens.show as {name!r} in this process; there are: {known}")
    return _MODELS[source]
