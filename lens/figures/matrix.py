"""One attention pattern in full, or several heads on one text."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

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

LOG_FLOOR = 1e-4
MAX_CLICKABLE = 80
ROW_DEFINITION = "Each row is one query: the share of its attention that each earlier token gets; rows sum to 1."

OVERLAY_DEFINITION = "Hue: the head that attends most from that query to that key. Strength: how much it attends."


class Marks(NamedTuple):
    """Cells to outline, such as the stripe an induction head should fill, and what they are."""

    cells: Sequence[tuple[int, int]]  # (query, key)
    label: str


class View(NamedTuple):
    """How to draw a pattern; none of it changes the numbers in the hover label."""

    log: bool = False  # colour by log10 of the attention, floored at 1e-4
    hide_first: bool = False  # blank the first key (BOS), which often takes most of the attention
    locked: int | None = None  # query row to outline
    clickable: bool = False  # (query, key) comes back through grid.selected_cell, for at most 80 tokens
    top: float | None = None  # value of the strongest colour; None: the largest one shown


PLAIN = View()


def matrix(
    pattern: np.ndarray, tokens: Sequence[str], *, title: str = "", marks: Marks | None = None, view: View = PLAIN
) -> go.Figure:
    """Attention of one head, ``pattern[query, key]`` in 0..1, labelled with its tokens. Above the diagonal is blank."""
    shown = causal(pattern, view.hide_first)
    labels = numbered(_shortened(tokens, len(shown)))
    definition = ROW_DEFINITION + (_hidden_note(pattern) if view.hide_first else "")
    figure = go.Figure(layout=_layout(title, definition, labels))
    hover = "query %{y} → key %{x}<br><b>%{customdata:.4f}</b> of its attention<extra></extra>"
    largest = view.top or float(np.nanmax(shown, initial=0)) or 1.0
    heatmap = {
        "x": labels,
        "y": labels,
        "z": shown,
        "zmin": 0,
        "zmax": largest,
        "colorbar": colour_bar("attention, query to key"),
    }
    if view.log:
        heatmap |= {"z": np.log10(np.maximum(shown, LOG_FLOOR)), "customdata": shown} | _log_scale(largest)
    else:
        hover = hover.replace("customdata", "z")
    figure.add_trace(go.Heatmap(heatmap | {"hovertemplate": hover, "hoverongaps": False}))
    if view.clickable:
        _make_clickable(figure, shown, labels)
    _outline(figure, marks, view.locked, PIN)
    return figure


def overlay(
    patterns: np.ndarray,
    tokens: Sequence[str],
    names: Sequence[str],
    *,
    title: str = "",
    marks: Marks | None = None,
    view: View = PLAIN,
) -> go.Figure:
    """Several heads on one text, ``patterns[head, query, key]``: each cell shows the head that attends most.

    The strength of the hue is that head's attention, on one scale for all heads; the hover label names the head.
    """
    if len(patterns) != len(names) or not 1 <= len(names) < len(CATEGORICAL):
        raise ValueError(
            f"{len(names)} names for {len(patterns)} heads; give 1 to {len(CATEGORICAL) - 1} heads, a name each."
        )
    shown = np.stack([causal(pattern, view.hide_first) for pattern in patterns])
    labels = numbered(_shortened(tokens, shown.shape[-1]))
    figure = go.Figure(layout=_layout(title, OVERLAY_DEFINITION, labels))
    strongest = np.where(np.isnan(shown), -1, shown).argmax(axis=0)
    largest = view.top or float(np.nanmax(shown, initial=0)) or 1.0
    for head, (name, colour) in enumerate(zip(names, CATEGORICAL)):
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
    _outline(figure, marks, view.locked, NEUTRAL)
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


def _hidden_note(pattern: np.ndarray) -> str:
    share = float(np.mean(pattern[1:, 0])) if len(pattern) > 1 else 1.0
    return f" The first key is hidden; it gets {number(100 * share)}% of the attention of the later queries."


def _shortened(tokens: Sequence[str], size: int) -> list[str]:
    if len(tokens) != size:
        raise ValueError(f"{len(tokens)} token labels for a pattern of {size} queries; give one label per position.")
    return [shorten(token) for token in tokens]


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
    common |= {"showgrid": False, "zeroline": False, "automargin": True}
    side = int(np.clip(16 * len(labels), 320, 680))
    size = len(labels)
    layout = base_layout(title, definition, height=side)
    y_axis = common | {"title": {"text": "query", "standoff": 8}, "range": [size - 0.5, -0.5]}
    x_axis = common | {"title": {"text": "key", "standoff": 8}, "range": [-0.5, size - 0.5], "tickangle": -60}
    # A page that shows it with width="content" gets square cells.
    return layout | {
        "width": side + 230,
        "height": layout["height"] + 50,
        "xaxis": x_axis,
        "yaxis": y_axis,
        "dragmode": False,
    }


def _log_scale(largest: float) -> dict:
    floor, top = np.log10(LOG_FLOOR), np.log10(largest)
    decades = [decade for decade in range(int(floor), 1) if decade <= top + 1e-6]
    ticks = [f"{10.0**decade:g}" for decade in decades]
    bar = colour_bar("attention, query to key (log scale)")
    return {"zmin": floor, "zmax": max(top, floor + 1), "colorbar": bar | {"tickvals": decades, "ticktext": ticks}}


def _make_clickable(figure: go.Figure, shown: np.ndarray, labels: list[str]) -> None:
    if len(shown) > MAX_CLICKABLE:
        raise ValueError(
            f"{len(shown)} tokens; at most {MAX_CLICKABLE} can be clickable (one point per cell is drawn)."
        )
    queries, keys = np.nonzero(~np.isnan(shown))
    texts = [
        f"query {labels[query]} → key {labels[key]}<br><b>{shown[query, key]:.4f}</b> of its attention"
        for query, key in zip(queries, keys)
    ]
    figure.update_traces(hoverinfo="skip", hovertemplate=None)
    figure.add_trace(
        go.Scatter(
            x=[labels[key] for key in keys],
            y=[labels[query] for query in queries],
            mode="markers",
            marker={"opacity": 0, "size": 12},
            customdata=np.stack([queries, keys], axis=1).astype(np.int32),
            text=texts,
            hovertemplate="%{text}<extra></extra>",
            showlegend=False,
        )
    )
    figure.update_layout(hovermode="closest", hoverdistance=-1, clickmode="event+select")


def _outline(figure: go.Figure, marks: Marks | None, locked: int | None, colour: str) -> None:
    shapes, notes = [], []
    if marks is not None and len(marks.cells):
        # One path for all cells: a shape each takes the browser a second for a long stripe.
        path = " ".join(
            f"M{key - 0.5},{query - 0.5}H{key + 0.5}V{query + 0.5}H{key - 0.5}Z" for query, key in marks.cells
        )
        shapes.append({"type": "path", "path": path, "line": {"color": colour, "width": 1.5}})
        notes.append(_note(f"□ {escape(marks.label)}", colour, 0.99, 0.99))
    if locked is not None:
        box = {"x0": -0.5, "x1": locked + 0.5, "y0": locked - 0.5, "y1": locked + 0.5}
        shapes.append(dict(type="rect", line={"color": NEUTRAL, "width": 2}, **box))
        notes.append(
            {"x": locked + 0.5, "y": locked, "text": f"◂ query {locked}", "showarrow": False, "xanchor": "left"}
        )
    figure.update_layout(shapes=shapes, annotations=notes)


def _note(text: str, colour: str, x: float, y: float) -> dict:
    place = {"x": x, "y": y, "xref": "paper", "yref": "paper", "xanchor": "right", "yanchor": "top", "showarrow": False}
    return place | {"text": text, "font": {"color": colour, "size": LABEL_SIZE + 1}}


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
