"""What lies over or beside a map of query and key: clickable points, frames, the scale of logarithms."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from lens.figures.drawn import Drawn, copy_of, drawn
from lens.figures.theme import LABEL_SIZE, NEUTRAL, PIN, UNSEEN, colour_bar, escape

LOG_FLOOR = 1e-4
MAX_CLICKABLE = 80


class Marks(NamedTuple):
    """Cells to outline, such as the stripe an induction head should fill, and what they are."""

    cells: Sequence[tuple[int, int]]  # (query, key)
    label: str


def nats(shown: np.ndarray) -> np.ndarray:
    """Natural logarithm; −inf at 0, without a warning."""
    with np.errstate(divide="ignore"):
        return np.log(shown)


def log_scale(largest: float) -> dict:
    """Colour range and colour bar, in nats, for shares of at most ``largest``."""
    floor = float(np.log(LOG_FLOOR))
    ticks = [tick for tick in range(0, int(floor) - 1, -1) if tick <= np.log(largest) + 1e-6][::2]
    bar = colour_bar("log-attention, query to key (nats)")
    texts = [str(tick).replace("-", "−") for tick in ticks]
    return {
        "zmin": floor,
        "zmax": max(float(np.log(largest)), floor + 1),
        "colorbar": bar | {"tickvals": ticks, "ticktext": texts},
    }


def make_clickable(
    figure: go.Figure, labels: Sequence[str], cells: np.ndarray, texts: Sequence[str], after: str = ""
) -> None:
    """An invisible point on each of ``cells`` [cell, (query, key)], whose hover label ends with its text.

    What all texts end with is better given once, as ``after``: thousands of points are sent.
    """
    if len(labels) > MAX_CLICKABLE:
        raise ValueError(
            f"{len(labels)} tokens; at most {MAX_CLICKABLE} can be clickable (one point per cell is drawn)."
        )
    figure.update_traces(hoverinfo="skip", hovertemplate=None)
    figure.add_trace(
        go.Scatter(
            x=[labels[key] for _, key in cells],
            y=[labels[query] for query, _ in cells],
            **UNSEEN,
            customdata=cells.astype(np.int32),
            hovertext=texts,
            hovertemplate=f"query %{{y}} → key %{{x}}<br>%{{hovertext}}{after}<extra></extra>",
            showlegend=False,
        )
    )
    figure.update_layout(hovermode="closest", hoverdistance=-1, clickmode="event+select")


def outline(figure: go.Figure, marks: Marks | None, locked: int | None, labels: Sequence[str], colour: str) -> None:
    """Frames around marked cells and around the row of a locked query, named by the position in its label."""
    shapes, notes = [], []
    if marks is not None and len(marks.cells):
        # One path for all cells: a shape each takes the browser a second for a long stripe.
        path = " ".join(
            f"M{key - 0.5},{query - 0.5}H{key + 0.5}V{query + 0.5}H{key - 0.5}Z" for query, key in marks.cells
        )
        shapes.append({"type": "path", "path": path, "line": {"color": colour, "width": 1.5}})
        notes.append(_note(f'<span style="color:{colour}">□</span> {escape(marks.label)}', 0.99, 0.99))
    if locked is not None:
        box = {"x0": -0.5, "x1": locked + 0.5, "y0": locked - 0.5, "y1": locked + 0.5}
        shapes.append(dict(type="rect", line={"color": NEUTRAL, "width": 2}, **box))
        name = f"◂ query {re.split('[: ]', labels[locked])[0]}"
        notes.append({"x": locked + 0.5, "y": locked, "text": name, "showarrow": False, "xanchor": "left"})
    figure.update_layout(shapes=shapes, annotations=notes)


@drawn
def crossed(figure: Drawn, marks: Marks) -> go.Figure:
    """A map of query and key with a cross through each of the marked cells."""
    other = copy_of(figure)
    lines = " ".join(
        f"M{key - 0.4},{query - 0.4}L{key + 0.4},{query + 0.4}M{key - 0.4},{query + 0.4}L{key + 0.4},{query - 0.4}"
        for query, key in marks.cells
    )
    other.add_shape({"type": "path", "path": lines, "line": {"color": PIN, "width": 2.5}})
    other.add_annotation(_note(f'<span style="color:{PIN}">✕</span> {escape(marks.label)}', 0.99, 0.93))
    return other


def _note(text: str, x: float, y: float) -> dict:
    place = {"x": x, "y": y, "xref": "paper", "yref": "paper", "xanchor": "right", "yanchor": "top", "showarrow": False}
    return place | {"text": text, "font": {"size": LABEL_SIZE + 1}}
