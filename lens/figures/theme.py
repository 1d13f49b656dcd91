"""Palettes, type sizes and escaping shared by every figure.

Inside Streamlit the colour scales are left unset: the page's own light or dark scale (`.streamlit/config.toml`, same
values as ``LIGHT`` and ``DARK`` here) then fills them. ``standalone`` writes them into a figure that leaves the app.
"""

import re
import textwrap
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import plotly.graph_objects as go

from lens.figures.drawn import copy_of

# Chosen by search so that any two of the first five differ by >= 0.14 in OKLab under simulated deuteranopia and
# protanopia (Machado 2009), and each keeps a contrast of at least 2:1 on white and 3:1 on the dark page.
CATEGORICAL = (
    "#0c84fa", "#dc7d0c", "#bf308f", "#0dc3c3", "#855904", "#6eadfe", "#fd7d8b", "#e4405e", "#835cbe", "#8a8f98",
)  # fmt: skip
# Orange says one thing everywhere: this is looked at, be it the chosen or pinned head (its token, its checkpoint) or
# the cells of a pattern that an instrument reads of it. What was found or rejected has other colours.
PIN = "#ff7a1a"
HUES = len(CATEGORICAL) - 1  # of heads; the last colour is a grey
BETWEEN_LAYERS = 4  # hues: pinned heads of equal index and neighbouring layers differ
HALO, CORE = "#ffffff", "#10151c"  # a selected cell: a dark line in a light one is seen on any colour, on both pages
MUTED = "rgba(128,134,146,0.10)"
NEUTRAL = "#858b96"
FONT_SIZE = 13
# Quoted: a name with a number in it is none in CSS, and a browser that drops the family draws in another one than it
# measured, so that labels run into each other and out of the figure.
FONT = '"Source Sans 3", "Source Sans Pro", Helvetica, Arial, sans-serif'
# Points that are never seen but can be hovered and clicked, all of them: with "maxdisplayed" the browser makes a node
# for one of them only. A node for each of 2000 is half of the time of a figure. For cells of 6 pixels and more: a click
# within 3 pixels of several points may be given to any of them.
UNSEEN = {"mode": "markers", "marker": {"opacity": 0, "size": 2, "maxdisplayed": 1}}
LABEL_SIZE = 11
SUBTITLE_SIZE = 13


class Palette(NamedTuple):
    """Colours of one page theme: ten sequential and ten diverging steps, as Streamlit requires exactly ten.

    The two middle diverging steps average to the neutral colour, so the exact zero has no hue.
    """

    background: str
    text: str
    grid: str
    sequential: tuple[str, ...]
    diverging: tuple[str, ...]


LIGHT = Palette(
    background="#ffffff",
    text="#1a2330",
    grid="#dfe3ea",
    sequential=(
        "#eff9fd", "#c8e2ef", "#9fcae5", "#77b2de", "#5198d7", "#317cd0", "#2a61ba", "#2a4899", "#253079", "#1d1a5a",
    ),
    diverging=(
        "#954103", "#b86231", "#cf8a67", "#e3b39b", "#fdf3ec", "#e9f3fc", "#9cbae7", "#6994d4", "#366ebe", "#00489f",
    ),
)  # fmt: skip
DARK = Palette(
    background="#0f151c",
    text="#dce3ea",
    grid="#2b3446",
    sequential=(
        "#1a202f", "#253355", "#2d477f", "#335cab", "#227bc2", "#0e9bcf", "#15bcd2", "#62d7ca", "#afecbd", "#f3fcc6",
    ),
    diverging=(
        "#fdb07b", "#d7874d", "#a2673e", "#6f4a30", "#2b2420", "#17202c", "#355570", "#4479a4", "#559fda", "#81c5fe",
    ),
)  # fmt: skip

_PLOTLY_SPECIAL = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "%": "&#37;"})


def escape(text: str) -> str:
    """The same characters, written so that plotly shows them instead of reading them.

    Plotly reads a subset of HTML in every label (``<s>`` would vanish), ``%{...}`` in hover templates, and ``$...$``
    as TeX in exports that load MathJax.
    """
    return text.translate(_PLOTLY_SPECIAL)


def wrap(text: str, width: int = 100) -> str:
    """Escaped text in lines of at most ``width`` characters: plotly never breaks a line by itself."""
    return "<br>".join(escape(line) for line in textwrap.wrap(text, width))


def number(value: float) -> str:
    """A value for reading: two decimals, or two significant digits when it is small. NaN is "not computed"."""
    if np.isnan(value):
        return "not computed"
    magnitude = abs(float(value))
    if magnitude >= 0.095 or magnitude == 0:
        text = f"{magnitude:.2f}" if magnitude < 1000 else f"{magnitude:,.0f}"
    else:
        text = f"{magnitude:.2g}".replace("e-0", "e-")
    return f"−{text}" if value < 0 and float(text.replace(",", "")) else text


def translucent(colour: str, alpha: float) -> str:
    """A ``#rrggbb`` colour as rgba: over a transparent background it darkens light pages and lightens dark ones."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def head_colours(heads: Sequence[tuple[int, int]]) -> list[str]:
    """The hue of each head (layer, head): the same on every page, in any order and beside any heads of its layer.

    Of two heads of different layers with one hue, the later takes the next that is free. Beyond ``HUES`` heads they
    come again.
    """
    hues: dict[tuple[int, int], int] = {}
    for layer, head in sorted(heads):
        own = (head + BETWEEN_LAYERS * layer) % HUES
        free = [hue for hue in range(HUES) if hue not in hues.values()]
        hues[layer, head] = own if own in free or not free else min(free, key=lambda hue: (hue - own) % HUES)
    return [CATEGORICAL[hues[layer, head]] for layer, head in heads]


def whiskers(values: Sequence[float], lows: Sequence[float | None], highs: Sequence[float | None]) -> dict:
    """Plotly's error bars of intervals round ``values``; an end that is None has none."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [0.0 if high is None else high - value for value, high in zip(values, highs)],
        "arrayminus": [0.0 if low is None else value - low for value, low in zip(values, lows)],
        "color": NEUTRAL,
        "thickness": 1.5,
        "width": 3,
    }


def base_layout(title: str, definition: str, *, height: int) -> dict:
    """Layout every figure starts from: title, the definition as subtitle, tight margins, no background of its own.

    ``height`` is that of the plot itself, in pixels; the room for the title is added to it.
    """
    subtitle = wrap(definition)
    top = 34 * bool(title) + 18 * (subtitle.count("<br>") + 1) * bool(subtitle) + 14
    return {
        "title": {
            "text": escape(title),
            "subtitle": {"text": subtitle, "font": {"size": SUBTITLE_SIZE}},
            "x": 0, "xref": "container", "xanchor": "left", "y": 1, "yref": "container", "yanchor": "top",
            "pad": {"t": 8, "l": 2},
        },
        "height": height + top + 44,
        "margin": {"t": top, "b": 44, "l": 8, "r": 8, "pad": 4},
        "font": {"size": FONT_SIZE},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {"align": "left", "font": {"size": FONT_SIZE}},
        "showlegend": False,
    }  # fmt: skip


def colour_bar(title: str) -> dict:
    """A slim colour bar whose title names the quantity and its unit. ``title`` may hold ``<br>``: escape its parts."""
    return {
        "title": {"text": title, "side": "right", "font": {"size": LABEL_SIZE + 1}},
        "thickness": 12, "outlinewidth": 0, "tickfont": {"size": LABEL_SIZE}, "xpad": 8, "ypad": 0, "len": 1,
    }  # fmt: skip


def standalone(figure: go.Figure, mode: Literal["light", "dark"] = "light") -> go.Figure:
    """A copy that carries its own colours and background, for files and screens outside the app."""
    palette = {"light": LIGHT, "dark": DARK}[mode]
    steps = np.linspace(0, 1, 10)
    sequential = [[float(at), colour] for at, colour in zip(steps, palette.sequential)]
    diverging = [[float(at), colour] for at, colour in zip(steps, palette.diverging)]
    axis = {"gridcolor": palette.grid, "linecolor": palette.grid, "zerolinecolor": palette.grid, "automargin": True}
    layout = go.Layout(
        font={"color": palette.text, "family": FONT},
        colorway=CATEGORICAL,
        colorscale={"sequential": sequential, "sequentialminus": sequential[::-1], "diverging": diverging},
        xaxis=axis,
        yaxis=axis,
        hoverlabel={"bgcolor": palette.background, "bordercolor": palette.grid},
    )
    copy = copy_of(figure)
    copy.update_layout(template=go.layout.Template(layout=layout, data={"heatmap": [{"autocolorscale": True}]}))
    return copy.update_layout(paper_bgcolor=palette.background)


def numbered(tokens: list[str]) -> list[str]:
    """Escaped labels made unique by their position ("5: the"): equal labels would merge into one category."""
    return [f"{position}: {escape(token)}" for position, token in enumerate(tokens)]


def thin(labels: list[str], at_most: int = 48) -> tuple[list[int], list[str]]:
    """Positions and texts of the tick labels to draw: every k-th, so that no more than ``at_most`` are drawn."""
    step = max(1, -(-len(labels) // at_most))
    positions = list(range(0, len(labels), step))
    return positions, [labels[position] for position in positions]


def shorten(label: str, width: int = 14) -> str:
    """A label cut to ``width`` characters, on raw text: never cut an escaped one."""
    return label if len(label) <= width else re.sub(r"\s+$", "", label[: width - 1]) + "…"
