"""Where does each head look?"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from lens.analysis.habits import content_rank, heads_by_habit, on_cells
from lens.analysis.streaming import uniform_pattern
from lens.analysis.text_attention import head_habits, text_attention
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.models import open_model
from lens.ui.outcome import Explanation, Export, Outcome, conclude
from lens.ui.pages.attention import by_hand, cells, compared, cut, numbers, views, words
from lens.ui.pages.attention import controls as choose
from lens.ui.shared.patterns import read
from lens.ui.shared.reads import choose_reads

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from lens.analysis.habits import ContentRank
    from lens.analysis.names import Head
    from lens.analysis.text_attention import TextAttention
    from lens.hooked import HookedTransformer
    from lens.ui.shared.patterns import Reading
    from lens.ui.view import ViewState


class Seen(NamedTuple):
    """What the page is about: how every head looks at one text, and the head that is followed."""

    model: HookedTransformer
    reading: Reading
    attention: TextAttention
    head: Head

    @property
    def labels(self) -> list[str]:
        """Of the tokens."""
        return self.reading.prompt.labels

    @property
    def content(self) -> ContentRank:
        """How much the head depends on the text, among all heads."""
        return content_rank(self.attention.content_dependence, self.head)


class Drawn(NamedTuple):
    """What is said of a picture, how it was drawn, and what can be taken away."""

    notice: str
    caption: str
    export: Export


def draw(view: ViewState) -> None:
    """The page: what is shown, the picture, and beside a matrix or below another picture what is read with it."""
    model = open_model(view)
    row = st.container(horizontal=True, vertical_alignment="bottom", key="attention-controls")
    with row:
        layout = choose.choose_look(view)
        choose_reads(view)
    reading = read(view, model)
    if len(reading.prompt.labels) == 1:
        parts.empty_state(words.ONE_TOKEN)
    with st.container():  # keeps what follows in its place, whether or not a progress bar was drawn
        attention = analyse(text_attention, model, reading.prompt.tokens, progress=True)
    with row:
        head = choose.choose_head(view, model, attention.content_dependence)
    seen = Seen(model, reading, attention, head)
    picture, side = _places(layout)
    drawn = _draw_all(view, seen, picture, side) if layout == "all" else _draw_heads(view, seen, layout, picture, side)
    with side:
        _draw_facts(view, seen)
    beside = st.container()
    conclude(view, model, Outcome(explanation(seen, drawn), drawn.export))
    followed = cells.Followed(model, head, reading.prompt, attention, reading.code)
    cut.draw(view, followed)
    by_hand.draw(view, followed)
    compared.draw(view, model, beside, compared.Looks(reading, attention), head)


def explanation(seen: Seen, drawn: Drawn) -> Explanation:
    """What is said of the picture, and of the head on this text."""
    text, name = drawn.notice, str(seen.head)
    stripe = seen.reading.stripe
    if stripe is not None and stripe.cells:
        pattern = numbers.patterns(seen.model, seen.attention, [seen.head])[0]
        text = f"{words.on_stripe(name, on_cells(pattern, stripe.cells), stripe.meaning)} {text}"
    return Explanation(
        f"{text} {words.why_content_dependent(name, seen.content, len(seen.labels))}".strip(),
        words.MISREADING,
        asides=(("Shown", f"{seen.reading.about} {drawn.caption}".strip()),),
        formula=words.FORMULA,
        where=words.FORMULA_WHERE,
    )


def _places(layout: str) -> tuple[DeltaGenerator, DeltaGenerator]:
    """Where the picture stands, and what is read with it: beside a square matrix, below what fills the width."""
    if layout != "matrix":
        return st.container(), st.container()
    left, right = st.columns([2, 1], gap="medium")
    return left.container(key="square"), right


def _draw_all(view: ViewState, seen: Seen, picture: DeltaGenerator, side: DeltaGenerator) -> Drawn:
    """The small pictures of all heads."""
    with side:
        hide = choose.choose_first(view, small=True)
    figure = views.all_figure(view, seen.model, seen.attention, seen.head, hide)
    text = words.all_heads(heads_by_habit(seen.attention.habits), seen.content, len(seen.labels))
    with picture:
        parts.head_grid(figure, view, "attention:all", text)
    caption = words.blocks_of_all(seen.attention, len(seen.labels))
    return Drawn(text, caption, numbers.overview_export(seen.attention, seen.reading, figure))


def _draw_heads(view: ViewState, seen: Seen, layout: str, picture: DeltaGenerator, side: DeltaGenerator) -> Drawn:
    """One head or several: the picture, and at its side the text with the widgets that change the picture."""
    model, labels, share = seen.model, seen.labels, layout != "matrix"
    with side:
        strip = st.container()
        with st.container(horizontal=True, vertical_alignment="bottom"):
            heads = choose.choose_heads(view, "group" if share else "over", model.cfg.n_heads)
            measure = choose.choose_measure(view)
            hide = choose.choose_first(view)
            choose.choose_query(view, labels)
            most, empty = numbers.longest(layout, len(heads)), "the beginning" if share else "all, in blocks"
            start = choose.choose_start(view, labels, most, empty)
    with st.container():
        values = numbers.values_of(model, seen.attention, heads, measure, hide, share)
    part = numbers.part_for(layout, values, labels, start)
    text, caption = words.notice(values, labels, view.query), words.caption(layout, values, part, labels, measure)
    figure = views.figure_of(model, values, part, measure, view.query, seen.reading.stripe)
    with strip:
        views.strips(view, values, part, labels, measure)
    with picture:
        if share:
            views.draw_circuitsvis(layout, values, part, labels)
        else:
            views.draw_matrix(view, figure, part, words.alt_of_matrix(values.names, part, text))
    return Drawn(text, caption, numbers.heads_export(values, seen.reading, measure, share, figure))


def _draw_facts(view: ViewState, seen: Seen) -> None:
    """Where the head looks on this text in numbers, and the way to the head that depends on its content most."""
    attention, n_tokens = seen.attention, len(seen.labels)
    habits, uniform = [column[seen.head] for column in attention.habits], head_habits(uniform_pattern(n_tokens))
    line = words.description(str(seen.head), habits, uniform, seen.content, n_tokens)
    st.markdown(line, help=parts.metric_help(words.HABITS_HELP, "share of attention; nats", words.HABITS_NULL))
    choose.content_button(view, attention.content_dependence)
