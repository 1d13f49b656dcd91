"""Curves over training: several quantities above each other on one shared axis, and when the checkpoints were saved."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lens.figures.theme import CATEGORICAL, LABEL_SIZE, NEUTRAL, base_layout, escape, translucent

PANEL = 150  # pixels of one quantity
BETWEEN = 34  # pixels between two, for the title of the lower one
COLOURS = CATEGORICAL[:5]  # of runs


class Trace(NamedTuple):
    """One curve of one run; ``points`` says which checkpoint (and head) each of its points is: what a click returns."""

    name: str
    x: np.ndarray
    y: np.ndarray
    points: np.ndarray  # [point, (run, checkpoint, layer, head)], −1 for what it is not about; none: not clickable
    run: int  # which colour
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    dash: str | None = None
    faint: bool = False  # in the background: one of many
    legend: bool = False


class Level(NamedTuple):
    """A horizontal line with a label: a threshold, or what a known strategy gives."""

    y: float
    label: str
    right: bool = False  # where the label stands, so that two near each other can be read


class Panel(NamedTuple):
    """One quantity: its title with its unit, its curves and its levels."""

    title: str
    traces: Sequence[Trace]
    levels: Sequence[Level] = ()
    empty: str = ""  # what stands there instead of curves


class Span(NamedTuple):
    """A stretch of training in the colour of a run."""

    x0: float
    x1: float
    run: int
    label: str


class Axis(NamedTuple):
    """The shared axis: its name with its unit, and whether it is logarithmic."""

    title: str
    log: bool = False


def training(
    panels: Sequence[Panel],
    axis: Axis,
    *,
    title: str,
    definition: str = "",
    spans: Sequence[Span] = (),
    cursor: float | None = None,
) -> go.Figure:
    """All ``panels`` on one axis of training; ``cursor`` marks the checkpoint that is open.

    On a logarithmic axis what lies at 0 cannot be drawn. A click returns its ``points`` row as customdata.
    """
    plot = PANEL * len(panels) + BETWEEN * (len(panels) - 1)
    figure = make_subplots(
        rows=len(panels), cols=1, shared_xaxes=True, vertical_spacing=BETWEEN / plot if len(panels) > 1 else 0
    )
    for row, panel in enumerate(panels, 1):
        for trace in panel.traces:
            _draw(figure, trace, axis, panel.title, row)
        for level in panel.levels:
            _level(figure, level, row)
        _titled(figure, panel, row)
    for span in spans:
        note = {"text": escape(span.label), "font": {"size": LABEL_SIZE, "color": COLOURS[span.run]}}
        fill = {"fillcolor": translucent(COLOURS[span.run], 0.12), "line_width": 0, "layer": "below"}
        figure.add_vrect(span.x0, span.x1, row=1, col=1, annotation=note, annotation_position="top left", **fill)
        for row in range(2, len(panels) + 1):
            figure.add_vrect(span.x0, span.x1, row=row, col=1, exclude_empty_subplots=False, **fill)
    if cursor is not None and (cursor > 0 or not axis.log):
        for row in range(1, len(panels) + 1):
            figure.add_vline(
                cursor,
                row=row,
                col=1,
                exclude_empty_subplots=False,
                line={"color": NEUTRAL, "width": 1.5, "dash": "dash"},
            )
    return (
        figure.update_layout(_layout(title, definition, plot))
        .update_xaxes(
            type="log" if axis.log else "linear", showgrid=False, tickfont={"size": LABEL_SIZE}, zeroline=False
        )
        .update_xaxes(title={"text": escape(axis.title), "standoff": 6}, row=len(panels), col=1)
    )


def schedule(curves: Sequence[Trace], axis: Axis, *, title: str) -> go.Figure:
    """When each run saved: the number of a checkpoint across, its label up; ``axis`` is that of the labels."""
    figure = go.Figure(layout=_layout(title, "", 260))
    for trace in curves:
        figure.add_trace(
            go.Scatter(
                x=trace.x,
                y=trace.y,
                mode="lines+markers",
                name=escape(trace.name),
                showlegend=len(curves) > 1,
                line={"color": COLOURS[trace.run], "width": 1.5},
                marker={"size": 6},
                hovertemplate=f"{escape(trace.name)}<br>checkpoint %{{x}}: <b>%{{y:,}}</b><extra></extra>",
            )
        )
    figure.update_xaxes(title={"text": "checkpoint, counted from 0", "standoff": 6}, showgrid=False)
    return figure.update_yaxes(title={"text": escape(axis.title)}, showgrid=True, **ticks(axis.log))


def ticks(log: bool) -> dict:
    """An axis of tokens or steps: 1k, 2k, 5k … on a logarithmic one."""
    return {"type": "log", "dtick": "D2", "exponentformat": "B"} if log else {"type": "linear", "exponentformat": "B"}


def clicked(event: dict) -> tuple[int, int, int, int] | None:
    """The (run, checkpoint, layer, head) of a clicked point, −1 for what it is not about; None if nothing is chosen."""
    for point in event.get("selection", {}).get("points", []):
        data = point.get("customdata")
        if data is not None:
            values = list(data.values()) if isinstance(data, dict) else list(data)
            return tuple(int(value) for value in values[:4])
    return None


def _draw(figure: go.Figure, trace: Trace, axis: Axis, unit: str, row: int) -> None:
    seen = trace.x > 0 if axis.log else np.ones(len(trace.x), bool)
    x, y, points = trace.x[seen], np.asarray(trace.y, np.float32)[seen], trace.points[seen[: len(trace.points)]]
    colour = COLOURS[trace.run]
    interval = trace.low is not None and trace.high is not None
    if interval:
        low, high = (np.asarray(bound, np.float32)[seen] for bound in (trace.low, trace.high))
        figure.add_trace(_band(x, low, high, colour), row=row, col=1)
    clickable = len(points) > 0
    figure.add_trace(
        go.Scatter(
            x=x,
            y=y,
            name=escape(trace.name),
            mode="lines+markers" if clickable and not trace.faint else "lines",
            customdata=points if clickable else None,
            text=[f" [{a:.3f}, {b:.3f}]" for a, b in zip(low, high)] if interval else None,
            line={
                "color": translucent(colour, 0.35) if trace.faint else colour,
                "width": 1 if trace.faint else 2.2,
                "dash": trace.dash,
            },
            marker={"color": colour, "size": 6},
            selected={"marker": {"opacity": 1}},
            unselected={"marker": {"opacity": 1}},
            legendgroup=trace.name,
            showlegend=trace.legend,
            hovertemplate=f"<b>{escape(trace.name)}</b><br>at %{{x:,}}: <b>%{{y:.3f}}</b>"
            f"{'%{text}' if interval else ''}<br>{escape(unit)}<extra></extra>",
        ),
        row=row,
        col=1,
    )


def _band(x: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str) -> go.Scatter:
    return go.Scatter(
        x=np.concatenate([x, x[::-1]]),
        y=np.concatenate([high, low[::-1]]),
        fill="toself",
        fillcolor=translucent(colour, 0.2),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
    )


def _level(figure: go.Figure, level: Level, row: int) -> None:
    figure.add_hline(
        y=level.y,
        row=row,
        col=1,
        line={"color": NEUTRAL, "width": 1.2, "dash": "dot"},
        annotation={"text": escape(level.label), "font": {"size": LABEL_SIZE, "color": NEUTRAL}},
        annotation_position="top right" if level.right else "top left",
    )


def _titled(figure: go.Figure, panel: Panel, row: int) -> None:
    """The title stands over its panel, from the left: turned titles of five axes would be cut."""
    domain = figure.layout["yaxis" + ("" if row == 1 else str(row))].domain
    place = {"xref": "paper", "yref": "paper", "x": 0, "xanchor": "left", "showarrow": False}
    figure.add_annotation(
        text=f"<b>{escape(panel.title)}</b>", y=domain[1], yanchor="bottom", font={"size": LABEL_SIZE + 1}, **place
    )
    figure.update_yaxes(showgrid=True, zeroline=False, tickfont={"size": LABEL_SIZE}, row=row, col=1)
    if panel.empty:
        middle = sum(domain) / 2
        note = {"size": LABEL_SIZE + 1, "color": NEUTRAL}
        figure.add_annotation(text=escape(panel.empty), y=middle, **place | {"x": 0.5, "xanchor": "center"}, font=note)


def _layout(title: str, definition: str, plot: int) -> dict:
    layout = base_layout(title, definition, height=plot)
    top = layout["margin"]["t"] + 26
    return layout | {
        "height": plot + top + 56,
        "margin": {"t": top, "b": 56, "l": 52, "r": 10, "pad": 4},
        "hovermode": "closest",
        "clickmode": "event+select",
        "dragmode": False,
        "showlegend": True,
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yref": "container", "yanchor": "top"},
    }
