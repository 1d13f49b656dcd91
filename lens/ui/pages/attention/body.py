"""Where does each head look?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from lens.analysis.habits import content_rank, heads_by_habit
from lens.analysis.streaming import uniform_pattern
from lens.analysis.text_attention import head_habits, text_attention
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.models import open_model, read_prompt
from lens.ui.outcome import Explanation, Outcome, conclude
from lens.ui.pages.attention import by_hand, cells, cut, numbers, views, words
from lens.ui.pages.attention import controls as choose

if TYPE_CHECKING:
    from lens.ui.view import ViewState


def draw(view: ViewState) -> None:
    """The page, from top to bottom."""
    model = open_model(view)
    prompt = read_prompt(view, model)
    labels = prompt.labels
    if len(labels) == 1:
        parts.empty_state(words.ONE_TOKEN)

    with st.container():  # keeps what follows in its place, whether or not a progress bar was drawn
        attention = analyse(text_attention, model, prompt.tokens, progress=True)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        look = choose.choose_look(view)
        head = choose.choose_head(view, model, attention.content_dependence)
    habits, uniform = [column[head] for column in attention.habits], head_habits(uniform_pattern(len(labels)))
    content = content_rank(attention.content_dependence, head)
    line = words.description(str(head), habits, uniform, content, len(labels))
    st.markdown(line, help=parts.metric_help(words.HABITS_HELP, "share of attention; nats", words.HABITS_NULL))
    if look == "all":
        hide = choose.choose_first(view, small=True)
        figure = views.all_figure(view, model, attention, head, hide)
        text = words.all_heads(heads_by_habit(attention.habits), content, len(labels))
        caption = words.blocks_of_all(attention, len(labels))
        parts.head_grid(figure, view, "attention:all", text)
        export = numbers.overview_export(attention, prompt, figure)
    else:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            heads = choose.choose_heads(view, "over" if look == "matrix" else "group", model.cfg.n_heads)
            measure = choose.choose_measure(view)
            hide = choose.choose_first(view)
            choose.choose_query(view, labels)
            most, empty = numbers.longest(look, len(heads)), "all, in blocks" if look == "matrix" else "the beginning"
            start = choose.choose_start(view, labels, most, empty)
        with st.container():
            values = numbers.values_of(model, attention, heads, measure, hide, share=look != "matrix")
        part = numbers.part_for(look, values, labels, start)
        text, caption = words.notice(values, labels, view.query), words.caption(look, values, part, labels, measure)
        figure = views.figure_of(model, values, part, measure, view.query)
        views.strips(view, values, labels, measure)
        if look == "matrix":
            views.draw_matrix(view, figure, part, words.alt_of_matrix(values.names, part, text))
        else:
            views.draw_circuitsvis(look, values, part, labels)
        export = numbers.heads_export(values, prompt, measure, look != "matrix", figure)
    explanation = Explanation(
        f"{text} {words.why_content_dependent(str(head), content, len(labels))}".strip(),
        words.MISREADING,
        asides=(("Shown", caption),),
        formula=words.FORMULA,
        where=words.FORMULA_WHERE,
    )
    conclude(view, model, Outcome(explanation, export))
    followed = cells.Followed(model, head, prompt, attention)
    cut.draw(view, followed)
    by_hand.draw(view, followed)
