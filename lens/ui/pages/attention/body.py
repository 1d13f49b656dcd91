"""Where does each head look?"""

import streamlit as st

from lens.analysis.habits import content_rank, heads_by_habit
from lens.analysis.streaming import uniform_pattern
from lens.analysis.text_attention import head_habits, text_attention
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation, explain
from lens.ui.export import export
from lens.ui.models import open_model, read_prompt
from lens.ui.pages.attention import controls as choose
from lens.ui.pages.attention import numbers, tables, views, words
from lens.ui.view import ViewState


def draw(view: ViewState) -> None:
    """The page, from top to bottom."""
    model = open_model(view)
    prompt = read_prompt(view, model)
    labels = prompt.labels
    if len(labels) == 1:
        parts.empty_state(words.ONE_TOKEN)

    with st.container():  # keeps what follows in its place, whether or not a progress bar was drawn
        seen = analyse(text_attention, model, prompt.tokens, progress=True)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        look = choose.choose_look(view)
        layer, head = choose.choose_head(view, model, seen.content_dependence)
    habits, uniform = [column[layer, head] for column in seen.habits], head_habits(uniform_pattern(len(labels)))
    content = content_rank(seen.content_dependence, (layer, head))
    line = words.description(f"{layer}.{head}", habits, uniform, content, len(labels))
    st.markdown(line, help=parts.metric_help(words.HABITS_HELP, "share of attention; nats", words.HABITS_NULL))
    if look == "all":
        hide = choose.choose_first(view, small=True)
        figure = views.all_figure(view, model, seen, (layer, head), hide)
        text = words.all_heads(heads_by_habit(seen.habits), content, len(labels))
        caption = words.blocks_of_all(seen, len(labels))
        parts.head_grid(figure, view, "attention:all", text)
        taken = tables.overview_export(seen, prompt, figure)
    else:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            heads = choose.choose_heads(view, "over" if look == "matrix" else "group", model.cfg.n_heads)
            measure = choose.choose_measure(view)
            hide = choose.choose_first(view)
            choose.choose_query(view, labels)
            most, empty = numbers.longest(look, len(heads)), "all, in blocks" if look == "matrix" else "the beginning"
            start = choose.choose_start(view, labels, most, empty)
        with st.container():
            shown = numbers.show(model, seen, heads, measure, hide, share=look != "matrix")
        part = numbers.part_for(look, shown, labels, start)
        text, caption = words.notice(shown, labels, view.query), words.caption(look, shown, part, labels, measure)
        figure = views.figure_of(model, shown, part, measure, view.query)
        views.strips(view, shown, labels, measure)
        if look == "matrix":
            views.draw_matrix(view, figure, part, words.alt_of_matrix(shown.names, part, text))
        else:
            views.draw_circuits(look, shown, part, labels)
        taken = tables.heads_export(shown, prompt, measure, look != "matrix", figure)
    explanation = Explanation(
        f"{text} {words.why_telling(f'{layer}.{head}', content, len(labels))}".strip(),
        words.MISREADING,
        asides=(("Shown", caption),),
        formula=words.FORMULA,
        where=words.FORMULA_WHERE,
    )
    explain(view, model, explanation)
    export(view, taken)
