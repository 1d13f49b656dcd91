"""Paths of several runs in one plane, a point a checkpoint, a stretch of each drawn in full colour."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from lens.figures.drawn import drawn
from lens.figures.theme import LABEL_SIZE, NEUTRAL, PIN, base_layout, escape, translucent
from lens.figures.training import COLOURS

HEIGHT = 460  # pixels of the plane


class Path(NamedTuple):
    """One run; ``points`` says what a click on each of its checkpoints returns, as those of ``training`` do."""

    name: str
    at: np.ndarray  # [checkpoint, 2]
    labels: Sequence[str]  # of its checkpoints
    points: np.ndarray  # [checkpoint, (run, checkpoint, layer, head)]
    run: int  # which colour
    first: int | None = None  # where the stretch begins and ends; None: there is none
    last: int | None = None
    opened: int | None = None  # the place that is open


@drawn
def trajectories(paths: Sequence[Path], axes: tuple[str, str], *, title: str, definition: str = "") -> go.Figure:
    """Every path from its open circle to its diamond; the stretch in full colour. A click returns its point."""
    figure = go.Figure(layout=_layout(axes, title, definition))
    for path in paths:
        figure.add_traces(_traces(path))
    return figure


def _traces(path: Path) -> list[go.Scatter]:
    colour, n = COLOURS[path.run], len(path.at)
    quiet = {"hoverinfo": "skip", "showlegend": False}
    line = {"mode": "lines", "line": {"color": translucent(colour, 0.45), "width": 1.6}}
    traces = [go.Scatter(x=path.at[:, 0], y=path.at[:, 1], **line, **quiet)]
    if path.first is not None and path.last is not None:
        part = path.at[path.first : path.last + 1]
        traces.append(go.Scatter(x=part[:, 0], y=part[:, 1], mode="lines", line={"color": colour, "width": 5}, **quiet))
    if path.opened is not None:
        x, y = path.at[path.opened]
        ring = {"color": PIN, "size": 17, "symbol": "circle-open", "line": {"width": 2.5}}
        traces.append(go.Scatter(x=[x], y=[y], mode="markers", marker=ring, **quiet))
    symbols = ["circle-open", *["circle"] * (n - 2), "diamond"][:n]
    sizes = [12, *[6] * (n - 2), 12][:n]
    traces.append(
        go.Scatter(
            x=path.at[:, 0],
            y=path.at[:, 1],
            mode="markers",
            name=escape(path.name),
            marker={"color": colour, "symbol": symbols, "size": sizes, "opacity": 1},
            selected={"marker": {"opacity": 1}},
            unselected={"marker": {"opacity": 1}},
            customdata=path.points,
            text=[f"<b>{escape(path.name)}</b> at {escape(label)}" for label in path.labels],
            hovertemplate="%{text}<br>%{x:.2f}, %{y:.2f}<extra></extra>",
            showlegend=True,
        )
    )
    return traces


def _layout(axes: tuple[str, str], title: str, definition: str) -> dict:
    common = {"showgrid": True, "zeroline": True, "zerolinecolor": NEUTRAL, "tickfont": {"size": LABEL_SIZE}}
    return base_layout(title, definition, height=HEIGHT) | {
        "xaxis": common | {"title": {"text": escape(axes[0]), "standoff": 6}},
        "yaxis": common | {"title": {"text": escape(axes[1]), "standoff": 6}, "automargin": True},
        "hovermode": "closest",
        "clickmode": "event+select",
        "dragmode": False,
        "showlegend": True,
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom"},
    }
