"""A clickable map of interventions: one number per cell, the cells that need no computing marked with their reason."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from lens.figures.drawn import drawn
from lens.figures.grid import Cell, grid_of, is_wide
from lens.figures.measure import HEADS, Axes, Measure
from lens.figures.theme import NEUTRAL, escape

STROKE = {"symbol": "line-ne-open", "size": 7, "color": NEUTRAL, "opacity": 0.4, "line": {"width": 1}}


@drawn
def patch_map(
    measure: Measure,
    axes: Axes,
    reasons: Sequence[Sequence[str]],
    *,
    chosen: Cell | None = None,
    pinned: Sequence[Cell] = (),
    title: str = "",
) -> go.Figure:
    """``figures.grid.grid`` with strokes over every cell that has a reason [row][column] not to be computed.

    Outside the strokes lies the causal cone: what can reach the metric. A cell that is still to come has no colour.
    ``chosen`` is outlined as the selected cell of a grid; clicks come back through ``grid.selected_cell``.
    """
    shape = np.shape(measure.values)
    if (len(reasons), len(reasons[0])) != shape:
        raise ValueError(f"patch_map: {len(reasons)} x {len(reasons[0])} reasons for {shape} cells; give one each.")
    across = is_wide(shape)
    figure = grid_of(measure, axes, pinned if axes == HEADS else (), chosen, title)
    clicks = figure.data[-1]
    flat = [reason for row in reasons for reason in row]
    clicks.text = [f"{text}<br>{escape(why)}" if why else text for text, why in zip(clicks.text, flat)]
    rows, columns = np.nonzero(np.array([[bool(why) for why in row] for row in reasons]))
    x, y = (rows, columns) if across else (columns, rows)
    strokes = go.Scatter(x=x, y=y, mode="markers", marker=STROKE, hoverinfo="skip", showlegend=False)
    figure.add_trace(strokes)
    figure.data = (*figure.data[:-2], figure.data[-1], clicks)  # the points that are clicked lie on top
    return figure
