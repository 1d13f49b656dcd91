"""What removing something does, beside what removing something like it does."""

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from lens.figures.drawn import drawn
from lens.figures.theme import CATEGORICAL, LABEL_SIZE, NEUTRAL, PIN, base_layout, escape, number

ROW, LOW_ROW = 62, 34  # pixels, of a few rows and of many
FEW = 4
LEGEND = 64  # pixels below the plot


class Named(NamedTuple):
    """One number with the name of what it belongs to."""

    name: str
    value: float


class Removal(NamedTuple):
    """One way of removing: the effect of the chosen ones with its interval, of each alone, and of the controls."""

    label: str
    effect: Named
    low: float | None = None
    high: float | None = None
    alone: Sequence[Named] = ()
    controls: Sequence[Named] = ()


class Mark(NamedTuple):
    """A labelled vertical line."""

    x: float
    label: str


@drawn
def effects(
    rows: Sequence[Removal],
    unit: str,
    *,
    title: str,
    definition: str,
    marks: Sequence[Mark] = (),
    axis: str = "change",
) -> go.Figure:
    """A row per way of removing, from the top; grey are controls, blue single members, orange the chosen ones.

    ``axis`` names the number in the horizontal direction.
    """
    if not rows:
        raise ValueError("effects: no rows; give at least one way of removing.")
    figure = go.Figure(layout=_layout(rows, f"{axis} ({unit})" if unit else axis, title, definition))
    at = range(len(rows))
    controls = [(row - 0.22, one) for row in at for one in rows[row].controls]
    alone = [(row + 0.22, one) for row in at for one in rows[row].alone]
    figure.add_trace(_points("control", controls, unit, {"color": NEUTRAL, "size": 9, "opacity": 0.7}))
    if alone:
        figure.add_trace(_points("each alone", alone, unit, {"color": CATEGORICAL[0], "size": 9, "symbol": "square"}))
    figure.add_trace(_chosen(rows, unit))
    for mark in marks:
        figure.add_vline(
            mark.x,
            line={"color": NEUTRAL, "width": 1.5, "dash": "dot"},
            annotation={"text": escape(mark.label), "font": {"size": LABEL_SIZE}},
            annotation_position="top",
        )
    return figure


def _chosen(rows: Sequence[Removal], unit: str) -> go.Scatter:
    bounds = [(row.effect.value if end is None else end) for row in rows for end in (row.low, row.high)]
    low, high = bounds[::2], bounds[1::2]
    texts = []
    for row in rows:
        interval = "" if row.low is None else f" [{number(row.low)}, {number(row.high)}]"
        name = f"<b>{escape(row.effect.name)}</b> · {escape(row.label)}"
        texts.append(f"{name}<br>{number(row.effect.value)}{interval} {escape(unit)}")
    return go.Scatter(
        name="chosen",
        x=[row.effect.value for row in rows],
        y=list(range(len(rows))),
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [end - row.effect.value for row, end in zip(rows, high)],
            "arrayminus": [row.effect.value - end for row, end in zip(rows, low)],
            "color": PIN,
            "thickness": 2,
        },
        mode="markers",
        marker={"color": PIN, "size": 13, "symbol": "diamond"},
        hovertext=texts,
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _points(name: str, points: Sequence[tuple[float, Named]], unit: str, marker: dict) -> go.Scatter:
    return go.Scatter(
        name=name,
        x=[one.value for _, one in points],
        y=[row for row, _ in points],
        mode="markers",
        marker=marker,
        hovertext=[f"<b>{escape(one.name)}</b> · {name}<br>{number(one.value)} {escape(unit)}" for _, one in points],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _layout(rows: Sequence[Removal], axis: str, title: str, definition: str) -> dict:
    plot = (ROW if len(rows) <= FEW else LOW_ROW) * len(rows) + 40
    layout = base_layout(title, definition, height=plot)
    layout["height"] += 34
    layout["margin"] |= {"t": layout["margin"]["t"] + 16}
    return layout | {
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": -LEGEND / plot, "yanchor": "top"},
        "hovermode": "closest",
        "dragmode": False,
        "xaxis": {
            "title": {"text": escape(axis), "standoff": 6},
            "zeroline": True,
            "zerolinecolor": NEUTRAL,
            "automargin": True,
            "tickfont": {"size": LABEL_SIZE},
        },
        "yaxis": {
            "tickvals": list(range(len(rows))),
            "ticktext": [f"{escape(row.label)} " for row in rows],
            "range": [len(rows) - 0.5, -0.5],
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
        },
    }
