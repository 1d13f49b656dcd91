"""Where does each head look?"""

import streamlit as st

from lens.ui.export import export
from lens.ui.frame import frame
from lens.ui.models import open_model, read_prompt
from lens.ui.parts import empty_state, formula, metric_help, misreading, notice, provenance
from lens.ui.pieces import attention as choose
from lens.ui.pieces import attention_words as words

with frame("Attention", question="Where does each head look?", options=choose.OPTIONS) as view:
    model = open_model(view)
    prompt = read_prompt(view, model)
    labels = prompt.labels
    if len(labels) == 1:
        empty_state(words.ONE_TOKEN)

    from lens.analysis.streaming import uniform_pattern
    from lens.analysis.text_attention import head_habits, text_attention
    from lens.ui.calls import analyse
    from lens.ui.pieces import attention_export as take
    from lens.ui.pieces import attention_numbers as numbers
    from lens.ui.pieces import attention_views as draw

    with st.container():  # keeps what follows in its place, whether or not a progress bar was drawn
        seen = analyse(text_attention, model, prompt.tokens, progress=True)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        look = choose.choose_look(view)
        layer, head = choose.choose_head(view, model, seen.telling)
    habits, uniform = [column[layer, head] for column in seen.habits], head_habits(uniform_pattern(len(labels)))
    line = words.description(f"{layer}.{head}", habits, uniform, seen.telling, len(labels))
    st.markdown(line, help=metric_help(words.HABITS_HELP, "share of attention; nats", words.HABITS_NULL))
    if look == "all":
        hide = choose.choose_first(view, small=True)
        figure = draw.all_figure(view, model, seen, (layer, head), hide)
        told, caption = words.all_heads(seen.habits, seen.telling, len(labels)), words.blocks_of_all(seen, len(labels))
        draw.draw_all(view, figure, told)
        taken = take.overview_export(seen, prompt, figure)
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
        told, caption = words.told(shown, labels, view.query), words.caption(look, shown, part, labels, measure)
        figure = draw.figure_of(model, shown, part, measure, view.query)
        draw.strips(view, shown, labels, measure)
        if look == "matrix":
            draw.draw_matrix(view, figure, part, words.alt_of_matrix(shown.names, part, told))
        else:
            draw.draw_circuits(look, shown, part, labels)
        taken = take.heads_export(shown, prompt, measure, look != "matrix", figure)
    draw.small_print(caption)
    notice(words.with_why(told, layer, head, seen.telling, len(labels)))
    misreading(words.MISREADING)
    provenance(view, model)
    formula(words.FORMULA, words.FORMULA_WHERE)
    export(view, taken)
