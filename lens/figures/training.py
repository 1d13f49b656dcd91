"""Curves over training: several quantities above each other on one shared axis, and when the checkpoints were saved."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from lens.figures.drawn import drawn
from lens.figures.theme import CATEGORICAL, LABEL_SIZE, NEUTRAL, base_layout, escape, translucent

PANEL = 150  # pixels of one quantity
BETWEEN = 34  # pixels between two, for the title of the lower one
COLOURS = CATEGORICAL[:5]  # of runs
SMALL = {"size": LABEL_SIZE}
QUIET = {"zeroline": False, "tickfont": {"size": LABEL_SIZE}}


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
    ends: tuple[float, float] | None = None  # of its own axis; None: those of its curves


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
    end: float | None = None  # of a linear one, where curves that still grow will end; None: where they end


@drawn
def training(
    panels: Sequence[Panel],
    axis: Axis,
    *,
    title: str,
    definition: str = "",
    spans: Sequence[Span] = (),
    cursor: float | None = None,
    panel_height: int = PANEL,
) -> go.Figure:
    """All ``panels`` on one axis of training; ``cursor`` marks the checkpoint that is open.

    On a logarithmic axis what lies at 0 cannot be drawn. A click returns its ``points`` row as customdata.
    """
    plot = panel_height * len(panels) + BETWEEN * (len(panels) - 1)
    tops = [1 - row * (panel_height + BETWEEN) / plot for row in range(len(panels))]
    layout = _layout(title, definition, plot) | {"xaxis": _shared(axis, f"y{len(panels)}" if len(panels) > 1 else "y")}
    traces, shapes, notes = [], [], []
    for row, (panel, top) in enumerate(zip(panels, tops)):
        name = f"y{row + 1}" if row else "y"
        bottom = max(0.0, top - panel_height / plot)
        axis_of = {"domain": [bottom, top], "anchor": "x"} | QUIET | {"showgrid": True}
        layout[name.replace("y", "yaxis")] = axis_of | ({} if panel.ends is None else {"range": panel.ends})
        traces += [one for trace in panel.traces for one in _drawn(trace, axis, panel.title, name)]
        for level in panel.levels:
            shape, note = _level(level, name)
            shapes.append(shape)
            notes.append(note)
        notes += _titled(panel, bottom, top)
    for place, span in enumerate(spans):
        shape, note = _span(span, axis, place)
        shapes.append(shape)
        notes.append(note)
    if cursor is not None and (cursor > 0 or not axis.log):
        line = {"color": NEUTRAL, "width": 1.5, "dash": "dash"}
        shapes.append({"type": "line", "x0": cursor, "x1": cursor, "y0": 0, "y1": 1, "yref": "paper", "line": line})
    # Plain dictionaries in one piece: adding lines and notes one by one takes five times as long.
    return go.Figure(traces, layout | {"shapes": shapes, "annotations": notes})


@drawn
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


def _drawn(trace: Trace, axis: Axis, unit: str, y_axis: str) -> list[dict]:
    """The band of a curve, if it has one, and the curve."""
    seen = trace.x > 0 if axis.log else np.ones(len(trace.x), bool)
    x, y, points = trace.x[seen], np.asarray(trace.y, np.float32)[seen], trace.points[seen[: len(trace.points)]]
    colour = COLOURS[trace.run]
    interval = trace.low is not None and trace.high is not None
    low, high = (np.asarray(bound, np.float32)[seen] for bound in (trace.low, trace.high)) if interval else (y, y)
    band = {"type": "scatter", "mode": "lines", "yaxis": y_axis, "hoverinfo": "skip", "showlegend": False}
    band |= {"x": np.concatenate([x, x[::-1]]), "y": np.concatenate([high, low[::-1]]), "fill": "toself"}
    band |= {"fillcolor": translucent(colour, 0.2), "line": {"width": 0}}
    clickable = len(points) > 0
    shown = translucent(colour, 0.35) if trace.faint else colour
    said = f"<b>{escape(trace.name)}</b><br>at %{{x:,}}: <b>%{{y:.3f}}</b>{'%{text}' if interval else ''}"
    curve = {
        "type": "scatter",
        "yaxis": y_axis,
        "x": x,
        "y": y,
        "name": escape(trace.name),
        "mode": "lines+markers" if clickable and not trace.faint else "lines",
        "line": {"color": shown, "width": 1 if trace.faint else 2.2, "dash": trace.dash},
        "marker": {"color": colour, "size": 6},
        "selected": {"marker": {"opacity": 1}},
        "unselected": {"marker": {"opacity": 1}},
        "showlegend": trace.legend,
        "hovertemplate": f"{said}<br>{escape(unit)}<extra></extra>",
    }
    curve |= {"customdata": points} if clickable else {}
    curve |= {"text": [f" [{a:.3f}, {b:.3f}]" for a, b in zip(low, high)]} if interval else {}
    return [band, curve] if interval else [curve]


def _level(level: Level, y_axis: str) -> tuple[dict, dict]:
    line = {"color": NEUTRAL, "width": 1.2, "dash": "dot"}
    shape = {
        "type": "line",
        "x0": 0,
        "x1": 1,
        "xref": "paper",
        "y0": level.y,
        "y1": level.y,
        "yref": y_axis,
        "line": line,
    }
    side = "right" if level.right else "left"
    note = {
        "x": float(level.right),
        "xref": "paper",
        "xanchor": side,
        "y": level.y,
        "yref": y_axis,
        "yanchor": "bottom",
    }
    return shape, note | {"text": escape(level.label), "showarrow": False, "font": SMALL}


def _span(span: Span, axis: Axis, place: int) -> tuple[dict, dict]:
    colour = COLOURS[span.run]
    shape = {"type": "rect", "x0": span.x0, "x1": span.x1, "y0": 0, "y1": 1, "yref": "paper", "layer": "below"}
    shape |= {"fillcolor": translucent(colour, 0.12), "line": {"width": 0}}
    x = float(np.log10(span.x0)) if axis.log else span.x0  # notes count in powers of ten there, shapes do not
    note = {"x": x, "xanchor": "left", "y": 1, "yref": "paper", "yanchor": "top", "showarrow": False}
    note |= {"yshift": -14 * place}  # two may begin at the same checkpoint
    return shape, note | {"text": escape(span.label), "font": SMALL | {"color": colour}}


def _titled(panel: Panel, bottom: float, top: float) -> list[dict]:
    """The title stands over its panel, from the left: turned titles of five axes would be cut."""
    place = {"xref": "paper", "yref": "paper", "showarrow": False}
    font = {"size": LABEL_SIZE + 1}
    title = {"text": f"<b>{escape(panel.title)}</b>", "x": 0, "xanchor": "left", "y": top, "yanchor": "bottom"}
    empty = {"text": escape(panel.empty), "x": 0.5, "y": (bottom + top) / 2, "font": SMALL}
    return [title | place | {"font": font}, *([empty | place] if panel.empty else [])]


def _shared(axis: Axis, anchor: str) -> dict:
    spike = {"showspikes": True, "spikemode": "across", "spikethickness": 1, "spikedash": "dot", "spikecolor": NEUTRAL}
    title = {"text": escape(axis.title), "standoff": 6}
    ends = {} if axis.end is None or axis.log else {"range": [0, axis.end]}
    return (
        ticks(axis.log) | QUIET | spike | ends | {"showgrid": False, "title": title, "anchor": anchor, "domain": [0, 1]}
    )


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
