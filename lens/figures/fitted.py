"""Figures for a narrow place: beside another figure, or small on a page."""

import html
import textwrap

import plotly.graph_objects as go

from lens.figures.drawn import copy_of, drawn
from lens.figures.theme import LABEL_SIZE, escape

CHARACTER = 6.4  # pixels of a character of the subtitle, on average
PHONE = 340  # pixels of a figure on a telephone
LINE = 18  # pixels of a line of the subtitle
MOST_TICKS = 24  # across a grid; more would touch each other on a small screen
# Pixels beside the plot. Given, not measured by plotly: measuring draws every figure twice.
GRID = {"l": 52, "r": 100, "b": 48, "autoexpand": False}
MATRIX = {"l": 112, "r": 8, "b": 108, "autoexpand": False}


@drawn
def small_grid(figure: go.Figure, width: int | None) -> go.Figure:
    """A grid whose subtitle has lines of about ``width`` pixels; None: none, where the page says what is shown."""
    ticks = _every(-(-len(figure.layout.xaxis.tickvals) // MOST_TICKS), figure.layout.xaxis)
    return _narrow(copy_of(figure), width).update_xaxes(**ticks, tickangle=0).update_layout(margin=GRID)


@drawn
def narrow(figure: go.Figure, width: int | None) -> go.Figure:
    """The same figure with its subtitle in lines of about ``width`` pixels, and higher by as much as they need."""
    return _narrow(copy_of(figure), width)


def _narrow(figure: go.Figure, width: int | None) -> go.Figure:
    text = figure.layout.title.subtitle.text
    if not text:
        return figure
    whole = html.unescape(text.replace("<br>", " "))
    lines = [] if width is None else textwrap.wrap(whole, max(20, int(width / CHARACTER)))
    more = LINE * (len(lines) - len(text.split("<br>")))
    figure.update_layout(title_subtitle_text="<br>".join(map(escape, lines)))
    return figure.update_layout(margin_t=figure.layout.margin.t + more, height=figure.layout.height + more)


@drawn
def small_matrix(figure: go.Figure, side: int, width: int | None) -> go.Figure:
    """A matrix of about ``side`` pixels with square cells in any place, and with as many token labels as fit.

    The colour bar moves into the half above the diagonal, which is empty in a causal pattern.
    """
    figure = copy_of(figure)
    ticks = _every(-(-len(figure.layout.yaxis.tickvals) * (LABEL_SIZE + 3) // side), figure.layout.yaxis)
    figure.update_xaxes(**ticks, constrain="domain").update_yaxes(**ticks, constrain="domain", scaleanchor="x")
    bar = {"x": 0.99, "xanchor": "right", "y": 0.9, "yanchor": "top", "len": 0.48, "thickness": 9}
    figure.update_traces(colorbar=bar, selector={"type": "heatmap"}).update_shapes(line_width=1)
    _narrow(figure, width).update_layout(margin=MATRIX)
    return figure.update_layout(width=None, height=figure.layout.margin.t + side + MATRIX["b"])


def _every(step: int, axis: go.layout.XAxis | go.layout.YAxis) -> dict:
    """Every ``step``-th tick of an axis."""
    return {name: axis[name][::step] for name in ("tickvals", "ticktext")}
