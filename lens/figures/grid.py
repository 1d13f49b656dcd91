"""A clickable grid of one number per layer and head (or layer and position)."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

import numpy as np
import plotly.graph_objects as go

from lens.figures.drawn import drawn
from lens.figures.measure import HEADS, Axes, Measure
from lens.figures.theme import (
    CORE,
    HALO,
    LABEL_SIZE,
    MUTED,
    NEUTRAL,
    PIN,
    UNSEEN,
    base_layout,
    colour_bar,
    escape,
    number,
    shorten,
    thin,
)

Cell = tuple[int, int]
Ends = tuple[float, float]


WIDE = 100  # pixels of a cell, at most: a few heads are not stretched over a page
FULL = 920  # pixels of a figure whose cells do not fill its width
BESIDE = 170  # pixels, about, left and right of its cells
EDGE = 0.06  # of a cell, around the grid: an outline there would lose its outer half
NAMED = 8  # pinned heads that are named in the margin
MARGIN = 10  # pixels above a grid, beside those of every figure, for the names of pinned heads


@drawn
def grid(
    measure: Measure,
    axes: Axes = HEADS,
    *,
    pinned: Sequence[Cell] = (),
    current: Cell | None = None,
    title: str = "",
    ends: Ends | None = None,
) -> go.Figure:
    """One cell per layer and head; a click returns the cell (see ``selected_cell``).

    Pinned cells are outlined in orange and named in the margin, never over the grid; ``current``, the selected one,
    has a double outline.

    Cells at or below the null threshold are hatched, without colour. Zero is neutral, and signed quantities are
    symmetric about it. The longer side lies across when it is the layers and they are many; customdata is always
    (row, column) of ``measure.values``. ``ends``: of the colour scale, where it is not the cells' own.
    """
    return grid_of(measure, axes, pinned, current, title, ends)


def grid_of(
    measure: Measure, axes: Axes, pinned: Sequence[Cell], current: Cell | None, title: str, ends: Ends | None = None
) -> go.Figure:
    """``grid``, to draw more on it."""
    values = np.asarray(measure.values, np.float32)
    across = axes.turns and is_wide(values.shape)
    row_labels, column_labels = axes.labels(values.shape)
    muted = measure.below_null()
    shown = np.where(muted, np.nan, values)
    figure = go.Figure(layout=_layout(measure, axes, title))
    if muted.any():
        figure.add_traces(_hatching(muted, across))
    if measure.absent and np.isnan(values).any():
        figure.add_trace(_absent(np.isnan(values), across))
    height = figure.layout.height - figure.layout.margin.t - figure.layout.margin.b
    heatmap = _heatmap(measure, shown, across, ends or measure.limits(), height)
    share = keep_shape(figure, len(row_labels if across else column_labels) * WIDE)
    figure.add_trace(heatmap.update(colorbar_x=share + 0.02))
    names = [[axes.name(row, column) for column in column_labels] for row in row_labels]
    figure.add_trace(click_layer(hover_texts(measure, names), across))
    figure.update_layout(shapes=outlines(pinned, current, across))
    if axes.names_heads:
        name_pins(figure, pinned)
    return figure


def keep_shape(figure: go.Figure, most: int) -> float:
    """Cells that take at most ``most`` pixels of a page together; returns the share of the plot that they fill.

    On a narrow page they shrink with the figure, which is not as wide as a page then.
    """
    share = min(1.0, most / (FULL - BESIDE))
    if share < 1:
        figure.update_layout(width=FULL, xaxis_domain=[0, share])
    return share


def is_wide(shape: tuple[int, int]) -> bool:
    """Whether layers run across instead of down: with 30 layers of 9 heads a wide page holds far larger cells."""
    return shape[0] > 1.5 * shape[1] and shape[0] > 8


def hover_texts(measure: Measure, names: list[list[str]]) -> list[list[str]]:
    """Hover text of every cell: name, value with interval and control, rank, and whether it is within chance."""
    ranks, muted = measure.ranks(), measure.below_null()
    total = int((ranks > 0).sum())
    texts = []
    for row, row_names in enumerate(names):
        texts.append([])
        for column, name in enumerate(row_names):
            text = f"<b>{escape(name)}</b> · {measure.text(row, column)}"
            if ranks[row, column]:
                text += f" · rank {ranks[row, column]} of {total}"
            if muted[row, column]:
                threshold = "" if measure.threshold is None else f" (null threshold {number(measure.threshold)})"
                text += f"<br>within chance{threshold}"
            texts[-1].append(text)
    return texts


def click_layer(texts: list[list[str]], across: bool) -> go.Scatter:
    """A transparent point per cell, customdata (row, column): clicks on a heatmap itself never select."""
    rows, columns = (index.ravel() for index in np.indices((len(texts), len(texts[0])), dtype=np.int32))
    return go.Scatter(
        x=rows if across else columns,
        y=columns if across else rows,
        **UNSEEN,
        customdata=np.stack([rows, columns], axis=1),
        text=[text for row in texts for text in row],
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )


def selected_cell(event: Any) -> Cell | None:
    """The (row, column) that was clicked, from the value ``st.plotly_chart(..., on_select="rerun")`` returns.

    None when nothing is selected.
    """
    return next(iter(selected_cells(event)), None)


def selected_cells(event: Any) -> list[Cell]:
    """All (row, column) that were chosen: one by a click, any number by a box."""
    pairs = [ids(point) for point in event["selection"]["points"]] if event else []
    return [pair[:2] for pair in pairs if len(pair) >= 2]


def ids(point: Mapping[str, Any]) -> tuple[int, ...]:
    """The whole numbers that the customdata of a chosen point begins with; none if it has none.

    Streamlit hands rows of numbers back as ``{"0": row, "1": column}``, rows that hold words too as a list.
    """
    data = point.get("customdata")
    values = data.values() if isinstance(data, Mapping) else data if isinstance(data, Sequence) else ()
    return tuple(int(value) for value in takewhile(_is_whole, values))


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == int(value)


def _layout(measure: Measure, axes: Axes, title: str) -> dict:
    shape = np.shape(measure.values)
    across = axes.turns and is_wide(shape)
    ends = [(axes.row, axes.labels(shape)[0]), (axes.column, axes.labels(shape)[1])]
    (x_name, x_labels), (y_name, y_labels) = ends if across else ends[::-1]
    cell = 44 if len(x_labels) * WIDE < FULL - BESIDE else 34 if len(y_labels) <= 12 else 24
    least = 130 if cell == 44 else 90
    layout = base_layout(title or measure.name, measure.definition, height=max(least, cell * len(y_labels)))
    make_margin(layout)
    common = {"showgrid": False, "zeroline": False, "tickfont": {"size": LABEL_SIZE}, "ticks": "", "automargin": True}
    x_ticks = thin([escape(shorten(label)) for label in x_labels], 64)
    y_ticks = thin([escape(shorten(label)) for label in y_labels], 40)
    layout |= {
        "hovermode": "closest",
        "hoverdistance": -1,
        "clickmode": "event+select",
        "dragmode": False,
        "xaxis": common
        | {
            "title": {"text": escape(x_name), "standoff": 6},
            "tickvals": x_ticks[0],
            "ticktext": x_ticks[1],
            "range": [-0.5 - EDGE, len(x_labels) - 0.5 + EDGE],
        },
        "yaxis": common
        | {
            "title": {"text": escape(y_name), "standoff": 6},
            "tickvals": y_ticks[0],
            "ticktext": y_ticks[1],
            "range": [len(y_labels) - 0.5 + EDGE, -0.5 - EDGE],
        },
    }
    return layout


def _heatmap(measure: Measure, shown: np.ndarray, across: bool, ends: Ends, height: float) -> go.Heatmap:
    note = "" if measure.within is None else "<br>hatched: within chance"
    note = note if measure.threshold is None else f"<br>hatched: ≤ null {number(measure.threshold)}"
    if measure.signed:
        note = note.replace("≤", "|·| ≤")
    return go.Heatmap(
        z=shown.T if across else shown,
        zmin=ends[0],
        zmax=ends[1],
        autocolorscale=True if measure.signed else None,
        xgap=2,
        ygap=2,
        hoverinfo="skip",
        colorbar=colour_bar(measure.bar(height) + note),
    )


def _hatching(muted: np.ndarray, across: bool) -> list:
    """Faint cells with a stroke for "within chance", read the same on light and dark pages."""
    rows, columns = np.nonzero(muted)
    z = np.where(muted.T if across else muted, 0, np.nan).astype(np.float32)
    flat = [[0, MUTED], [1, MUTED]]
    stroke = {"symbol": "line-ne-open", "size": 8, "color": NEUTRAL, "opacity": 0.45, "line": {"width": 1}}
    x, y = (rows, columns) if across else (columns, rows)
    return [
        go.Heatmap(z=z, colorscale=flat, showscale=False, xgap=2, ygap=2, hoverinfo="skip"),
        go.Scatter(x=x, y=y, mode="markers", marker=stroke, hoverinfo="skip", showlegend=False),
    ]


def _absent(missing: np.ndarray, across: bool) -> go.Scatter:
    """A small cross in cells that have no number."""
    rows, columns = np.nonzero(missing)
    cross = {"symbol": "x-thin-open", "size": 6, "color": NEUTRAL, "opacity": 0.6, "line": {"width": 1}}
    x, y = (rows, columns) if across else (columns, rows)
    return go.Scatter(x=x, y=y, mode="markers", marker=cross, hoverinfo="skip", showlegend=False)


def outlines(pinned: Sequence[Cell], current: Cell | None, across: bool, half: float = 0.5) -> list[dict]:
    """Shapes around cells, which they leave open: orange for pinned ones, a dark core in them for the selected one."""
    shapes = [_frame(cell, across, half, PIN, 3) for cell in pinned]
    if current is not None:
        if current not in pinned:
            shapes.append(_frame(current, across, half, HALO, 4))
        shapes.append(_frame(current, across, half, CORE, 1.4))
    return shapes


def name_pins(figure: go.Figure, pinned: Sequence[Cell]) -> None:
    """The names of pinned heads above the plot, where they hide nothing."""
    if not pinned:
        return
    names = ", ".join(f"{row}.{column}" for row, column in pinned[-NAMED:])
    more = f" and {len(pinned) - NAMED} more" if len(pinned) > NAMED else ""
    place = {"x": 0, "y": 1, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom", "borderpad": 1}
    text = f'<span style="color:{PIN}">□</span> pinned: {names}{more}'
    figure.add_annotation(text=text, showarrow=False, font={"size": LABEL_SIZE}, **place)


def make_margin(layout: dict) -> None:
    """Room for ``name_pins``, whether or not anything is pinned: a pin must not move the cells."""
    layout["margin"]["t"] += MARGIN
    layout["height"] += MARGIN


def _frame(cell: Cell, across: bool, half: float, colour: str, width: float) -> dict:
    x, y = cell if across else cell[::-1]
    box = {"x0": x - half, "x1": x + half, "y0": y - half, "y1": y + half}
    return {"type": "rect", "line": {"color": colour, "width": width}, **box}
