"""Figures for a narrow place: beside another figure, or small on a page."""

import html
import textwrap

import plotly.graph_objects as go

from lens.figures.theme import LABEL_SIZE, escape

CHARACTER = 6.4  # pixels of a character of the subtitle, on average
LINE = 18  # pixels of a line of the subtitle
AXES = 94  # pixels that the labels and the title of the axis below a matrix take


def narrow(figure: go.Figure, width: int | None) -> go.Figure:
    """The same figure with its subtitle in lines of about ``width`` pixels, and higher by as much as they need.

    None leaves the subtitle out, where the page itself says what is shown.
    """
    text = figure.layout.title.subtitle.text
    if not text:
        return figure
    whole = html.unescape(text.replace("<br>", " "))
    lines = [] if width is None else textwrap.wrap(whole, max(20, int(width / CHARACTER)))
    more = LINE * (len(lines) - len(text.split("<br>")))
    figure.update_layout(title_subtitle_text="<br>".join(map(escape, lines)))
    return figure.update_layout(margin_t=figure.layout.margin.t + more, height=figure.layout.height + more)


def small_matrix(figure: go.Figure, side: int, width: int | None) -> go.Figure:
    """A matrix of about ``side`` pixels with square cells in any place, and with as many token labels as fit.

    The colour bar moves into the half above the diagonal, which is empty in a causal pattern.
    """
    step = -(-len(figure.layout.yaxis.tickvals) * (LABEL_SIZE + 3) // side)
    ticks = {name: figure.layout.yaxis[name][::step] for name in ("tickvals", "ticktext")}
    figure.update_xaxes(**ticks, constrain="domain").update_yaxes(**ticks, constrain="domain", scaleanchor="x")
    bar = {"x": 0.99, "xanchor": "right", "y": 0.9, "yanchor": "top", "len": 0.48, "thickness": 9}
    figure.update_traces(colorbar=bar, selector={"type": "heatmap"}).update_shapes(line_width=1)
    narrow(figure, width)
    return figure.update_layout(width=None, height=figure.layout.margin.t + side + AXES)
