"""A training run that plays: the attention of one head at every checkpoint, beside its score."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lens.figures.cells import Marks
from lens.figures.drawn import drawn_as
from lens.figures.matrix import causal
from lens.figures.theme import CATEGORICAL, LABEL_SIZE, NEUTRAL, PIN, base_layout, escape, numbered, shorten, thin
from lens.figures.training import ticks as axis_ticks
from lens.figures.wire import Spec, round_numbers, short_form

STEP = 350  # milliseconds of one checkpoint
SIDE = 330  # pixels of the pattern
SCORE = 110  # pixels of the curve
SHARE = "%{z:.4f}"  # what the hover label says of a cell
CONTROLS = 118  # pixels of the button and the slider


class Course(NamedTuple):
    """One head through training: its score at every checkpoint, and what a checkpoint is called."""

    x: np.ndarray
    score: np.ndarray
    labels: Sequence[str]
    x_title: str
    y_title: str
    log: bool
    threshold: float


def _in_ten_thousandths(figure: go.Figure) -> Spec:
    """Shares of the animated map as whole ten-thousandths, "0.0123" sent as 123: the digits that its label shows.

    A row ends with its last cell, so what a causal pattern leaves blank is not sent. The cells that are read as 1.0000,
    for which there is no such template, are a map of their own over it.
    """
    spec = short_form(figure)
    base, maps = spec["data"][0], [frame["data"][0] for frame in spec["frames"]]
    whole = base | {"showscale": False, "hovertemplate": base["hovertemplate"].replace(SHARE, "1.0000")}
    ticks = round_numbers(base["zmax"])
    base["colorbar"] |= {"tickvals": [round(1e4 * tick) for tick in ticks], "ticktext": [f"{t:g}" for t in ticks]}
    base["hovertemplate"] = base["hovertemplate"].replace(SHARE, "0.%{z:04d}")
    over = [{"type": "heatmap"} for _ in maps]
    for part, ones in ((base, whole), *zip(maps, over)):
        shares = np.floor(1e4 * np.asarray(part["z"], np.float64) + 0.5)
        part["z"] = [_row(row) for row in np.where(shares < 1e4, shares, np.nan)]
        ones["z"] = [_row(row) for row in np.where(shares < 1e4, np.nan, shares)]
    for part in (base, whole):
        part |= {"zmin": 1e4 * part["zmin"], "zmax": 1e4 * part["zmax"]}
    if any(row for ones in (whole, *over) for row in ones["z"]):
        for frame, ones in zip(spec["frames"], over):
            frame |= {"data": [*frame["data"], ones], "traces": [*frame["traces"], len(spec["data"])]}
        spec["data"].append(whole)
    return spec


def _row(shares: np.ndarray) -> list[int | None]:
    shown = np.nonzero(np.isfinite(shares))[0]
    end = shown[-1] + 1 if len(shown) else 0
    return [None if np.isnan(share) else int(share) for share in shares[:end]]


@drawn_as(_in_ten_thousandths)
def playing(
    patterns: np.ndarray,
    tokens: Sequence[str],
    course: Course,
    *,
    title: str,
    at: int = -1,
    marks: Marks | None = None,
) -> go.Figure:
    """``patterns[checkpoint, query, key]`` as frames of one figure, with a button and a slider; starts at ``at``.

    Everything is in the figure: playing asks no server. One colour scale for all checkpoints.
    """
    if len(patterns) != len(course.score):
        raise ValueError(f"{len(patterns)} patterns for {len(course.score)} scores; wanted one for each checkpoint.")
    at = range(len(patterns))[at]
    shown = np.stack([causal(pattern, hide_first=True) for pattern in patterns])
    figure = make_subplots(rows=2, cols=1, row_heights=[SIDE, SCORE], vertical_spacing=0.16)
    labels = numbered([shorten(token, 9) for token in tokens])
    figure.add_trace(_map(shown[at], labels, float(np.nanmax(shown, initial=0)) or 1.0), row=1, col=1)
    colour = {"color": CATEGORICAL[0]}
    line = go.Scatter(x=course.x, y=course.score, mode="lines", line=colour | {"width": 2}, hoverinfo="skip")
    figure.add_trace(line, row=2, col=1)
    here = {"mode": "markers", "marker": {"color": PIN, "size": 11}, "hovertemplate": "%{y:.3f}<extra></extra>"}
    figure.add_trace(go.Scatter(x=course.x[at : at + 1], y=course.score[at : at + 1], **here), row=2, col=1)
    figure.frames = [
        go.Frame(
            name=str(i),
            traces=[0, 2],
            data=[go.Heatmap(z=shown[i]), go.Scatter(x=course.x[i : i + 1], y=course.score[i : i + 1])],
        )
        for i in range(len(shown))
    ]
    figure.add_hline(y=course.threshold, row=2, col=1, line={"color": NEUTRAL, "width": 1.2, "dash": "dot"})
    _axes(figure, labels, course)
    if marks is not None and len(marks.cells):
        _outline(figure, marks)
    return figure.update_layout(_layout(title)).update_layout(
        updatemenus=[_buttons()], sliders=[_slider(course.labels, at)]
    )


def _map(z: np.ndarray, labels: list[str], largest: float) -> go.Heatmap:
    hover = "query %{y} → key %{x}<br><b>" + SHARE + "</b> of its attention<extra></extra>"
    bar = {"thickness": 9, "outlinewidth": 0, "tickfont": {"size": LABEL_SIZE}, "len": 0.34, "y": 0.97, "x": 0.97}
    bar |= {"xanchor": "right", "yanchor": "top", "title": {"text": "attention", "font": {"size": LABEL_SIZE}}}
    return go.Heatmap(
        x=labels, y=labels, z=z, zmin=0, zmax=largest, colorbar=bar, hovertemplate=hover, hoverongaps=False
    )


def _axes(figure: go.Figure, labels: list[str], course: Course) -> None:
    places, texts = thin(labels, 18)
    ticks = {"tickvals": places, "ticktext": texts, "tickfont": {"size": LABEL_SIZE - 1}, "showgrid": False}
    category = ticks | {"type": "category", "constrain": "domain", "zeroline": False}
    figure.update_xaxes(category, tickangle=-60, row=1, col=1)
    figure.update_yaxes(category, range=[len(labels) - 0.5, -0.5], scaleanchor="x", row=1, col=1)
    small = {"tickfont": {"size": LABEL_SIZE}, "zeroline": False}
    title = {"text": escape(course.x_title), "standoff": 4, "font": {"size": LABEL_SIZE + 1}}
    figure.update_xaxes(small, **axis_ticks(course.log), title=title, showgrid=False, row=2, col=1)
    figure.update_yaxes(small, title={"text": escape(course.y_title), "font": {"size": LABEL_SIZE + 1}}, row=2, col=1)


def _outline(figure: go.Figure, marks: Marks) -> None:
    path = " ".join(f"M{key - 0.5},{query - 0.5}H{key + 0.5}V{query + 0.5}H{key - 0.5}Z" for query, key in marks.cells)
    figure.add_shape(type="path", path=path, line={"color": PIN, "width": 1}, row=1, col=1)


def _buttons() -> dict:
    play = {"frame": {"duration": STEP, "redraw": True}, "transition": {"duration": 0}, "fromcurrent": True}
    stop = {"frame": {"duration": 0, "redraw": False}, "transition": {"duration": 0}, "mode": "immediate"}
    return {
        "type": "buttons",
        "direction": "left",
        "x": 0,
        "xanchor": "left",
        "y": 0,
        "yanchor": "top",
        "pad": {"t": 62, "r": 8},
        "showactive": False,
        "font": {"color": CATEGORICAL[0]},
        "bgcolor": "rgba(0,0,0,0)",
        "bordercolor": NEUTRAL,
        "buttons": [
            {"label": "▶ Play", "method": "animate", "args": [None, play]},
            {"label": "❚❚", "method": "animate", "args": [[None], stop]},
        ],
    }


def _slider(labels: Sequence[str], at: int) -> dict:
    jump = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    steps = [{"label": escape(label), "method": "animate", "args": [[str(i)], jump]} for i, label in enumerate(labels)]
    return {
        "active": at,
        "steps": steps,
        "x": 0.4,
        "len": 0.6,
        "y": 0,
        "yanchor": "top",
        "pad": {"t": 48},
        "ticklen": 0,
        "minorticklen": 0,
        "font": {"size": 1, "color": "rgba(0,0,0,0)"},  # the labels of all steps would run into each other
        "currentvalue": {"prefix": "", "xanchor": "left", "font": {"size": LABEL_SIZE + 1}},
    }


def _layout(title: str) -> dict:
    layout = base_layout(title, "", height=SIDE + SCORE + 70)
    margin = {"t": layout["margin"]["t"], "b": CONTROLS, "l": 62, "r": 8, "pad": 2}
    return layout | {"margin": margin, "height": SIDE + SCORE + 70 + margin["t"] + CONTROLS, "dragmode": False}
