"""Curves with intervals, reference lines and named ranges."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from lens.figures.drawn import drawn
from lens.figures.theme import CATEGORICAL, LABEL_SIZE, NEUTRAL, base_layout, escape, translucent

MOST_WHOLE = 12  # steps of one on an axis that are all named


class Line(NamedTuple):
    """One curve, with the bounds of its confidence interval where there are samples."""

    name: str
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    x: np.ndarray | None = None  # 0, 1, 2, ... when None
    dash: str | None = None


class Reference(NamedTuple):
    """A labelled horizontal line: what a known strategy would give."""

    y: float
    label: str


class Span(NamedTuple):
    """A named range of x, shaded."""

    x0: float
    x1: float
    label: str


class Axis(NamedTuple):
    """Names of the axes with their units."""

    x: str
    y: str
    log_x: bool = False
    y_range: tuple[float, float] | None = None  # None: as the curves need; shares have ends of their own


@drawn
def lines(
    curves: Sequence[Line],
    axis: Axis,
    *,
    title: str,
    definition: str,
    references: Sequence[Reference] = (),
    spans: Sequence[Span] = (),
) -> go.Figure:
    """Curves of one quantity against another, in the given order of colours, with their intervals as bands."""
    if len(curves) > len(CATEGORICAL):
        raise ValueError(f"{len(curves)} curves; at most {len(CATEGORICAL)} can be told apart. Show fewer.")
    figure = go.Figure(layout=_layout(axis, title, definition, len(curves)))
    for curve, colour in zip(curves, CATEGORICAL):
        x = np.arange(len(curve.y), dtype=np.float32) if curve.x is None else np.asarray(curve.x)
        if curve.low is not None and curve.high is not None:
            figure.add_trace(_band(x, curve, colour))
        figure.add_trace(_curve(x, curve, colour, axis))
    if not axis.log_x and curves and _is_short(figure.data):
        figure.update_xaxes(dtick=1)
    for reference in references:
        _reference(figure, reference)
    for index, span in enumerate(spans):
        fill = translucent(CATEGORICAL[index % 2], 0.07)
        note = {"text": escape(span.label), "font": {"size": LABEL_SIZE + 1}}
        place = {"annotation_position": "top left", "layer": "below", "line_width": 0}
        figure.add_vrect(x0=span.x0, x1=span.x1, fillcolor=fill, annotation=note, **place)
    return figure


@drawn
def repeat_loss(curves: Sequence[Line], n: int, *, n_sampled: int | None = None, title: str = "") -> go.Figure:
    """Loss of predicting each token of [BOS] r₁…r_n r₁…r_n, in nats; ``curves`` hold 2n values, for tokens 1 to 2n.

    References: ln of the sampling set (``n_sampled`` tokens, guessing among all) and ln n (guessing among this text's).
    """
    for curve in curves:
        if len(curve.y) != 2 * n:
            raise ValueError(f"{curve.name}: {len(curve.y)} losses; wanted 2n = {2 * n}, one for each token after BOS.")
    at = np.arange(1, 2 * n + 1, dtype=np.float32)
    references = [Reference(float(np.log(n)), f"ln {n}: a guess among this text's tokens")]
    if n_sampled is not None:
        label = f"ln {n_sampled:,}: a guess among the sampled tokens"
        references.append(Reference(float(np.log(n_sampled)), label))
    return lines(
        [curve._replace(x=at) if curve.x is None else curve for curve in curves],
        Axis("position of the predicted token (BOS is 0)", "loss (nats)"),
        title=title or "Loss on repeated random tokens",
        definition="−ln P(token | its past). The first copy is random: nothing predicts it; the second repeats it.",
        references=references,
        spans=[Span(0.5, n + 0.5, "first copy"), Span(n + 0.5, 2 * n + 0.5, "second copy")],
    )


def _layout(axis: Axis, title: str, definition: str, n_curves: int) -> dict:
    common = {"zeroline": False, "automargin": True, "tickfont": {"size": LABEL_SIZE}}
    layout = base_layout(title, definition, height=340)
    layout |= {
        "hovermode": "x unified",
        "showlegend": n_curves > 1,
        "legend": {"orientation": "h", "x": 0, "y": -0.13, "yanchor": "top"},
        "xaxis": common
        | {"title": {"text": escape(axis.x), "standoff": 6}, "showgrid": False, "type": "log" if axis.log_x else "-"},
        "yaxis": common | {"title": {"text": escape(axis.y), "standoff": 8}, "showgrid": True, "range": axis.y_range},
    }
    layout["height"] += 34 * (n_curves > 1)
    return layout


def _is_short(traces: Sequence[go.Scatter]) -> bool:
    """Whether all stand on a few whole numbers, layers for instance, between which there is nothing to mark."""
    x = np.concatenate([trace.x for trace in traces])
    return bool((x == np.round(x)).all() and np.ptp(x) <= MOST_WHOLE)


def _band(x: np.ndarray, curve: Line, colour: str) -> go.Scatter:
    return go.Scatter(
        x=np.concatenate([x, x[::-1]]),
        y=np.concatenate([curve.high, curve.low[::-1]]).astype(np.float32),
        fill="toself",
        fillcolor=translucent(colour, 0.2),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        legendgroup=curve.name,
        showlegend=False,
    )


def _curve(x: np.ndarray, curve: Line, colour: str, axis: Axis) -> go.Scatter:
    interval = curve.low is not None and curve.high is not None
    bounds = " [%{customdata[0]:.3f}, %{customdata[1]:.3f}]" if interval else ""
    return go.Scatter(
        x=x,
        y=np.asarray(curve.y, np.float32),
        customdata=np.stack([curve.low, curve.high], axis=1).astype(np.float32) if interval else None,
        mode="lines" if len(x) > 40 else "lines+markers",
        line={"color": colour, "width": 2.5, "dash": curve.dash},
        marker={"color": colour, "size": 6},
        name=escape(curve.name),
        legendgroup=curve.name,
        hovertemplate=f"{escape(curve.name)}: {escape(axis.y)} <b>%{{y:.3f}}</b>{bounds}<extra></extra>",
    )


def _reference(figure: go.Figure, reference: Reference) -> None:
    figure.add_hline(
        y=reference.y,
        line={"color": NEUTRAL, "width": 1.5, "dash": "dot"},
        annotation={"text": escape(reference.label), "font": {"size": LABEL_SIZE}},
        annotation_position="top right",
    )
