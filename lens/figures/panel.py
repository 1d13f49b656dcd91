"""A small map of numbers beside others like it: any rows and columns, with the colour scale that they share."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from lens.figures.drawn import drawn
from lens.figures.grid import click_layer
from lens.figures.measure import Axes, Measure
from lens.figures.theme import LABEL_SIZE, base_layout, colour_bar, escape, shorten, thin

HEIGHT = 330  # pixels of the cells together, about
LOW, HIGH = 5, 34  # pixels of a row, at least and at most
TICKS = 12, 22  # labels across and down, at most
LETTERS = 11  # of a label
TOP = 44  # pixels above the cells
MARGIN = {"l": 96, "r": 84, "b": 84, "autoexpand": False}  # given: measuring draws every figure twice


@drawn
def panel(
    measure: Measure,
    axes: Axes,
    ends: tuple[float, float],
    *,
    title: str,
    notes: Sequence[Sequence[str]] = (),
    upwards: bool = False,
) -> go.Figure:
    """One map; ``ends`` of the colour scale are given, so that maps side by side have the same.

    ``notes`` [row][column]: more of each cell, in its hover label. ``upwards``: the first row is the lowest.
    """
    values = np.asarray(measure.values, np.float32)
    row_labels, column_labels = axes.labels(values.shape)
    height = int(np.clip(HEIGHT / len(row_labels), LOW, HIGH)) * len(row_labels)
    bar = measure.bar(max(height, 110))
    layout = base_layout(title, "", height=max(height, 110))
    layout |= {"margin": MARGIN | {"t": TOP}, "height": max(height, 110) + TOP + MARGIN["b"], "dragmode": False}
    layout |= {"hovermode": "closest", "hoverdistance": -1}
    figure = go.Figure(layout=layout)
    figure.add_trace(
        go.Heatmap(
            z=values,
            zmin=ends[0],
            zmax=ends[1],
            autocolorscale=True if measure.signed else None,
            hoverinfo="skip",
            colorbar=colour_bar(bar if bar.count("<br>") < 2 else escape(measure.unit)) | {"thickness": 9},
        )
    )
    figure.add_trace(click_layer(_texts(measure, axes, row_labels, column_labels, notes), across=False))
    common = {"showgrid": False, "zeroline": False, "ticks": "", "tickfont": {"size": LABEL_SIZE}}
    across, down = (
        thin([escape(shorten(label, LETTERS)) for label in labels], most)
        for labels, most in zip((column_labels, row_labels), TICKS)
    )
    y_range = [-0.5, len(row_labels) - 0.5] if upwards else [len(row_labels) - 0.5, -0.5]
    figure.update_xaxes(**common, tickvals=across[0], ticktext=across[1], title=_name(axes.column), tickangle=-50)
    return figure.update_yaxes(**common, tickvals=down[0], ticktext=down[1], title=_name(axes.row), range=y_range)


def _name(axis: str) -> dict:
    return {"text": escape(axis), "standoff": 4}


def _texts(
    measure: Measure, axes: Axes, rows: Sequence[str], columns: Sequence[str], notes: Sequence[Sequence[str]]
) -> list[list[str]]:
    def text(row: int, column: int) -> str:
        more = f"<br>{escape(notes[row][column])}" if notes else ""
        return f"<b>{escape(axes.name(rows[row], columns[column]))}</b><br>{measure.text(row, column)}{more}"

    return [[text(row, column) for column in range(len(columns))] for row in range(len(rows))]
