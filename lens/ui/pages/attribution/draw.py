"""The page's figures: the waterfall, the grid of heads, a head's sources on the text, neurons; and the export."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.answer.direct_attribution import neuron_attribution
from lens.figures.bars import Bar, bars
from lens.figures.fitted import narrow, small_grid
from lens.figures.grid import grid
from lens.figures.measure import Measure
from lens.figures.strip import Scale, token_strip
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.components import chips
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.pages.attribution import words
from lens.ui.pages.attribution.request import Parts, Request
from lens.ui.shared.reasons import write_label
from lens.ui.shared.wording import capital, signed

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from lens.ui.view import ViewState

WIDTH, STRIP = 340, 150  # pixels of a column; above as many tokens the strip scrolls
NEURONS = 20
REST = ("head", "mlp")  # kinds whose smaller parts share a bar
NEURON_MISREADING = (
    "A neuron's part is its activation times what its output weights add: it says nothing about what makes it fire, "
    "and thousands of small ones may outweigh the largest."
)


def show_waterfall(request: Request, found: Parts) -> "go.Figure":
    """The largest parts in the order of the forward pass, the others together, the remainder, and the number."""
    title = capital(request.name)
    figure = bars(waterfall(found), request.unit, title=title, definition=words.DEFINITION, running=True)
    alt = f"{title}: " + ", ".join(f"{row.label} {row.value:.2f}" for row in waterfall(found))
    parts.chart(narrow(figure, WIDTH), alt, key="attribution:waterfall")
    return figure


def waterfall(found: Parts) -> list[Bar]:
    """Bars that sum: parts, the rest of them, what is left, and the model's number."""
    of, values = found.of, np.asarray(found.of.parts)[0].astype(float)
    first = set(np.argsort(-np.abs(values), kind="stable")[: words.LEAST].tolist())
    rest = [at for at in range(len(values)) if at not in first]
    rows = [
        Bar(write_label(of.writes[at]), values[at], marked=tuple(of.writes[at][1:]) == found.head)
        for at in sorted(first)
    ]
    for name, kinds in (("heads", ("head",)), ("MLPs", ("mlp",)), ("parts", None)):
        some = [at for at in rest if (of.writes[at].kind in kinds if kinds else of.writes[at].kind not in REST)]
        if some:
            label = f"{len(some)} other {name}" if len(some) > 1 else write_label(of.writes[some[0]])
            rows.append(Bar(label, values[some].sum()))
    rows.append(Bar("remainder", float(np.asarray(of.remainder)[0])))
    return [*rows, Bar("the model's number", float(of.value[0]), whole=True)]


def show_grid(view: "ViewState", request: Request, found: Parts) -> None:
    """The parts of all heads; a click selects one, a second click pins it."""
    cfg = request.model.cfg
    measure = Measure(
        "part",
        "Hatched: no more than the largest head does for a random token.",
        np.asarray(found.of.heads(cfg.n_layers, cfg.n_heads))[0],
        request.unit,
        threshold=found.thresholds["head"],
        signed=True,
    )
    figure = grid(measure, pinned=view["pins"], current=found.head, title="Every head")
    parts.head_grid(small_grid(figure, WIDTH), view, "attribution:grid", f"Every head: {words.chance_words(found)}")


def show_sources(view: "ViewState", request: Request, found: Parts) -> None:
    """What the chosen head adds from each token, on the tokens; a click moves the position that is read."""
    values = np.asarray(found.split.parts)[0].astype(float)
    seen = np.where(np.arange(len(values)) <= request.at, values, np.nan)
    most = float(np.nanmax(np.abs(seen))) or 1.0
    scale = Scale(f"head {found.head}, from each token ({request.unit})", high=most, signed=True)
    html = token_strip(request.prompt.labels, seen, scale=scale, selected=[request.at])
    with st.container(height=260 if len(values) > STRIP else "content", border=False):
        chips(view, "at", html, request.at, key="attribution:strip")


def show_neurons(view: "ViewState", request: Request, found: Parts) -> None:
    """The neurons with the largest parts."""
    if request.model.cfg.attn_only:
        parts.not_computed(f"{request.model.name} has attention layers only: no MLP, so no neurons.")
        return
    top = analyse(neuron_attribution, request.model, request.prompt.tokens, request.target, NEURONS)
    values = np.asarray(top.parts)[0]
    names = [f"mlp {layer} · {neuron}" for layer, neuron in top.neurons]
    left, right = st.columns([1.2, 1], gap="medium")
    with left:
        rows = [Bar(name, float(value)) for name, value in zip(names, values)]
        title = f"The {len(rows)} neurons with the largest parts"
        figure = bars(rows, request.unit, title=title, definition="Activation times what its output weights add.")
        parts.chart(narrow(figure, WIDTH), title, key="attribution:neurons")
    mlps = sum(float(x) for w, x in zip(found.of.writes, np.asarray(found.of.parts)[0]) if w.kind == "mlp")
    with right:
        text = (
            f"Of {top.n_neurons:,} neurons {names[0]} has the largest part, {signed(float(values[0]))}. These "
            f"{len(values)} add {signed(float(values.sum()))}, all MLPs together {signed(mlps)}."
        )
        explain(view, None, Explanation(text, NEURON_MISREADING))
        frame = pd.DataFrame({"neuron": names, f"part ({request.unit})": values})
        parts.table(frame, title, height=300)


def show_table(view: "ViewState", request: Request, found: Parts) -> None:
    """Every part with what it does for random tokens."""
    parts.table(words.table(request, found), "Every part of the number", height=420)


def draw_export(view: "ViewState", request: Request, found: Parts, figure: "go.Figure") -> None:
    """The numbers, and the Python that computes them again."""
    rows = words.table(request, found)
    payload = {
        "number": request.name,
        "position": request.at,
        "value": float(found.of.value[0]),
        "remainder": float(np.asarray(found.of.remainder)[0]),
        "thresholds": found.thresholds,
        "notice": words.notice(request, found),
        "head": found.head,
        "sources": np.asarray(found.split.parts)[0],
        "parts": rows.to_dict("records"),
    }
    export(view, Export("attribution", figure, rows, payload, code(request, found)))


def code(request: Request, found: Parts) -> str:
    """The Python of the page."""
    wrong = "" if request.wrong is None else f", torch.tensor([{request.wrong}])"
    return (
        "import torch\n\n"
        "from lens.analysis.answer.direct_attribution import Target, direct_attribution, source_split\n\n"
        f"tokens = tokens[:, :{len(request.prompt.labels)}]\n"
        f'target = Target("{request.kind}", torch.tensor([{request.at}]), torch.tensor([{request.right}]){wrong}, '
        f"folded={request.folded})\n"
        "found = direct_attribution(model, tokens, target)\n"
        'print("value", float(found.value), "remainder", float(found.remainder))\n'
        "for write, part in zip(found.writes, found.parts[0].tolist()):\n"
        "    print(write, part)\n"
        f"print(source_split(model, tokens, target, {tuple(found.head)}).parts[0].tolist())"
    )
