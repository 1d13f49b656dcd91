"""How far a head looks: its attention by distance, beside that of a head that looks at all keys alike."""

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from lens.figures.drawn import drawn
from lens.figures.theme import CATEGORICAL, LABEL_SIZE, NEUTRAL, base_layout, escape, number, whiskers

BAR, OTHER = CATEGORICAL[0], CATEGORICAL[1]
ROOM = 1.3  # of the largest number: the legend stands above the marks, in three lines on a telephone


class DistanceShare(NamedTuple):
    """The share of attention at some distances. ``even``: of a head that looks at all keys alike."""

    label: str
    value: float
    low: float | None
    high: float | None
    even: float
    beside: float | None = None  # on another text
    apart: bool = False  # of the first token, which is no distance


@drawn
def distances(rows: Sequence[DistanceShare], *, title: str, definition: str, beside: str = "your prompt") -> go.Figure:
    """A bar per distance with its interval; grey diamonds: an even head; circles: ``beside``."""
    if not rows:
        raise ValueError("distances: no rows; give at least one.")
    labels = [escape(row.label) for row in rows]
    figure = go.Figure(layout=_layout(title, definition, labels))
    highest = max(max(row.value, row.even, row.high or 0.0, row.beside or 0.0) for row in rows)
    figure.update_yaxes(range=[0, ROOM * highest])
    for apart, colour in ((False, BAR), (True, NEUTRAL)):
        some = [row for row in rows if row.apart is apart]
        if some:
            figure.add_trace(_bars(some, colour, beside, legend=not apart))
    figure.add_trace(_marks("looking at all keys alike", labels, [row.even for row in rows], "diamond", NEUTRAL))
    if any(row.beside is not None for row in rows):
        figure.add_trace(_marks(beside, labels, [row.beside for row in rows], "circle", OTHER))
    return figure


def _bars(rows: Sequence[DistanceShare], colour: str, beside: str, legend: bool) -> go.Bar:
    error = whiskers([row.value for row in rows], [row.low for row in rows], [row.high for row in rows])
    return go.Bar(
        name="on the text",
        x=[escape(row.label) for row in rows],
        y=[row.value for row in rows],
        marker={"color": colour},
        showlegend=legend,
        error_y=error if any(row.low is not None for row in rows) else None,
        hovertext=[_hover(row, beside) for row in rows],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _marks(name: str, x: Sequence[str], y: Sequence[float | None], symbol: str, colour: str) -> go.Scatter:
    marker = {"color": colour, "size": 9, "symbol": symbol, "line": {"width": 1, "color": "white"}}
    return go.Scatter(name=escape(name), x=list(x), y=list(y), mode="markers", marker=marker, hoverinfo="skip")


def _hover(row: DistanceShare, beside: str) -> str:
    interval = "" if row.low is None or row.high is None else f" [{number(row.low)}, {number(row.high)}]"
    other = "" if row.beside is None else f"<br>{escape(beside)} {number(row.beside)}"
    return f"<b>{escape(row.label)}</b><br>{number(row.value)}{interval}<br>alike {number(row.even)}{other}"


def _layout(title: str, definition: str, labels: Sequence[str]) -> dict:
    common, far = {"automargin": True, "tickfont": {"size": LABEL_SIZE}}, {"text": "tokens back, q − k", "standoff": 6}
    return base_layout(title, definition, height=250) | {
        "bargap": 0.25,
        "barmode": "overlay",
        "dragmode": False,
        "hovermode": "closest",
        "showlegend": True,
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "top"},
        "xaxis": common | {"type": "category", "categoryorder": "array", "categoryarray": list(labels), "title": far},
        "yaxis": common | {"title": {"text": "share of attention", "standoff": 6}},
    }
