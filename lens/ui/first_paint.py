"""The first figure of a page as it was shipped, on screen while a server that has just started imports what computes.

For the addresses that talks and newcomers open. The figure was computed by the same code; a test draws each again. It
gives way as soon as the page's own is there.
"""

import gzip
import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from lens import __version__
from lens.ui.fields import address
from lens.ui.heading import heading_html
from lens.ui.page import Page
from lens.ui.view import ViewState

SLOT = "lens:first-paint"
FOLDER = Path(__file__).parents[1] / "assets" / "first_paint"
WORDS = (
    "Computed for this address when Lens {} was made, in float32. The model is being opened; its own figure follows."
)


class Painted(NamedTuple):
    """What is kept of a page's first figure."""

    figure: dict  # as plotly.js reads it
    alt: str
    notice: str  # the page's sentence on it


def file_of(page: Page, query: Mapping[str, str], folder: Path = FOLDER) -> Path:
    """Where the figure of an address is kept; ``query`` says all that is not a default, and nothing else."""
    name = address("", page.path, dict(sorted(query.items())))
    return folder / f"{page.name}-{hashlib.blake2b(name.encode(), digest_size=6).hexdigest()}.json.gz"


def keep(painted: Painted, file: Path) -> None:
    """Write it; the same figure always gives the same bytes."""
    file.write_bytes(gzip.compress(json.dumps(painted._asdict(), sort_keys=True).encode(), mtime=0))


def kept(file: Path) -> Painted:
    """What was written there."""
    return Painted(**json.loads(gzip.decompress(file.read_bytes())))


def draw_kept(view: ViewState, page: Page, notice: Callable[[str], object]) -> None:
    """The figure kept for this address, if the page cannot be computed at once and there is one.

    ``notice`` draws the sentence below it.
    """
    st.session_state.pop(SLOT, None)
    if _can_compute() or not (file := file_of(page, view.canonical())).is_file():
        return
    st.session_state[SLOT], painted = st.empty(), kept(file)
    with st.session_state[SLOT].container(key="first-paint"):
        st.html(f'<div class="lens-empty" role="status">{WORDS.format(__version__)}</div>')
        st.html(heading_html(painted.figure["layout"]))
        st.plotly_chart(painted.figure, key="first-paint:figure", config={"displaylogo": False}, alt=painted.alt)
        notice(painted.notice)


def give_way() -> None:
    """The page's own figure is there, or will not come: take the kept one off the screen."""
    if slot := st.session_state.pop(SLOT, None):
        slot.empty()


def _can_compute() -> bool:
    """Whether what every page computes with is imported, and not still being imported by another thread."""
    return hasattr(sys.modules.get("lens.hooked"), "HookedTransformer")
