"""The strongest pairs of heads as a graph: layers from left to right, a line from each sender to its receiver."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from lens.figures.drawn import drawn
from lens.figures.grid import Cell
from lens.figures.theme import CATEGORICAL, LABEL_SIZE, NEUTRAL, PIN, base_layout, escape, number

WIDTHS = (1.0, 2.0, 3.5, 5.5)  # pixels of a line, from the weakest quarter of what is shown to the strongest
ROW = 38  # pixels between two heads of a layer


class Edge(NamedTuple):
    """One line: heads as (layer, head), and the number it stands for."""

    sender: Cell
    receiver: Cell
    value: float


@drawn
def layered_graph(
    edges: Sequence[Edge], shape: tuple[int, int], *, name: str, pinned: Cell | None = None, title: str, definition: str
) -> go.Figure:
    """Heads of a model of ``shape`` (layers, heads) that ``edges`` touch; a click on a head gives (layer, head).

    Lines into the pinned head are orange; a line is wider the larger its value is among those that are shown.
    """
    if not edges:
        raise ValueError("layered_graph: no edges; give at least one.")
    figure = go.Figure(layout=_layout(edges, shape, title, definition))
    values = np.array([edge.value for edge in edges])
    low, high = values.min(), values.max()
    quarters = np.clip((4 * (values - low) / ((high - low) or 1)).astype(int), 0, 3)
    for into_pin in (False, True):
        for quarter, width in enumerate(WIDTHS):
            some = [e for e, q in zip(edges, quarters) if q == quarter and (e.receiver == pinned) is into_pin]
            if some:
                figure.add_trace(_lines(some, width, PIN if into_pin else CATEGORICAL[0]))
    figure.add_trace(_middles(edges, name))
    figure.add_trace(_nodes(edges, pinned))
    return figure


def _lines(edges: Sequence[Edge], width: float, colour: str) -> go.Scatter:
    x = [at for edge in edges for at in (edge.sender[0], edge.receiver[0], None)]
    y = [at for edge in edges for at in (edge.sender[1], edge.receiver[1], None)]
    line = {"width": width, "color": colour}
    return go.Scatter(x=x, y=y, mode="lines", line=line, opacity=0.6, hoverinfo="skip")


def _middles(edges: Sequence[Edge], name: str) -> go.Scatter:
    """What a line says, on its way: lines themselves answer the mouse at their ends only.

    Those that end in one head stand at one part of their way, so that no two points lie over each other.
    """
    receivers = sorted({edge.receiver for edge in edges})
    way = {head: 0.2 + 0.6 * (place + 0.5) / len(receivers) for place, head in enumerate(receivers)}
    texts = [
        f"<b>{e.sender[0]}.{e.sender[1]} → {e.receiver[0]}.{e.receiver[1]}</b><br>{escape(name)} {number(e.value)}"
        for e in edges
    ]
    return go.Scatter(
        x=[e.sender[0] + way[e.receiver] * (e.receiver[0] - e.sender[0]) for e in edges],
        y=[e.sender[1] + way[e.receiver] * (e.receiver[1] - e.sender[1]) for e in edges],
        mode="markers",
        marker={"size": 7, "opacity": 0.35, "color": NEUTRAL},
        hovertext=texts,
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _nodes(edges: Sequence[Edge], pinned: Cell | None) -> go.Scatter:
    heads = sorted({head for edge in edges for head in (edge.sender, edge.receiver)})
    into = {head: sum(edge.receiver == head for edge in edges) for head in heads}
    out = {head: sum(edge.sender == head for edge in edges) for head in heads}
    return go.Scatter(
        x=[layer for layer, _ in heads],
        y=[head for _, head in heads],
        mode="markers+text",
        text=[f"{layer}.{head}" for layer, head in heads],
        textposition="top center",
        textfont={"size": LABEL_SIZE},
        marker={
            "size": [15 if head == pinned else 11 for head in heads],
            "symbol": ["diamond" if head == pinned else "circle" for head in heads],
            "color": [PIN if head == pinned else CATEGORICAL[0] for head in heads],
            "opacity": 1,
        },
        unselected={"marker": {"opacity": 1}},
        customdata=np.array(heads, np.int32),
        hovertext=[f"<b>head {h[0]}.{h[1]}</b><br>shown: {into[h]} in, {out[h]} out" for h in heads],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _layout(edges: Sequence[Edge], shape: tuple[int, int], title: str, definition: str) -> dict:
    layers = sorted({head[0] for edge in edges for head in (edge.sender, edge.receiver)})
    common = {"showgrid": True, "zeroline": False, "tickfont": {"size": LABEL_SIZE}, "automargin": True}
    step = max(1, (layers[-1] - layers[0]) // 30 + 1)
    x = {"title": {"text": "layer", "standoff": 6}, "range": [layers[0] - 0.6, layers[-1] + 0.6]}
    y = {"title": {"text": "head", "standoff": 6}, "range": [shape[1] - 0.4, -0.8], "dtick": max(1, shape[1] // 16)}
    return base_layout(title, definition, height=int(np.clip(ROW * shape[1], 200, 620))) | {
        "hovermode": "closest",
        "clickmode": "event+select",
        "dragmode": False,
        "xaxis": common | x | {"dtick": step},
        "yaxis": common | y,
    }
