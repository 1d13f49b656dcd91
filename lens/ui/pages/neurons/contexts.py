"""Where a neuron fires in the shipped text: the top tokens exactly, and samples from each tenth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.answer.neurons import (
    Activity,
    Context,
    TextStreams,
    activity,
    decile_contexts,
    low_contexts,
    neuron_on_text,
    text_streams,
    top_contexts,
)
from lens.figures.strip import Scale, token_strip
from lens.figures.theme import number as written
from lens.ui.calls import analyse, call_key, is_kept, result_store
from lens.ui.circuitsvis import topk_tokens
from lens.ui.estimate import forward_seconds
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.labels import token_labels
from lens.ui.limits import limits
from lens.ui.pages.neurons import CHAPTERS, CONTEXTS, LONGEST, words
from lens.ui.store import to_torch
from lens.ui.waiting import started
from lens.ui.widgets import number, segmented

if TYPE_CHECKING:
    from torch import Tensor

    from lens.hooked import HookedTransformer
    from lens.ui.pages.neurons.choose import Neuron
    from lens.ui.view import ViewState

ASK = 5.0  # estimated seconds above which reading the text waits for a click
TOP, PER_TENTH, AROUND = 12, 2, 12  # contexts, samples of each tenth, tokens before and after
SHOWN_CHAPTERS = 16  # of the view per chapter
CONTEXTS_HELP = (
    "**Highest** and **Lowest:** the tokens of the whole sample with the largest and smallest activations, exactly; "
    "both signs write in a gated MLP. **By tenth:** tokens drawn from each tenth of its activations: the top alone "
    "misleads. **Per chapter:** CircuitsVis, the largest and smallest of each."
)
TEXTS_HELP = "Chapters of the shipped text, evenly chosen, each read from its beginning."
LENGTH_HELP = "Tokens of each chapter."


def draw(view: ViewState, model: HookedTransformer, neuron: Neuron) -> None:
    """Contexts of the chosen kind, after a click where reading takes long."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = segmented(view, "contexts", tuple(CONTEXTS), "Contexts", CONTEXTS_HELP, format_func=CONTEXTS.get)
        n_texts = int(number(view, "texts", (1, min(CHAPTERS, limits().sequences)), "Chapters", TEXTS_HELP, width=120))
        most = min(LONGEST, model.cfg.n_ctx)
        length = int(number(view, "length", (min(8, most), most), "Tokens each", LENGTH_HELP, width=130))
    args = (model, neuron.layer, n_texts, length)
    seconds = forward_seconds(model, n_texts * length, False) * (neuron.layer + 1) / model.cfg.n_layers
    sentence = f"{n_texts} chapters of {length} tokens are read up to layer {neuron.layer}, for all of its neurons."
    if not started(call_key(text_streams, args, {}), seconds, sentence, seconds <= ASK or is_kept(text_streams, *args)):
        return
    with st.container():
        streams = analyse(text_streams, *args, progress=True)
        values = analyse(on_text, *args, neuron.place)
    found = activity(values, streams.counted, view["seed"])
    top, low = top_contexts(values, streams.counted, TOP), low_contexts(values, streams.counted, TOP)
    tenths = decile_contexts(values, streams.counted, PER_TENTH, view["seed"])
    labels = [token_labels(model, row) for row in streams.tokens]
    scale = Scale(
        f"activation of neuron {neuron}", high=max(abs(found.edges[0]), abs(found.edges[-1])) or 1.0, signed=True
    )
    named = {"Highest": top, "Lowest": low}
    named |= {f"{_ordinal(place)} tenth": tenth for place, tenth in reversed(list(enumerate(tenths, 1)))}
    html = _draw_contexts(kind, neuron, values, streams, labels, scale, named)
    explanation = Explanation(
        words.in_text(str(neuron), found, top, labels, low if model.cfg.gated_mlp else ()),
        words.TEXT_MISREADING,
        measured=(("Sample", words.text_sample(found, n_texts, length, view["seed"])),),
        formula=words.TEXT_FORMULA,
        where=words.TEXT_WHERE,
    )
    explain(view, None, explanation)
    rows = table_of(labels, top, low, tenths)
    payload = {"neuron": str(neuron), **_plain(found), "top": [one._asdict() for one in top]}
    payload["lowest"] = [one._asdict() for one in low]
    code_text = code(neuron, n_texts, length, view["seed"])
    export(view, Export("neuron_contexts", html, rows, payload, code_text, reads_prompt=False))


def on_text(model: HookedTransformer, layer: int, n_texts: int, length: int, place: int) -> Tensor:
    """One neuron at every token of the sample; the sample's streams are those that ``text_streams`` keeps."""
    kept = result_store().get(call_key(text_streams, (model, layer, n_texts, length), {}))
    streams = text_streams(model, layer, n_texts, length) if kept is None else to_torch(kept.value)
    return neuron_on_text(model, streams, layer, place)


def _draw_contexts(
    kind: str,
    neuron: Neuron,
    values: np.ndarray,
    streams: TextStreams,
    labels: list[list[str]],
    scale: Scale,
    named: dict[str, list[Context]],
) -> str:
    """The contexts as they are chosen, of ``named`` groups; returns all of them as HTML."""
    html = {}
    for name, group in named.items():
        html[name] = "".join(
            strip(one, values, streams, labels, scale._replace(legend=place == 0)) for place, one in enumerate(group)
        )
    if kind == "tokens":
        some = range(min(SHOWN_CHAPTERS, len(labels)))
        sizes = [int(streams.counted[i].sum()) + 1 for i in some]
        texts = [labels[i][1:size] for i, size in zip(some, sizes)]
        activations = [values[i, 1:size][None, :, None] for i, size in zip(some, sizes)]
        topk_tokens(texts, activations, (f"layer {neuron.layer}", "Neuron"), key="neurons:topk", most=10)
    elif kind in ("top", "low"):
        st.html(html[CONTEXTS[kind]])
    else:
        for name in list(named)[2:]:
            st.markdown(f"**{name}**")
            st.html(html[name])
    return "".join(f"<h4>{name}</h4>{group}" for name, group in html.items())


def strip(one: Context, values: np.ndarray, streams: TextStreams, labels: list[list[str]], scale: Scale) -> str:
    """A token with those around it, coloured; it is outlined."""
    last = int(streams.counted[one.chapter].sum()) + 1
    some = slice(max(0, one.pos - AROUND), min(last, one.pos + AROUND + 1))
    around = values[one.chapter, some].copy()
    if some.start == 0:
        around[0] = np.nan  # the first token is left out
    hover = [f"activation {written(value)}" for value in around]
    at = one.pos - some.start
    words_before = f"<small>chapter {one.chapter + 1}, position {one.pos}: <b>{written(one.value)}</b></small>"
    return words_before + token_strip(labels[one.chapter][some], around, scale=scale, hover=hover, selected=[at])


def _ordinal(place: int) -> str:
    return {1: "1st (lowest)", 2: "2nd", 3: "3rd", 10: "10th (highest)"}.get(place, f"{place}th")


def table_of(
    labels: list[list[str]], top: list[Context], low: list[Context], tenths: list[list[Context]]
) -> pd.DataFrame:
    """One row per context."""
    rows = [("top", one) for one in top] + [("lowest", one) for one in low]
    rows += [(f"tenth {i}", one) for i, tenth in enumerate(tenths, 1) for one in tenth]
    return pd.DataFrame({
        "kind": [kind for kind, _ in rows],
        "chapter": [one.chapter + 1 for _, one in rows],
        "position": [one.pos for _, one in rows],
        "token": [labels[one.chapter][one.pos] for _, one in rows],
        "activation": [one.value for _, one in rows],
        "before": ["".join(labels[one.chapter][max(0, one.pos - AROUND) : one.pos]) for _, one in rows],
    })  # fmt: skip


def _plain(found: Activity) -> dict:
    return {
        "n": found.n, "largest": found.largest, "edges": found.edges,
        "active": found.active._asdict(), "mean": found.mean._asdict(),
    }  # fmt: skip


def code(neuron: Neuron, n_texts: int, length: int, seed: int) -> str:
    """The Python that finds the contexts again."""
    return (
        "from lens.analysis.answer.neurons import decile_contexts, neuron_on_text, text_streams, top_contexts\n\n"
        f"streams = text_streams(model, {neuron.layer}, {n_texts}, {length})\n"
        f"values = neuron_on_text(model, streams, {neuron.layer}, {neuron.place})\n"
        f"for one in top_contexts(values, streams.counted, {TOP}):\n"
        '    print(one.chapter, one.pos, f"{one.value:.4f}")\n'
        f"tenths = decile_contexts(values, streams.counted, {PER_TENTH}, {seed})\n"
    )
