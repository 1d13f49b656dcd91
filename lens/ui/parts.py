"""The sentences and small pieces that every page uses: NOTICE, misreading, formula, empty states, clickable charts."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import streamlit as st

from lens.figures.drawn import with_meta
from lens.figures.grid import selected_cell, selected_cells
from lens.figures.paper import larger
from lens.load.number_format import rounding_words
from lens.ui.badge import key_of_repeated
from lens.ui.ending import end_page
from lens.ui.first_paint import give_way
from lens.ui.glossary import explained
from lens.ui.heading import heading_html
from lens.ui.models import prepend_bos
from lens.ui.stage import LARGER, on_stage

if TYPE_CHECKING:
    from pandas import DataFrame
    from streamlit.elements.lib.column_types import ColumnConfig

    from lens.figures.drawn import Drawn
    from lens.model import Transformer
    from lens.ui.view import ViewState

Cell = tuple[int, ...]  # where a point stands in the arrays of its figure
Event = Mapping[str, Any]  # a click, as the browser reports it
Columns: TypeAlias = "Mapping[str, ColumnConfig]"  # Streamlit's settings of the columns of a table, by name


def notice(text: str, write: Callable[[str], str] = explained) -> None:
    """What to see in the figure above, in one or two sentences that the page computed from the figure's data.

    ``write`` turns the sentences into HTML, here and below.
    """
    _line("notice", "Notice", text, write)


def misreading(text: str) -> None:
    """The conclusion people wrongly draw from this figure, and why it does not follow."""
    _line("misreading", "Easy to misread", text)


def aside(title: str, text: str, write: Callable[[str], str] = explained) -> None:
    """What belongs to the numbers of a figure: how the null was made, how many samples there were."""
    _line("misreading", title, text, write)


def metric_help(definition: str, unit: str, null: str = "", source: str = "") -> str:
    """The tooltip of a number: what it is, its unit, what chance gives, where the definition comes from."""
    parts = [definition, f"**Unit:** {unit}."]
    parts += [f"**By chance:** {null}."] if null else []
    parts += [f"**Source:** {source}."] if source else []
    return "\n\n".join(parts)


def formula(latex: str, where: str = "") -> None:
    """The formula of the page's number, folded away; ``where`` explains its symbols."""
    if on_stage():
        return
    with st.expander("Formula"):
        st.latex(latex)
        if where:
            st.markdown(where)


def provenance(view: ViewState, model: Transformer) -> None:
    """Which weights, and which token in front, the figures above are about. Belongs to every figure."""
    _line("misreading", "Model", model_words(view, model))


def model_words(view: ViewState, model: Transformer) -> str:
    """Which weights, and which token in front, a figure is about."""
    said = (f"{model.name}.", model.note, rounding_words(model.dtype), bos_words(view, model))
    return " ".join(filter(None, said))


def bos_words(view: ViewState, model: Transformer) -> str:
    """Whether a token stands before the text, by whose choice, and the model's own policy with its reason."""
    bos, chosen = model.bos, prepend_bos(view)
    if bos.id is None:
        return f"No BOS: {bos.reason}."
    here = bos.prepend if chosen is None else chosen
    state = f"BOS {bos.token} (id {bos.id}) stands first" if here else f"BOS {bos.token} is left out"
    by = "the model's own policy" if chosen is None else "your choice"
    policy = "" if chosen is None else f"the model's own policy is to put it {'first' if bos.prepend else 'nowhere'}; "
    return f"{state} by {by}: {policy}{bos.reason}."


def empty_state(text: str) -> None:
    """What to do when there is nothing to show yet. The page ends here."""
    st.html(f'<div class="lens-empty">{html.escape(text)}</div>')
    end_page()


def not_computed(reason: str) -> None:
    """A place where a number would stand, with the reason why it does not: "Not computed because ..."."""
    st.html(f'<div class="lens-empty">Not computed because {html.escape(reason)}</div>')


def chart(
    figure: Drawn,
    alt: str,
    key: str | None = None,
    on_cell: Callable[[Cell], object] | None = None,
    read: Callable[[Event], Cell | None] = selected_cell,
    width: str | None = None,
    on_box: Callable[[list[Cell]], object] | None = None,
) -> None:
    """A figure; ``alt`` is it in words.

    ``on_cell`` is called with the cell that was clicked, before the page runs again; such a chart needs a ``key``.
    ``read`` finds the cell in what the browser reports. ``on_box`` is called with all cells in a box that was dragged.
    """
    if on_stage():
        figure = larger(figure, LARGER)
    else:
        st.html(heading_html(figure.to_dict()["layout"]))
    clicks: dict[str, Any] = {}
    if on_cell is not None:
        count = st.session_state.get(f"{key}:clicks", 0)
        figure = with_meta(figure, {"clicks": count})  # another figure after each click: it drops its selection
        modes = "points" if on_box is None else ("points", "box")
        clicks = {"on_select": partial(_clicked, key, on_cell, read, on_box), "selection_mode": modes}
    key = key or key_of_repeated(figure)
    width = width or ("stretch" if figure.layout.width is None else "content")  # its own, or all there is
    st.plotly_chart(figure, key=key, config={"displaylogo": False}, alt=alt, width=width, **clicks)
    give_way()


def table(
    rows: DataFrame,
    alt: str,
    columns: Columns | None = None,
    height: int | str = "auto",
    key: str | None = None,
    on_row: Callable[[int], object] | None = None,
) -> None:
    """A table without row numbers; ``alt`` is it in words.

    ``on_row`` is called with the row that was clicked, before the page runs again; such a table needs a ``key``.
    """
    clicks: dict[str, Any] = {}
    if on_row is not None:
        clicks = {"key": key, "on_select": partial(_row_clicked, key, on_row), "selection_mode": "single-row"}
    st.dataframe(rows, hide_index=True, column_config=columns, height=height, alt=alt, **clicks)


def _row_clicked(key: str, on_row: Callable[[int], object]) -> None:
    for row in st.session_state[key]["selection"]["rows"]:
        on_row(row)


def head_grid(figure: Drawn, view: ViewState, key: str, alt: str) -> None:
    """A [layer, head] figure; a click on a cell selects its head, a second one pins or unpins it."""
    chart(figure, alt, key, lambda head: view.click(*head))


def follow_click(
    event: Event,
    on_cell: Callable[[Cell], object],
    read: Callable[[Event], Cell | None] = selected_cell,
) -> Cell | None:
    """Call ``on_cell`` with the cell that was clicked, and return it; None if nothing was clicked."""
    cell = read(event)
    if cell is not None:
        on_cell(cell)
    return cell


def _clicked(
    key: str,
    on_cell: Callable[[Cell], object],
    read: Callable[[Event], Cell | None],
    on_box: Callable[[list[Cell]], object] | None,
) -> None:
    event = st.session_state[key]
    if on_box is not None and len(cells := selected_cells(event)) > 1:
        on_box(cells)
    elif follow_click(event, on_cell, read) is None:
        return
    st.session_state[f"{key}:clicks"] = st.session_state.get(f"{key}:clicks", 0) + 1


def line(kind: str, title: str, text: str, write: Callable[[str], str] = explained) -> str:
    """One line of what is said under a figure, as HTML: its title at the left, its sentences at the right.

    Words of the field say what they mean (``lens.ui.glossary``).
    """
    return f'<div class="lens-line {kind}"><b>{html.escape(title)}</b><span>{write(text)}</span></div>'


def _line(kind: str, title: str, text: str, write: Callable[[str], str] = explained) -> None:
    if on_stage():
        return  # the stage has one notice, which ``explain`` draws
    st.html(line(kind, title, text, write))
