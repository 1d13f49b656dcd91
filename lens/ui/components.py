"""Elements of a page that Streamlit lacks: tokens that can be chosen, and a tree of names that can be copied."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import streamlit as st

if TYPE_CHECKING:
    from streamlit.components.v2.types import ComponentRenderer

    from lens.ui.view import ViewState

ASSETS = Path(__file__).parent / "assets"


@lru_cache
def component(name: str, html: str = "") -> ComponentRenderer:
    """The element whose style and script are ``name``.css and ``name``.js of the assets; registered once."""
    css, js = ((ASSETS / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return st.components.v2.component(f"lens_{name}", html=html or f'<div class="lens-{name}"></div>', css=css, js=js)


class Pairs(NamedTuple):
    """A number of every pair of tokens, by which a hovered one lights up others, at once in the browser."""

    values: np.ndarray  # [row, column], >= 0; columns after the row are not read
    rows: Sequence[int | None]  # of each token, the row and column that hold it; None: it is not drawn
    of: str  # what the numbers are, after one: "of head 1.1"
    chart: str = ""  # key of the matrix that lights up with the tokens, one cell for each of ``values``; "": none

    def data(self) -> dict[str, Any]:
        """For the browser: the lower triangle in 255 steps up to ``top``."""
        lower = np.nan_to_num(np.asarray(self.values, np.float64)[np.tril_indices(len(self.values))])
        top = float(lower.max(initial=0)) or 1.0
        steps = np.rint(255 * np.clip(lower / top, 0, 1)).astype(np.uint8)
        return {
            "steps": base64.b64encode(steps).decode(),
            "top": top,
            "size": len(self.values),
            "rows": [-1 if row is None else row for row in self.rows],
            "of": self.of,
            "chart": re.sub(r"[^\w-]", "-", self.chart, flags=re.ASCII),  # as Streamlit writes a key into a class
        }


def chips(view: ViewState, name: str, html: str, chosen: int | None, key: str, pairs: Pairs | None = None) -> None:
    """``html`` of ``lens.figures.strip.token_strip`` whose tokens can be chosen, by click or by keyboard (arrows move,
    Enter chooses); the position of a chosen token goes to field ``name``.

    ``chosen`` is where the keyboard enters the strip, and is announced as selected. With ``pairs``, a token that is
    hovered or has the keyboard marks what it looks at in orange and who looks at it in grey.
    """
    data = {"html": html, "chosen": chosen or 0, "pairs": None if pairs is None else pairs.data()}
    component("chips")(key=key, data=data, height="content", on_chosen_change=partial(_choose, view, name, key))


def _choose(view: ViewState, name: str, key: str) -> None:
    chosen = st.session_state[key].chosen
    if chosen is not None:
        view.set(**{name: int(chosen)})


def cells(html: str, chosen: tuple[int, int], key: str, on_cell: Callable[[int, int], object]) -> None:
    """``html`` of ``lens.figures.cell_table`` whose cells can be chosen, by click or by keyboard (arrows move, Enter
    chooses); ``on_cell`` is called with the row and column of a chosen one, before the page runs again.
    """
    data = {"html": html, "chosen": "{},{}".format(*chosen)}
    element = component("cells", '<div class="lens-cell-host"></div>')
    element(key=key, data=data, height="content", on_chosen_change=partial(_choose_cell, key, on_cell))


def _choose_cell(key: str, on_cell: Callable[[int, int], object]) -> None:
    chosen = st.session_state[key].chosen
    if chosen is not None:
        on_cell(*map(int, chosen.split(",")))


class Group(NamedTuple):
    """One fold of a tree of names. ``rows`` are cells of text, the first of which is the name that is copied."""

    name: str
    note: str
    rows: Sequence[Sequence[str]]
    open: bool = False


def name_tree(groups: Sequence[Group], columns: Sequence[str], key: str) -> None:
    """Names in folds, each copied with a click or from the keyboard. ``columns``: a heading for each cell of a row."""
    data = {"groups": [group._asdict() for group in groups], "columns": list(columns)}
    data["key"] = hashlib.sha256(repr(data).encode()).hexdigest()[:16]
    component("names")(key=key, data=data, height="content")
