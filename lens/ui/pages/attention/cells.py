"""Single cells of a head's pattern: which ones are named, by a click or in writing, and what a click does."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from lens.analysis.answer.knockout import allowed_of
from lens.analysis.habits import strongest_keys, strongest_pair
from lens.analysis.names import Head, HeadCell, PatternCell
from lens.figures.cells import Marks, crossed
from lens.ui.fields import BadValue
from lens.ui.limits import limits
from lens.ui.pages.attention import CLICKS, numbers
from lens.ui.pages.attention.controls import lock_row
from lens.ui.view import say_next_run
from lens.ui.widgets import bind, segmented

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np

    from lens.analysis.answer.knockout import Allowed
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
    at = PatternCell(cell[0] + start, cell[1] + start)
    if view["clicks"] == "cut":
        toggle(view, at)
    elif view["clicks"] == "hand":
        view.set(cell=(at,), byhand=True)
    else:
        lock_row(view, start, cell)


def toggle(view: ViewState, cell: PatternCell) -> None:
    """Cut a cell of the current head, or take its cut back; the section that shows what it changes is opened."""
    named, most = HeadCell(current_head(view), *cell), limits().cut_cells
    cut = tuple(other for other in view["cut"] if other not in (cell, named))
    if cut == view["cut"] and len(cut) >= most:
        say_next_run(f"at most {most} cells are cut at once: uncut one first")
        return
    view.set(cut=(*cut, cell) if cut == view["cut"] else cut, cutting=True)


def current_head(view: ViewState) -> Head:
    """The head whose matrix is drawn: cells that name no head are its own."""
    return Head(view["layer"], view["head"])


def of_heads(cells: Iterable[PatternCell | HeadCell], current: Head) -> tuple[HeadCell, ...]:
    """The cells, each with its head; those without are of the current one. Each cell once."""
    return tuple(dict.fromkeys(one if isinstance(one, HeadCell) else HeadCell(current, *one) for one in cells))


def mark_cut(view: ViewState, figure: Drawn, part: Part) -> Drawn:
    """Crosses through the cells that are cut, where the matrix is that of the current head, cell by cell."""
    current = current_head(view)
    here = [cell for cell in of_heads(view["cut"], current) if cell.head == current]
    drawn = [(cell.query - part.start, cell.key - part.start) for cell in here]
    size = len(part.labels)
    inside = [cell for cell in drawn if 0 <= cell[1] <= cell[0] < size]
    if not inside or part.block > 1 or view["over"] != "head" or len(part.values) != 1 or not view["cutting"]:
        return figure
    return crossed(figure, Marks(inside, "cut below"))


def cells_box(
    view: ViewState, name: str, label: str, help: str, value: Sequence[PatternCell | HeadCell], width: int = 200
) -> None:
    """A line in which cells are written, ``6-2,7-3``; ``value`` is what stands in it."""
    written = view.field(name).write(value)
    seed = bind(view, name, written, partial(_read_box, view, name))
    st.text_input(label, written, help=help, placeholder="6-2, 7-3", width=width, **seed)


def _read_box(view: ViewState, name: str, key: str) -> None:
    try:
        cells = view.field(name).read(st.session_state[key])
    except BadValue as bad:
        cells = bad.use
        say_next_run(str(bad))
    view.set(**{name: cells})


def seen_cells(view: ViewState, name: str, of: Followed, most: int) -> tuple[HeadCell, ...]:
    """The cells of field ``name`` that their heads see on this text, at most ``most``; what is left out is said."""
    cells = of_heads(view[name], of.head)
    allowed = allowed_of(of.model, [cell for cell in cells if _exists(of, cell.head)], len(of.prompt.labels))
    seen = [one for one in view[name] if _sees(of, allowed, *of_heads([one], of.head))]
    for head in dict.fromkeys(cell.head for cell in cells):
        gone = [one for one in view[name] if one not in seen and of_heads([one], of.head)[0].head == head]
        if gone:
            listed = ", ".join(f"{one.query}-{one.key}" for one in gone)
            view.note(f"{_why_not_seen(of, head).format(listed)}: left out")
    if len(seen) > most:
        view.note(f"at most {most} cells are cut at once: the first {most} of {len(seen)} are")
    kept = tuple(seen[:most])
    if kept != view[name]:
        view.set(**{name: kept})
    return of_heads(kept, of.head)


def _exists(of: Followed, head: Head) -> bool:
    return head.layer < of.model.cfg.n_layers and head.head < of.model.cfg.n_heads


def _sees(of: Followed, allowed: Allowed, cell: HeadCell) -> bool:
    """Whether there is such a head, and the key is one that its query sees."""
    if not _exists(of, cell.head) or max(cell.query, cell.key) >= len(of.prompt.labels):
        return False
    return bool(allowed[cell.head.layer][cell.query, cell.key])


def _why_not_seen(of: Followed, head: Head) -> str:
    """Why cells, for whom the braces stand, are none of this head's."""
    if not _exists(of, head):
        return f"this model has no head {head} (cells {{}})"
    why = f"its keys are the token itself and those before, of {len(of.prompt.labels)} tokens"
    window = of.model.cfg.window(head.layer)
    return f"head {head} does not see {{}} ({why}" + ("" if window is None else f", at most {window} of them") + ")"
