"""Eigenvalues of one head's circuit in the complex plane, beside those that chance gives."""

import numpy as np
import plotly.graph_objects as go

from lens.figures.drawn import drawn
from lens.figures.theme import CATEGORICAL, LABEL_SIZE, NEUTRAL, base_layout, escape, number

DECADES = 3  # of the logarithmic radius: smaller eigenvalues lie at the centre
NULL_POINTS = 1500


@drawn
def eigenvalues(
    own: np.ndarray, null: np.ndarray, *, title: str = "", definition: str = "", log: bool = False,
    cloud_name: str = "by chance",
) -> go.Figure:  # fmt: skip
    """``own`` [d_head] as points, ``null`` [draw, d_head] as a cloud, both over the largest of ``own``.

    Right of the middle, a direction comes back as it was read; left, with its sign turned; above and below, turned
    into another. ``log``: the radius shows three decades, so that small eigenvalues are told apart.
    """
    largest = float(np.abs(own).max(initial=0)) or 1.0
    cloud = null.ravel()[:: max(1, -(-null.size // NULL_POINTS))] if null.size else null.ravel()
    figure = go.Figure(layout=_layout(title, definition, log))
    for radius in [10.0**-decade for decade in range(DECADES)] if log else [1.0]:
        r = float(_radius(np.array([radius]), log)[0])
        line = {"color": NEUTRAL, "width": 1, "dash": "dot"}
        figure.add_shape(type="circle", x0=-r, x1=r, y0=-r, y1=r, line=line, layer="below")
    chance = {"size": 4, "color": NEUTRAL, "opacity": 0.35}
    figure.add_trace(_points(cloud, largest, log, cloud_name, chance))
    shape = {"size": 8, "color": CATEGORICAL[0], "opacity": 0.85, "line": {"width": 1, "color": "rgba(255,255,255,.6)"}}
    figure.add_trace(_points(own, largest, log, "this head", shape))
    return figure


def _points(values: np.ndarray, largest: float, log: bool, name: str, marker: dict) -> go.Scattergl | go.Scatter:
    scaled = values / largest
    shown = scaled * (_radius(np.abs(scaled), log) / np.where(scaled == 0, 1, np.abs(scaled)))
    texts = [f"{escape(name)}<br>λ = {_complex(value)}<br>|λ| {number(abs(value))}" for value in values]
    return go.Scatter(
        x=shown.real.astype(np.float32),
        y=shown.imag.astype(np.float32),
        mode="markers",
        name=name,
        marker=marker,
        text=texts if name == "this head" else None,
        hovertemplate="%{text}<extra></extra>" if name == "this head" else None,
        hoverinfo=None if name == "this head" else "skip",
    )


def _radius(size: np.ndarray, log: bool) -> np.ndarray:
    """Where a size of 0 … is drawn: as it is, or by its logarithm with three decades from the centre to 1."""
    if not log:
        return size
    with np.errstate(divide="ignore"):
        return np.clip(1 + np.log10(size) / DECADES, 0, None)


def _complex(value: complex) -> str:
    sign = "−" if value.imag < 0 else "+"
    return number(value.real) + (f" {sign} {number(abs(value.imag))} i" if value.imag else "")


def _layout(title: str, definition: str, log: bool) -> dict:
    layout = base_layout(title, definition, height=330)
    unit = "log radius, three decades" if log else "1 is the largest |λ|"
    common = {"range": [-1.25, 1.25], "showgrid": False, "zeroline": True, "tickfont": {"size": LABEL_SIZE}}
    common |= {"tickvals": [] if log else [-1, -0.5, 0, 0.5, 1], "constrain": "domain"}
    layout["height"] += 30
    return layout | {
        "hovermode": "closest",
        "dragmode": False,
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": -0.16, "yanchor": "top"},
        "xaxis": common | {"title": {"text": f"Re λ ({unit})", "standoff": 4}},
        "yaxis": common | {"title": {"text": "Im λ", "standoff": 4}, "scaleanchor": "x"},
    }
