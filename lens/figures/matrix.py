"""One attention pattern in full, or several heads on one text."""

import html
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from lens.figures.cells import LOG_FLOOR, Marks, log_scale, make_clickable, nats, outline
from lens.figures.drawn import drawn
from lens.figures.theme import (
    CATEGORICAL,
    LABEL_SIZE,
    NEUTRAL,
    PIN,
    base_layout,
    colour_bar,
    escape,
    number,
    numbered,
    shorten,
    thin,
    translucent,
)

ROW_DEFINITION = "Each row is one query: the share of its attention that each earlier token gets; rows sum to 1."

OVERLAY_DEFINITION = "Hue: the head that attends most from that query to that key. Strength: how much it attends."
OVERLAY_OTHER = "Hue: the head with the largest number. Strength: that number."


class Quantity(NamedTuple):
    """What the numbers of a pattern mean, where they are not plain attention."""

    name: str = "attention, query to key"  # with its unit, at the colour bar
    definition: str = ROW_DEFINITION
    of: str = "of its attention"  # after a number in a hover label


ATTENTION = Quantity()


class View(NamedTuple):
    """How to draw a pattern; none of it changes the numbers in the hover label."""

    log: bool = False  # the log-attention in nats; colours end at ln 1e-4
    hide_first: bool = False  # blank the first key (BOS), which often takes most of the attention
    locked: int | None = None  # query row to outline
    clickable: bool = False  # (query, key) comes back through grid.selected_cell, for at most 80 tokens
    top: float | None = None  # value of the strongest colour; None: the largest one shown
    numbered: bool = True  # put positions before the labels; False: they are unique already
    quantity: Quantity = ATTENTION


PLAIN = View()


@drawn
def matrix(
    pattern: np.ndarray,
    tokens: Sequence[str],
    *,
    title: str = "",
    marks: Marks | None = None,
    view: View = PLAIN,
) -> go.Figure:
    """Attention of one head, ``pattern[query, key]`` in 0..1, labelled with its tokens. Above the diagonal is blank.

    Any other number ``>= 0`` per query and key can be drawn too, when ``view.quantity`` says what it is.
    """
    shown, quantity = causal(pattern, view.hide_first), view.quantity
    labels = _labels(tokens, len(shown), view)
    note = _hidden_note(pattern) if view.hide_first and quantity == ATTENTION else ""
    colour = " Colour: its natural logarithm." if view.log else ""
    figure = go.Figure(layout=_layout(title, quantity.definition + note + colour, labels))
    hover = f"query %{{y}} → key %{{x}}<br><b>%{{z:.4f}}</b> {escape(quantity.of)}<extra></extra>"
    largest = view.top or float(np.nanmax(shown, initial=0)) or 1.0
    heatmap = {
        "x": labels,
        "y": labels,
        "z": shown,
        "zmin": 0,
        "zmax": largest,
        "colorbar": colour_bar(escape(quantity.name)),
    }
    if view.log:
        heatmap |= {"z": np.log(np.maximum(shown, LOG_FLOOR)), "customdata": nats(shown)} | log_scale(largest)
        hover = "query %{y} → key %{x}<br><b>%{customdata:.2f} nats</b> of log-attention<extra></extra>"
    figure.add_trace(go.Heatmap(heatmap | {"hovertemplate": hover, "hoverongaps": False}))
    if view.clickable:
        cells = np.argwhere(~np.isnan(shown))
        texts = _cell_texts(shown[tuple(cells.T)], view.log)
        make_clickable(figure, labels, cells, texts, f" {escape(quantity.of)}")
    outline(figure, marks, view.locked, labels, PIN)
    return figure


@drawn
def overlay(
    patterns: np.ndarray,
    tokens: Sequence[str],
    names: Sequence[str],
    *,
    title: str = "",
    marks: Marks | None = None,
    view: View = PLAIN,
    colours: Sequence[str] = CATEGORICAL,
) -> go.Figure:
    """Several heads on one text, ``patterns[head, query, key]``: each cell shows the head that attends most.

    The strength of the hue is that head's attention, on one scale for all heads; the hover label names the head.
    ``colours``: the hue of each (``theme.head_colours``).
    """
    if len(patterns) != len(names) or not 1 <= len(names) < len(CATEGORICAL):
        raise ValueError(
            f"{len(names)} names for {len(patterns)} heads; give 1 to {len(CATEGORICAL) - 1} heads, a name each."
        )
    shown = np.stack([causal(pattern, view.hide_first) for pattern in patterns])
    labels = _labels(tokens, shown.shape[-1], view)
    plain = view.quantity == ATTENTION
    definition = OVERLAY_DEFINITION if plain else f"{view.quantity.definition} {OVERLAY_OTHER}"
    figure = go.Figure(layout=_layout(title, definition, labels))
    strongest = np.where(np.isnan(shown), -1, shown).argmax(axis=0)
    largest = view.top or float(np.nanmax(shown, initial=0)) or 1.0
    for head, (name, colour) in enumerate(zip(names, colours)):
        z = np.where(strongest == head, shown[head], np.nan).astype(np.float32)
        figure.add_trace(_hued(z, escape(name), colour, labels, largest))
        figure.add_trace(_legend_entry(escape(name), colour, labels[0]))
    # The outline is grey, its label above the legend: orange is the hue of a head here.
    legend = {
        "x": 1,
        "y": 0.94,
        "xanchor": "right",
        "yanchor": "top",
        "title": {"text": "strongest head"},
        "itemclick": False,
    }
    figure.update_layout(showlegend=True, legend=legend)
    if view.clickable:
        cells = np.argwhere(~np.isnan(shown[0]))
        make_clickable(figure, labels, cells, _overlay_texts(shown[:, *cells.T], names))
    outline(figure, marks, view.locked, labels, NEUTRAL)
    return figure


def causal(pattern: np.ndarray, hide_first: bool = False) -> np.ndarray:
    """A copy with NaN (drawn blank) where a key comes after its query, and in the first column when it is hidden."""
    if np.ndim(pattern) != 2 or pattern.shape[0] != pattern.shape[1]:
        raise ValueError(f"A pattern of shape {np.shape(pattern)}; wanted [query, key] of one head, square.")
    shown = np.array(pattern, np.float32)
    shown[np.triu_indices(len(shown), 1)] = np.nan
    if hide_first:
        shown[:, 0] = np.nan
    return shown


def _cell_texts(values: np.ndarray, log: bool) -> list[str]:
    numbers = [f"{value:.4f}" for value in values.tolist()]
    return (
        [f"{log_value:.2f} nats, {text}" for log_value, text in zip(nats(values).tolist(), numbers)] if log else numbers
    )


def _overlay_texts(values: np.ndarray, names: Sequence[str]) -> list[str]:
    """``values[head, cell]``: one line per cell, the strongest head in bold."""
    names, texts = [escape(name) for name in names], []
    for column, top in zip(values.T.tolist(), values.argmax(0).tolist()):
        parts = [f"{name} {value:.3f}" for name, value in zip(names, column)]
        parts[top] = f"<b>{parts[top]}</b>"
        texts.append(" · ".join(parts))
    return texts


def _hidden_note(pattern: np.ndarray) -> str:
    share = float(np.mean(pattern[1:, 0])) if len(pattern) > 1 else 1.0
    return f" The first key is hidden; it gets {number(100 * share)}% of the attention of the later queries."


def _labels(tokens: Sequence[str], size: int, view: View) -> list[str]:
    if len(tokens) != size:
        raise ValueError(f"{len(tokens)} token labels for a pattern of {size} queries; give one label per position.")
    if view.numbered:
        return numbered([shorten(token) for token in tokens])
    if len(set(tokens)) < size:
        raise ValueError("Labels without positions must differ: equal ones would merge into one category.")
    return [escape(token) for token in tokens]


def _layout(title: str, definition: str, labels: list[str]) -> dict:
    # The labels are categories, unique by their position, so that hover labels can say the token without n² strings.
    positions, texts = thin(labels)
    common = {
        "type": "category",
        "tickvals": positions,
        "ticktext": texts,
        "tickfont": {"size": LABEL_SIZE},
        "ticks": "",
    }
    common |= {"showgrid": False, "zeroline": False}
    side = int(np.clip(24 * len(labels), 320, 576))
    size, room = len(labels), max(map(_width, texts))
    # The room for the labels is estimated: automargin draws everything twice, a third of the time of the figure.
    left, right, bottom = round(room) + 42, 92, round(0.87 * room) + 46
    layout = base_layout(title, definition, height=side)
    top = layout["margin"]["t"]
    y_axis = common | {"title": {"text": "query", "standoff": 8}, "range": [size - 0.5, -0.5]}
    y_axis |= {"scaleanchor": "x", "constrain": "domain", "constraintoward": "top"}  # square in a narrow place too
    x_axis = common | {"title": {"text": "key", "standoff": 8}, "range": [-0.5, size - 0.5], "tickangle": -60}
    x_axis |= {"constrain": "domain"}
    return layout | {
        "width": left + side + right,
        "height": top + side + bottom,
        "margin": {"l": left, "r": right, "t": top, "b": bottom, "pad": 4},
        "xaxis": x_axis,
        "yaxis": y_axis,
        "dragmode": False,
    }


def _width(label: str) -> float:
    """Pixels of a tick label, rather too many than too few."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in html.unescape(label))
    return LABEL_SIZE * (0.54 * (len(html.unescape(label)) - wide) + 1.1 * wide)


def _hued(z: np.ndarray, name: str, colour: str, labels: list[str], largest: float) -> go.Heatmap:
    """The cells of one head, from transparent to its hue."""
    return go.Heatmap(
        x=labels,
        y=labels,
        z=z,
        zmin=0,
        zmax=largest,
        colorscale=[[0, translucent(colour, 0)], [1, colour]],
        showscale=False,
        hoverongaps=False,
        hovertemplate=f"<b>{name}</b> %{{z:.4f}}<br>query %{{y}} → key %{{x}}<extra></extra>",
    )


def _legend_entry(name: str, colour: str, label: str) -> go.Scatter:
    marker = {"symbol": "square", "size": 12, "color": colour}
    return go.Scatter(x=[label], y=[None], mode="markers", marker=marker, name=name, hoverinfo="skip")
