"""Models opened from a path that was typed on this machine: which this visitor has open, and which can be again.

An address holds only the name, ``local:folder``. The server remembers, as long as it runs, which path was typed under
that name, so that a page that is loaded again can offer it; nothing is opened before a click, and hosted nothing ever.
"""

import re
from pathlib import Path

import streamlit as st

from lens.given import sources
from lens.ui.fields import LOCAL
from lens.ui.limits import limits
from lens.ui.view import ViewState

PATHS = "lens:paths"  # name -> path of the models this visitor has opened from this machine by hand


@st.cache_resource(show_spinner=False)
def typed() -> dict[str, str]:
    """name -> path of all that was typed since this server started, by whoever sits at this machine."""
    return {}


def paths() -> dict[str, str]:
    """name -> what opens it: what this visitor has opened by hand, and what this server was started for."""
    given = {LOCAL + name: source for name, source in sources().items()}
    return given | st.session_state.get(PATHS, {})


def opened() -> list[str]:
    """The names of what this visitor has opened from this machine by hand; none where that is not offered."""
    return [] if limits().hosted else list(paths())


def local_name(path: Path) -> str:
    """What ``path`` is called in an address: its last part, with a number where another path has that name."""
    stem = LOCAL + re.sub(r"[^A-Za-z0-9._-]", "_", path.name).lstrip(".-")[:90]
    name, number = stem, 1
    while typed().get(name, str(path)) != str(path):
        number += 1
        name = f"{stem}-{number}"
    return name


def remember(name: str, path: Path) -> None:
    """This visitor has opened ``path`` as ``name``."""
    st.session_state.setdefault(PATHS, {})[name] = str(path)
    typed()[name] = str(path)


def is_closed(name: str) -> bool:
    """Whether ``name`` was typed on this machine, but not since this visitor's page was loaded."""
    return name in typed() and name not in paths() and not limits().hosted


def problem(name: str) -> str:
    """Why a local model cannot be shown under its name, as a sentence; "" when it can, perhaps after a click."""
    text = repr(name.removeprefix(LOCAL))
    if name in paths():
        return ""
    if not is_closed(name):
        return f"{text} is a local model of another session; open it by hand"
    return "" if Path(typed()[name]).exists() else f"{text} is no longer where it was on this machine"


def open_again(view: ViewState) -> None:
    """Open the path that was typed under the name the address holds."""
    remember(view["model"], Path(typed()[view["model"]]))


def may_watch(name: str) -> bool:
    """Whether a model is a folder that this visitor opened from this machine: it can be looked at again and again."""
    return name in opened() and Path(paths()[name]).is_dir()
