"""One head among all: every head's number from the largest down, with this one marked."""

import numpy as np
import plotly.graph_objects as go

from lens.figures.drawn import drawn
from lens.figures.grid import Cell
from lens.figures.measure import HEADS, Measure
from lens.figures.theme import CATEGORICAL, LABEL_SIZE, NEUTRAL, PIN, base_layout, number

PLOT = 130  # pixels
EDGE = 0.04  # of the axis, beside the first and the last head


@drawn
def ranked(measure: Measure, head: Cell, *, title: str) -> go.Figure:
    """All heads by ``measure``, the largest at the left, grey at or below its threshold, and ``head`` as a diamond.

    A click returns the head as a grid does. Heads without a number are left out.
    """
    values = np.asarray(measure.values, np.float32)
    cells = [cell for cell in np.ndindex(values.shape) if np.isfinite(values[cell])]
    cells.sort(key=lambda cell: -values[cell])
    if tuple(head) not in cells:
        raise ValueError(
            f"ranked: head {head[0]}.{head[1]} has no {measure.name}; wanted one of the {len(cells)} that have."
        )
    muted, place = measure.below_null(), cells.index(tuple(head))
    colours = [NEUTRAL if muted[cell] else CATEGORICAL[0] for cell in cells]
    texts = [
        f"<b>{HEADS.name(str(cell[0]), str(cell[1]))}</b>, {rank} of {len(cells)}<br>{measure.text(*cell)}"
        for rank, cell in enumerate(cells, 1)
    ]
    figure = go.Figure(layout=_layout(measure, len(cells), title))
    figure.add_trace(_points(cells, values, texts, {"color": colours, "size": 6}))
    here = _points(cells[place : place + 1], values, texts[place : place + 1], {"color": PIN, "size": 13})
    figure.add_trace(here.update(x=[place + 1], marker_symbol="diamond"))
    note = {"text": f"<b>{head[0]}.{head[1]}</b>", "showarrow": False, "font": {"size": LABEL_SIZE + 1}}
    right = place < len(cells) / 2
    figure.add_annotation(
        x=place + 1, y=float(values[head]), xanchor="left" if right else "right", xshift=10 if right else -10, **note
    )
    if measure.threshold is not None:
        label = {"text": f"chance {number(measure.threshold)}", "font": {"size": LABEL_SIZE}}
        line = {"color": NEUTRAL, "width": 1.5, "dash": "dot"}
        figure.add_hline(y=measure.threshold, line=line, annotation=label, annotation_position="top right")
    return figure


def _points(cells: list[Cell], values: np.ndarray, texts: list[str], marker: dict) -> go.Scatter:
    return go.Scatter(
        x=np.arange(1, len(cells) + 1, dtype=np.int32),
        y=np.array([values[cell] for cell in cells], np.float32),
        mode="markers",
        marker=marker,
        customdata=np.array(cells, np.int32),
        text=texts,
        hovertemplate="%{text}<extra></extra>",
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
    )


def _layout(measure: Measure, n: int, title: str) -> dict:
    common = {"zeroline": False, "tickfont": {"size": LABEL_SIZE}}
    edge = max(0.5, EDGE * n)
    return base_layout(title, "", height=PLOT) | {
        "hovermode": "closest",
        "clickmode": "event+select",
        "dragmode": False,
        "xaxis": common
        | {"title": {"text": f"rank among {n} heads", "standoff": 4}, "showgrid": False, "range": [1 - edge, n + edge]}
        | ({"dtick": 1} if n <= 16 else {}),
        "yaxis": common | {"title": {"text": measure.axis, "standoff": 8}, "showgrid": True, "automargin": True},
    }
