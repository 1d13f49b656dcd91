"""How one number is distributed over many things, with a reference range and named extremes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from lens.figures.drawn import drawn
from lens.figures.theme import CATEGORICAL, LABEL_SIZE, base_layout, escape, number, shorten, translucent

BINS = 80


class Named(NamedTuple):
    """One thing that is named on the axis."""

    value: float
    label: str


class Band(NamedTuple):
    """A range of values that a known null gives."""

    low: float
    high: float
    label: str


@drawn
def histogram(
    values: np.ndarray, axis: str, *, title: str, definition: str, band: Band | None = None, named: Sequence[Named] = ()
) -> go.Figure:
    """Counts of ``values`` [thing] on a logarithmic axis, which shows single extremes; ``named`` stand as ticks."""
    values = np.asarray(values, np.float64)
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"histogram: {values.size} values, not all of them finite; give at least one finite value.")
    counts, edges = np.histogram(values, bins=BINS)
    middle = (edges[:-1] + edges[1:]) / 2
    hover = [
        f"{number(low)} … {number(high)}<br><b>{count:,}</b>" for low, high, count in zip(edges, edges[1:], counts)
    ]
    figure = go.Figure(layout=_layout(axis, title, definition))
    figure.add_trace(
        go.Bar(
            x=middle.astype(np.float32),
            y=counts,
            width=float(edges[1] - edges[0]),
            marker={"color": CATEGORICAL[0], "line": {"width": 0}},
            hovertext=hover,
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    if band is not None:
        note = {"text": escape(band.label), "font": {"size": LABEL_SIZE}}
        fill = translucent(CATEGORICAL[1], 0.3)
        place = {"annotation_position": "top left", "layer": "above", "line_width": 0}
        figure.add_vrect(x0=band.low, x1=band.high, fillcolor=fill, annotation=note, **place)
    figure.add_trace(_names(named))
    return figure


def _names(named: Sequence[Named]) -> go.Scatter:
    return go.Scatter(
        x=[one.value for one in named],
        y=[1.0] * len(named),
        mode="markers",
        marker={"color": CATEGORICAL[2], "size": 9, "symbol": "line-ns-open", "line": {"width": 2}},
        hovertext=[f"<b>{escape(shorten(one.label, 30))}</b><br>{number(one.value)}" for one in named],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _layout(axis: str, title: str, definition: str) -> dict:
    common = {"automargin": True, "tickfont": {"size": LABEL_SIZE}, "zeroline": False}
    return base_layout(title, definition, height=300) | {
        "bargap": 0,
        "hovermode": "closest",
        "dragmode": False,
        "xaxis": common | {"title": {"text": escape(axis), "standoff": 6}, "showgrid": False},
        "yaxis": common
        | {"title": {"text": "tokens (log)", "standoff": 8}, "type": "log", "showgrid": True, "dtick": 1},
    }
