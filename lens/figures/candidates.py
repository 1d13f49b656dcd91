"""What a model thinks comes next: its likeliest tokens, and the one that really came."""

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from lens.figures.drawn import drawn
from lens.figures.theme import CATEGORICAL, FONT_SIZE, PIN, base_layout, escape, number, shorten

ROW = 25  # pixels


class Candidate(NamedTuple):
    """A possible next token. ``rank`` 1 is the likeliest of all tokens, ``actual`` marks the one that came."""

    label: str
    prob: float
    rank: int
    actual: bool = False


@drawn
def candidates(rows: Sequence[Candidate], *, title: str, definition: str, largest: float | None = None) -> go.Figure:
    """A bar per candidate, in the given order from the top; the token that really came is orange and named so.

    A candidate whose rank does not follow that of the row above stands apart from it. ``largest``: the probability
    that the axis reaches, where two figures are compared; else that of the likeliest row.
    """
    if not rows:
        raise ValueError("candidates: no rows; give at least one candidate.")
    heights, at = [], 0.0
    for row, before in zip(rows, [None, *rows]):
        at += 1.0 if before is None or row.rank <= before.rank + 1 else 1.5
        heights.append(at)
    figure = go.Figure(layout=_layout(rows, heights, title, definition, largest or max(row.prob for row in rows)))
    figure.add_trace(
        go.Bar(
            x=[row.prob for row in rows],
            y=heights,
            orientation="h",
            width=0.78,
            marker={"color": [PIN if row.actual else CATEGORICAL[0] for row in rows], "line": {"width": 0}},
            text=[_percent(row.prob) + (f"  rank {row.rank:,}, what came" if row.actual else "") for row in rows],
            textposition="outside",
            cliponaxis=False,
            hovertext=[
                f"<b>{escape(row.label)}</b><br>probability {number(row.prob)}<br>rank {row.rank:,}" for row in rows
            ],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    return figure


def _percent(prob: float) -> str:
    return f"{100 * prob:.1f}%" if prob >= 0.001 else f"{number(100 * prob)}%"


def _layout(rows: Sequence[Candidate], heights: Sequence[float], title: str, definition: str, largest: float) -> dict:
    layout = base_layout(title, definition, height=int(ROW * (heights[-1] + 0.5)))
    layout["margin"] |= {"b": 8}
    layout["height"] -= 36
    room = 1.35 * largest  # the numbers stand to the right of the bars
    return layout | {
        "xaxis": {"visible": False, "range": [0, room], "fixedrange": True},
        "yaxis": {
            "tickvals": list(heights),
            "ticktext": [f"{escape(shorten(row.label, 22))} " for row in rows],
            "tickfont": {"size": FONT_SIZE},
            "range": [heights[-1] + 0.6, 0.4],
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
            "fixedrange": True,
        },
        "dragmode": False,
    }
