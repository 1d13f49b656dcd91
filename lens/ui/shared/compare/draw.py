"""First, second and difference side by side: one colour scale for both numbers, and one for what differs, 0 at its
middle. Below one another where the page is narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from lens.figures.bars import Bar, bars
from lens.figures.fitted import small_grid
from lens.figures.grid import grid
from lens.figures.measure import Axes, Measure
from lens.figures.pairs import Pairs, pair_matrix
from lens.figures.panel import panel
from lens.figures.strip import Scale, token_strip
from lens.figures.theme import number, shorten
from lens.ui import parts
from lens.ui.shared.wording import interval

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from lens.ui.shared.compare.pairs import Kind, Pair
    from lens.ui.view import ViewState

WIDTH = 348  # pixels of one of three, beside each other on a screen of 1400
EDGES = 200  # of the square of all pairs of heads in it
WIDE = 530  # of one of two
NAMES = 150  # of the column of names in a list: the numbers beside it are seen on a phone


TITLE = 40  # characters that such a figure holds
DIFFERENCE = "Difference: second − first"


class Side(NamedTuple):
    """One of the three: its title, its numbers, whether they are the difference, and what the second is called."""

    title: str
    values: np.ndarray
    difference: bool
    ends: tuple[float, float]
    second: str


def draw_pair(view: ViewState, pair: Pair, names: tuple[str, str], key: str) -> Figure | str:
    """Draws all three; returns the picture of the difference, for the export, "" where nothing has a counterpart."""
    if not pair.numbers.first.size:
        parts.not_computed(f"nothing of {names[0]} has a counterpart in {names[1]}.")
        return ""
    if pair.kind == "list":
        return _draw_list(pair, names)
    drawing, width = DRAWINGS[pair.kind]
    pictures = []
    with st.container(horizontal=width is not None, gap="small"):
        for place, side in enumerate(sides(pair, names)):
            with st.container(width=width or "stretch"):
                pictures.append(drawing(view, pair, side, f"{key}:{place}"))
    return pictures[-1]


def sides(pair: Pair, names: tuple[str, str]) -> list[Side]:
    """Both with the ends of their common scale, and the difference with ends symmetric about 0."""
    both, (first, second) = Measure("", "", _flat(pair.numbers.first, pair.numbers.second)), pair.numbers
    ends = Measure("", "", both.values, signed=pair.quantity.signed).limits()
    span = Measure("", "", _flat(pair.numbers.difference), signed=True).limits()
    titles = [shorten(name, TITLE) for name in names]
    return [
        Side(titles[0], first, False, ends, titles[1]),
        Side(titles[1], second, False, ends, titles[1]),
        Side(DIFFERENCE, pair.numbers.difference, True, span, titles[1]),
    ]


def _flat(*arrays: np.ndarray) -> np.ndarray:
    return np.concatenate([array.ravel() for array in arrays])[None]


def _measure(pair: Pair, side: Side) -> Measure:
    quantity, estimate = pair.quantity, pair.estimate if side.difference else None
    ends = {} if estimate is None or estimate.low is None else {"low": estimate.low, "high": estimate.high}
    name = "difference" if side.difference else quantity.name
    signed = side.difference or quantity.signed
    return Measure(name, "", side.values, quantity.unit, signed=signed, absent="not compared", **ends)


def _alt(pair: Pair, side: Side) -> str:
    known = side.values[~np.isnan(side.values)]
    span = f" from {number(float(known.min()))} to {number(float(known.max()))}" if known.size else ""
    return f"{side.title}: {pair.quantity.name} of {known.size} cells{span}"


def _draw_heads(view: ViewState, pair: Pair, side: Side, key: str) -> Figure:
    pinned, current = view["pins"], view.current()
    figure = grid(_measure(pair, side), pinned=pinned, current=current, title=side.title, ends=side.ends)
    figure = small_grid(figure, None)
    parts.head_grid(figure, view, key, _alt(pair, side))
    return figure


def _draw_edges(view: ViewState, pair: Pair, side: Side, key: str) -> Figure:
    beside = pair.numbers._asdict() if side.difference else {}
    name, signed = ("difference", True) if side.difference else (pair.quantity.name, pair.quantity.signed)
    of = Pairs(name, "", side.values, signed, beside)
    figure = pair_matrix(of, title=side.title, largest=side.ends[1], side=EDGES)
    parts.chart(figure, _alt(pair, side), key)
    return figure


def _draw_table(view: ViewState, pair: Pair, side: Side, key: str) -> Figure:
    rows, columns = pair.axes
    axes = Axes(rows.name, columns.name, rows.labels, columns.labels)
    figure = panel(
        _measure(pair, side), axes, side.ends, title=side.title, notes=_notes(pair, side, key), upwards=pair.upwards
    )
    parts.chart(figure, _alt(pair, side), key)
    return figure


def _notes(pair: Pair, side: Side, key: str) -> Sequence[Sequence[str]]:
    if not pair.notes:
        return ()
    if not side.difference:
        return pair.notes[int(key.rpartition(":")[2])]
    return [[a if a == b else f"{a} | {b}" for a, b in zip(*two)] for two in zip(*pair.notes)]


def _draw_bars(view: ViewState, pair: Pair, side: Side, key: str) -> Figure | str:
    if key.endswith(":1"):
        return ""  # the second stands in the first picture, as diamonds
    other, estimate = pair.numbers.second, pair.estimate
    beside = [None if side.difference else float(value) for value in other]
    ends = [(None, None)] * len(other)
    if side.difference and estimate is not None and estimate.low is not None:
        ends = list(zip(*(np.asarray(of, float).tolist() for of in (estimate.low, estimate.high))))
    rows = [Bar(*row) for row in zip(pair.axes[0].labels, side.values.tolist(), *zip(*ends), beside)]
    title = side.title if side.difference else f"{side.title}; diamonds: {side.second}"
    name, unit = "difference" if side.difference else pair.quantity.name, pair.quantity.unit
    figure = bars(rows, f"{name} ({unit})" if unit else name, title=title, beside=side.second)
    parts.chart(figure, _alt(pair, side), key)
    return figure


def _draw_strip(view: ViewState, pair: Pair, side: Side, key: str) -> str:
    low, high = side.ends
    signed = side.difference or pair.quantity.signed
    unit = f" ({pair.quantity.unit})" if pair.quantity.unit else ""
    scale = Scale(f"{side.title}: {pair.quantity.name}{unit}", low, high, signed)
    labels = [label.partition(": ")[2] for label in pair.axes[0].labels]
    html = token_strip(labels, side.values, scale=scale)
    st.html(html)
    return html


def _draw_list(pair: Pair, names: tuple[str, str]) -> str:
    """One table, with the intervals of all three; returns it as HTML."""
    estimate, rows = pair.estimate, range(len(pair.axes[0].labels))
    ends = [""] * len(rows)
    if estimate is not None and estimate.low is not None:
        known = np.isfinite(np.asarray(estimate.low))
        both = zip(known, estimate.low, estimate.high)
        ends = [interval(float(low), float(high)).strip() if has else "" for has, low, high in both]
    columns: dict[str, Sequence[str]] = {pair.axes[0].name: pair.axes[0].labels}
    first, second = (f"{place}: {shorten(name, TITLE)}" for place, name in enumerate(names, 1))
    three = ((first, [note for (note,) in pair.notes[0]]), (second, [note for (note,) in pair.notes[1]]))
    for (title, intervals), values in zip((*three, (DIFFERENCE, ends)), (*pair.numbers, pair.numbers.difference)):
        columns[title] = [
            f"{pair.written(place, float(value))} {end}".strip()
            for place, (value, end) in enumerate(zip(values, intervals))
        ]
    table = pd.DataFrame(columns | {"unit": pair.units})
    alt = f"{len(table)} numbers of {names[0]} and {names[1]}, and the difference"
    parts.table(table, alt, {table.columns[0]: {"width": NAMES}}, "content")
    return table.to_html(index=False)


Drawing = Callable[["ViewState", "Pair", Side, str], "Figure | str"]
DRAWINGS: dict[Kind, tuple[Drawing, int | None]] = {
    "heads": (_draw_heads, WIDTH),
    "edges": (_draw_edges, WIDTH),
    "table": (_draw_table, WIDTH),
    "bars": (_draw_bars, WIDE),
    "strip": (_draw_strip, None),
}
