"""The sentences and small pieces that every page uses: NOTICE, misreading, formula, empty states, clickable grids."""

import html
from collections.abc import Mapping
from functools import partial
from typing import Any

import streamlit as st

from lens.analysis.names import Head
from lens.figures.grid import selected_cell
from lens.ui.ending import end_page
from lens.ui.models import prepend_bos
from lens.ui.view import ViewState


def notice(text: str) -> None:
    """What to see in the figure above, in one or two sentences that the page computed from the figure's data."""
    _line("notice", "Notice", text)


def misreading(text: str) -> None:
    """The conclusion people wrongly draw from this figure, and why it does not follow."""
    _line("misreading", "Easy to misread", text)


def aside(title: str, text: str) -> None:
    """What belongs to the numbers of a figure: how the null was made, how many samples there were."""
    _line("misreading", title, text)


def metric_help(definition: str, unit: str, null: str = "", source: str = "") -> str:
    """The tooltip of a number: what it is, its unit, what chance gives, where the definition comes from."""
    parts = [definition, f"**Unit:** {unit}."]
    parts += [f"**By chance:** {null}."] if null else []
    parts += [f"**Source:** {source}."] if source else []
    return "\n\n".join(parts)


def formula(latex: str, where: str = "") -> None:
    """The formula of the page's number, folded away; ``where`` explains its symbols."""
    with st.expander("Formula"):
        st.latex(latex)
        if where:
            st.markdown(where)


def provenance(view: ViewState, model: Any) -> None:
    """Which weights, and which token in front, the figures above are about. Belongs to every figure."""
    _line("misreading", "Model", f"{model.name}. {model.note} {bos_words(view, model)}".replace("  ", " "))


def bos_words(view: ViewState, model: Any) -> str:
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


def head_from_event(event: Mapping[str, Any], view: ViewState) -> Head | None:
    """Select the head whose cell was clicked, or pin and unpin it if it is selected; None if nothing was clicked."""
    cell = selected_cell(event)
    if cell is not None:
        view.click(*cell)
    return None if cell is None else Head(*cell)


def head_grid(figure: Any, view: ViewState, key: str, alt: str) -> None:
    """A [layer, head] figure; a click on a cell selects its head, a second one pins or unpins it.

    ``alt`` is the figure in words.
    """
    figure.update_layout(meta={"selected": view.selected})  # another figure after each click: it drops its selection
    st.plotly_chart(
        figure,
        key=key,
        on_select=partial(_head_clicked, view, key),
        selection_mode="points",
        config={"displaylogo": False},
        alt=alt,
    )


def chart(figure: Any, alt: str, key: str | None = None) -> None:
    """A figure that is only looked at. ``alt`` describes it in words."""
    st.plotly_chart(figure, key=key, config={"displaylogo": False}, alt=alt)


def _head_clicked(view: ViewState, key: str) -> None:
    head_from_event(st.session_state[key], view)


def _line(kind: str, title: str, text: str) -> None:
    st.html(f'<div class="lens-line {kind}"><b>{title}</b><span>{html.escape(text)}</span></div>')
