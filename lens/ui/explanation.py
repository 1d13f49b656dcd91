"""All that is said under a figure, in one order on every page: a page cannot leave out a part or shuffle them."""

from __future__ import annotations

import html
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from lens.ui import parts
from lens.ui.badge import note_notice, note_sample
from lens.ui.glossary import explained
from lens.ui.links import with_links
from lens.ui.stage import on_stage, subtitle

if TYPE_CHECKING:
    from lens.model import Transformer
    from lens.ui.view import ViewState

Lines = tuple[tuple[str, str], ...]  # (title, sentences); a line without sentences is not drawn


class Explanation(NamedTuple):
    """What to see in a figure, what not to conclude from it, and where its numbers come from."""

    notice: str | tuple[str, ...]  # computed from the figure's data; always shown
    misreading: str  # the conclusion people wrongly draw from it
    asides: Lines = ()  # about these numbers alone; shown
    measured: Lines = ()  # what repeats from page to page: sample, null, intervals; folded beside the model
    formula: str = ""  # LaTeX
    where: str = ""  # what its symbols mean, Markdown


def explain(
    view: ViewState, model: Transformer | None, explanation: Explanation, linked: Callable[[str], str] = explained
) -> None:
    """Notice, misreading, asides, what it was measured on, formula. What they name is a link.

    ``model`` is named first among what it was measured on; None where the figure is not about the open model, or stands
    beside one that says so. ``linked`` then writes the sentences: it knows what they name.
    """
    notices = (explanation.notice,) if isinstance(explanation.notice, str) else explanation.notice
    write = linked if model is None else partial(with_links, view, model.cfg)
    note_sample(dict(explanation.measured).get("Sample", ""))
    for text in notices[:1]:
        note_notice(text)
        if on_stage():
            subtitle(text, write)
    if on_stage():
        return
    for text in notices:
        parts.notice(text, write)
    parts.misreading(explanation.misreading)
    for title, text in explanation.asides:
        if text:
            parts.aside(title, text, write)
    named = () if model is None else (("Model", parts.model_words(view, model)),)
    lines = [(title, text) for title, text in (*named, *explanation.measured) if text]
    if lines:
        st.html(measured_on("" if model is None else model.name, lines))
    if explanation.formula:
        parts.formula(explanation.formula, explanation.where)


def measured_on(name: str, lines: list[tuple[str, str]]) -> str:
    """The row "Measured on" as HTML: it names what it holds, and opens without asking the server."""
    titles = dict.fromkeys(title for title, _ in lines if not (name and title == "Model"))
    held = " · ".join([*([name] if name else []), *titles])
    body = "".join(parts.line("misreading", title, text) for title, text in lines)
    return (
        f'<details class="lens-measured"><summary><b>Measured on</b><span>{html.escape(held)}</span></summary>'
        f"{body}</details>"
    )
