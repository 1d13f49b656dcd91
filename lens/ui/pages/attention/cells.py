"""Single cells of a head's pattern: which ones are named, by a click or in writing, and what a click does."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from lens.analysis.answer.knockout import PatternCell
from lens.analysis.answer.qk_attribution import allowed_keys
from lens.analysis.habits import strongest_keys, strongest_pair
from lens.figures.cells import Marks, crossed
from lens.ui.fields import BadValue
from lens.ui.limits import limits
from lens.ui.pages.attention import CLICKS, numbers
from lens.ui.pages.attention.controls import lock_row
from lens.ui.view import say_next_run
from lens.ui.widgets import bind, segmented

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from lens.analysis.names import Head
    from lens.analysis.text_attention import TextAttention
    from lens.figures.drawn import Drawn
    from lens.hooked import HookedTransformer
    from lens.ui.models import Prompt
    from lens.ui.pages.attention.numbers import Part
    from lens.ui.view import ViewState

CLICKS_HELP = (
    "What a click on a cell of the matrix does. **Locks its query:** the text takes the colours of that row. **Cuts "
    "it:** the head may not look there, and the section below shows what that changes; a second click takes it back. "
    "**By hand:** the section below computes that cell again, step by step."
)


class Followed(NamedTuple):
    """The head whose cells are looked at, on a text. ``code``: Python that makes ``tokens``, where not the prompt."""

    model: HookedTransformer
    head: Head
    prompt: Prompt
    attention: TextAttention
    code: str = ""

    @property
    def pattern(self) -> np.ndarray:
        """[query, key]."""
        return numbers.patterns(self.model, self.attention, [self.head])[0]

    def name(self, cell: tuple[int, int]) -> str:
        """ "6 'pear' → 2 'apple'"."""
        return " → ".join(f"{at} '{self.prompt.labels[at].strip()}'" for at in cell)

    def strongest(self, query: int | None) -> PatternCell:
        """The cell with the most attention, of this query or of all, away from the first token where there is one."""
        pattern = self.pattern
        if query is not None:
            keys = [look.key for look in strongest_keys(pattern, query, query + 1)]
            return PatternCell(query, next((key for key in keys if key), 0))
        pair = strongest_pair(pattern, False)
        return PatternCell(1, 0) if pair is None else PatternCell(pair.query, pair.key)


def choose_click(view: ViewState) -> None:
    """What a click on a cell does."""
    segmented(view, "clicks", tuple(CLICKS), "A click on a cell", CLICKS_HELP, format_func=CLICKS.get)


def click(view: ViewState, start: int, cell: tuple[int, ...]) -> None:
    """Follow a click on a cell of the matrix; ``start``: the position of its first row and column."""
    at = (cell[0] + start, cell[1] + start)
    if view["clicks"] == "cut":
        toggle(view, at)
    elif view["clicks"] == "hand":
        view.set(cell=(at,), byhand=True)
    else:
        lock_row(view, start, cell)


def toggle(view: ViewState, cell: tuple[int, int]) -> None:
    """Cut a cell, or take its cut back; the section that shows what it changes is opened."""
    cut, most = tuple(other for other in view["cut"] if other != cell), limits().cut_cells
    if cut == view["cut"] and len(cut) >= most:
        say_next_run(f"at most {most} cells are cut at once: uncut one first")
        return
    view.set(cut=(*cut, cell) if cut == view["cut"] else cut, cutting=True)


def mark_cut(view: ViewState, figure: Drawn, part: Part) -> Drawn:
    """Crosses through the cells that are cut, where the matrix is that of the current head, cell by cell."""
    drawn = [(query - part.start, key - part.start) for query, key in view["cut"]]
    size = len(part.labels)
    inside = [cell for cell in drawn if 0 <= cell[1] <= cell[0] < size]
    if not inside or part.block > 1 or view["over"] != "head" or len(part.values) != 1 or not view["cutting"]:
        return figure
    return crossed(figure, Marks(inside, "cut below"))


def cells_box(view: ViewState, name: str, label: str, help: str, value: Sequence[tuple[int, int]]) -> None:
    """A line in which cells are written, ``6-2,7-3``; ``value`` is what stands in it."""
    written = view.field(name).write(value)
    seed = bind(view, name, written, partial(_read_box, view, name))
    st.text_input(label, written, help=help, placeholder="6-2, 7-3", width=200, **seed)


def _read_box(view: ViewState, name: str, key: str) -> None:
    try:
        cells = view.field(name).read(st.session_state[key])
    except BadValue as bad:
        cells = bad.use
        say_next_run(str(bad))
    view.set(**{name: cells})


def seen_cells(view: ViewState, name: str, of: Followed, most: int) -> tuple[PatternCell, ...]:
    """The cells of field ``name`` that the head sees on this text, at most ``most``; what is left out is said."""
    n_tokens = len(of.prompt.labels)
    allowed = allowed_keys(of.model, of.head.layer, n_tokens).cpu()
    cells = [PatternCell(*cell) for cell in view[name]]
    seen = [cell for cell in cells if max(cell) < n_tokens and bool(allowed[cell])]
    gone = [str(cell) for cell in cells if cell not in seen]
    if gone:
        why = f"its keys are the token itself and those before, of {n_tokens} tokens"
        window = of.model.cfg.window(of.head.layer)
        why += "" if window is None else f", at most {window} of them"
        view.note(f"head {of.head} does not see {', '.join(gone)} ({why}): left out")
    if len(seen) > most:
        view.note(f"at most {most} cells are cut at once: the first {most} of {len(seen)} are")
    kept = tuple(seen[:most])
    if kept != tuple(cells):
        view.set(**{name: kept})
    return kept
