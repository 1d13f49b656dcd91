"""Two scores of every head against each other."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from lens.figures.drawn import drawn
from lens.figures.grid import Cell
from lens.figures.measure import HEADS, Axes, Measure
from lens.figures.theme import CATEGORICAL, LABEL_SIZE, NEUTRAL, PIN, base_layout, colour_bar, escape, number

HEIGHT = 440  # pixels of the plot
FRAME = (640, 400)  # pixels of the cloud on a narrow page
SIDES = ("top center", "bottom center", "middle right", "middle left")
LETTER = 6.5  # pixels of a character of a label
GAP = 5.0  # pixels between a point and its label


@drawn
def scatter(
    x: Measure,
    y: Measure,
    *,
    axes: Axes = HEADS,
    pinned: Sequence[Cell] = (),
    current: Cell | None = None,
    n_labels: int = 8,
    title: str = "",
    diagonal: bool = False,
    colour: Measure | None = None,
    box: bool = False,
) -> go.Figure:
    """Every head, or cell of ``axes``, at its two scores; a click returns it through ``grid.selected_cell``.

    The ``n_labels`` heads farthest from the middle of the cloud, in units of its spread, are named; pinned heads
    and the current one, which has a ring, always are. Dotted lines are the null thresholds: a head below its line
    cannot be told from chance in that score. ``diagonal``: a line where both scores are equal. ``colour``: a third
    score, told by the colour of the points; grey where a head has none. ``box``: dragging chooses the heads in a box.
    """
    if np.shape(x.values) != np.shape(y.values):
        raise ValueError(f"{x.name} {np.shape(x.values)} against {y.name} {np.shape(y.values)}; wanted the same heads.")
    cells = [cell for cell in np.ndindex(*np.shape(x.values)) if np.isfinite([x.values[cell], y.values[cell]]).all()]
    points = np.array([(x.values[cell], y.values[cell]) for cell in cells], np.float32).reshape(-1, 2)
    always = {current, *pinned}
    wanted = [*sorted(always - {None}), *_farthest(cells, points, n_labels)]
    rows, columns = axes.labels(np.shape(x.values))
    names = {(row, column): escape(axes.name(rows[row], columns[column])) for row, column in cells}
    texts = [f"<b>{names[cell]}</b><br>{x.text(*cell)}<br>{y.text(*cell)}" for cell in cells]
    labels = {(r, c): f"{rows[r]}.{columns[c]}" for r, c in cells}
    sides = _apart({cell: labels[cell] for cell in dict.fromkeys(wanted) if cell in labels}, always, cells, points)
    if colour is not None:
        texts = [f"{text}<br>{colour.text(*cell)}" for text, cell in zip(texts, cells)]
    figure = go.Figure(layout=_layout(x, y, title) | ({"dragmode": "select"} if box else {}))
    pins, here = [cell in set(pinned) for cell in cells], [cell == current for cell in cells]
    for chosen, marker in _marked(pins, cells, colour):
        ones = [cells[at] for at in chosen]
        figure.add_trace(
            go.Scatter(
                x=points[chosen, 0],
                y=points[chosen, 1],
                mode="markers+text",
                text=[escape(labels[cell]) if cell in sides else "" for cell in ones],
                textposition=[sides.get(cell, "top center") for cell in ones],
                textfont={"size": LABEL_SIZE},
                hovertext=[texts[at] for at in chosen],
                hovertemplate="%{hovertext}<extra></extra>",
                customdata=np.array(ones, np.int32).reshape(-1, 2),
                marker=marker
                | _ring([here[at] for at in chosen], 0 if colour is None else 1),  # 1: pale ones stand out
                unselected={"marker": {"opacity": 0.75}},
            )
        )
    if diagonal and len(points):
        ends = {"x0": points.min(), "x1": points.max(), "y0": points.min(), "y1": points.max()}
        figure.add_shape(type="line", **ends, line={"dash": "dot", "width": 1.5, "color": NEUTRAL})
    for measure, add_line in ((x, figure.add_vline), (y, figure.add_hline)):
        for value in _thresholds(measure):
            side = "top right" if measure is y else _beside(value, points[:, 0])
            note = {"text": f"null {number(value)}", "font": {"size": LABEL_SIZE}}
            add_line(
                value, line={"color": NEUTRAL, "width": 1.5, "dash": "dot"}, annotation=note, annotation_position=side
            )
    return figure


def _farthest(cells: list[Cell], points: np.ndarray, count: int) -> list[Cell]:
    if not len(points):
        return []
    spread = points.std(axis=0)
    distance = np.abs((points - np.median(points, axis=0)) / np.where(spread > 0, spread, 1)).max(axis=1)
    return [cells[index] for index in np.argsort(-distance, kind="stable")[:count]]


def _apart(labels: dict[Cell, str], always: set[Cell | None], cells: list[Cell], points: np.ndarray) -> dict[Cell, str]:
    """On which side of its point each label stands, so that none lies on another or on a named point.

    The first ones have the choice; one that finds no room is left out, unless it is one of ``always``:
    its point says its name under the mouse.
    """
    if not labels:
        return {}
    low, span = points.min(axis=0), np.ptp(points, axis=0)
    at = dict(zip(cells, (points - low) / np.where(span > 0, span, 1) * FRAME))
    sides, boxes = {}, [_box(at[cell], "", "") for cell in labels]
    for cell, text in labels.items():
        for side in SIDES:
            box = _box(at[cell], text, side)
            if not any(_overlap(box, other) for other in boxes):
                sides[cell] = side
                boxes.append(box)
                break
        else:
            if cell in always:
                sides[cell] = SIDES[0]
    return sides


def _box(at: np.ndarray, text: str, side: str) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of a label, or of its point where there is none, in the pixels of ``FRAME``."""
    x, y = at
    if not side:
        return x - 3, y - 3, x + 3, y + 3
    wide, high = LETTER * len(text) / 2, LABEL_SIZE / 2
    x += {"left": -wide - GAP, "right": wide + GAP}.get(side.split()[1], 0.0)
    y += {"top": high + GAP, "bottom": -high - GAP}.get(side.split()[0], 0.0)
    return x - wide, y - high, x + wide, y + high


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _markers(is_pinned: list[bool]) -> dict:
    return {
        "color": [PIN if pin else CATEGORICAL[0] for pin in is_pinned],
        "size": [13 if pin else 9 for pin in is_pinned],
        "symbol": ["diamond" if pin else "circle" for pin in is_pinned],
        "opacity": 0.75,
    }


def _marked(pins: list[bool], cells: list[Cell], colour: Measure | None) -> list[tuple[list[int], dict]]:
    """The points that are drawn alike, and how: all, or those that have a third score, and in grey those without."""
    if colour is None:
        return [(list(range(len(cells))), _markers(pins))]
    values = np.array([colour.values[cell] for cell in cells], np.float64)
    known, rest = np.isfinite(values).nonzero()[0].tolist(), (~np.isfinite(values)).nonzero()[0].tolist()
    grey = _markers([pins[at] for at in rest]) | {"color": NEUTRAL}
    if not known:
        return [(rest, grey)]
    size = np.abs(values[known]).max()
    low, high = (-size, size) if colour.signed else (values[known].min(), values[known].max())
    scale = {"color": values[known], "cmin": low, "cmax": high, "autocolorscale": True, "showscale": True}
    scale["colorbar"] = colour_bar(colour.bar(HEIGHT))
    coloured = _markers([pins[at] for at in known]) | scale
    return [(known, coloured), *([(rest, grey)] if rest else [])]


def _ring(is_current: list[bool], others: int) -> dict:
    return {"line": {"color": NEUTRAL, "width": [3 if current else others for current in is_current]}}


def _beside(value: float, x: np.ndarray) -> str:
    """Where an upright line has its label: at its top, on the side with more room."""
    middle = (min(value, *x) + max(value, *x)) / 2 if len(x) else value
    return "top left" if value > middle else "top right"


def _thresholds(measure: Measure) -> list[float]:
    if measure.threshold is None:
        return []
    return [-measure.threshold, measure.threshold] if measure.signed else [measure.threshold]


def _layout(x: Measure, y: Measure, title: str) -> dict:
    definition = f"Across, {x.name}: {x.definition} Up, {y.name}: {y.definition}"
    titles = [escape(m.name) + (f" ({escape(m.unit)})" if m.unit else "") for m in (x, y)]
    common = {"showgrid": True, "tickfont": {"size": LABEL_SIZE}, "automargin": True}
    return base_layout(title or f"{y.name} against {x.name}", definition, height=HEIGHT) | {
        "hovermode": "closest",
        "clickmode": "event+select",
        "dragmode": False,
        "xaxis": common | {"title": {"text": titles[0], "standoff": 6}, "zeroline": x.signed},
        "yaxis": common | {"title": {"text": titles[1], "standoff": 8}, "zeroline": y.signed},
    }
