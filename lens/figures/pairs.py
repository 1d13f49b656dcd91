"""A number for every pair of heads: what an earlier head passes to a later one."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from lens.figures.drawn import drawn
from lens.figures.theme import CORE, HALO, LABEL_SIZE, NEUTRAL, PIN, base_layout, colour_bar, escape, thin

SIDE = 470  # pixels of the square
Pair = tuple[int, int, int, int]  # sender's layer and head, receiver's layer and head


class Pairs(NamedTuple):
    """What the cells mean. ``values`` and ``extra``: [sender_layer, sender_head, layer, head], NaN where no pair is."""

    name: str  # at the colour bar
    definition: str
    values: np.ndarray
    signed: bool
    extra: dict[str, np.ndarray] = {}  # further numbers of the hover label, by name


@drawn
def pair_matrix(
    pairs: Pairs, *, chosen: Pair | None = None, pinned: Sequence[tuple[int, int]] = (), title: str = ""
) -> go.Figure:
    """Senders down, receivers across, layers bordered; a click gives the pair (see ``selected_pair``).

    Only heads of earlier layers send, so the lower triangle is blank. The chosen pair and its column are framed, in
    orange where its receiver is pinned.
    """
    layers, heads = np.shape(pairs.values)[:2]
    if np.shape(pairs.values) != (layers, heads, layers, heads):
        raise ValueError(f"{pairs.name}: values of shape {np.shape(pairs.values)}; wanted [layer, head, layer, head].")
    n = layers * heads
    z = np.asarray(pairs.values, np.float32).reshape(n, n)
    largest = float(np.nanmax(np.abs(z), initial=0)) or 1.0
    figure = go.Figure(layout=_layout(pairs, title, layers, heads))
    figure.add_trace(
        go.Heatmap(
            z=z,
            zmin=-largest if pairs.signed else 0,
            zmax=largest,
            autocolorscale=True if pairs.signed else None,
            hoverinfo="skip",
            colorbar=colour_bar(escape(pairs.name)),
        )
    )
    figure.add_trace(_points(pairs, n, heads))
    figure.update_layout(shapes=[_borders(layers, heads), *_frames(chosen, pinned, heads, n)])
    return figure


def selected_pair(event: Any) -> Pair | None:
    """The clicked pair, from the value of ``st.plotly_chart(..., on_select="rerun")``; None if there is none."""
    for point in event["selection"]["points"] if event else []:
        found = point.get("customdata")
        if found is not None and len(found) >= 4:
            return tuple(int(found[str(i)]) for i in range(4))
    return None


def _points(pairs: Pairs, n: int, heads: int) -> go.Scatter:
    """An invisible point per pair: clicks on a heatmap never select. Cells are finer than what ``UNSEEN`` can tell."""
    values = np.asarray(pairs.values, np.float32).reshape(n, n)
    senders, receivers = np.nonzero(~np.isnan(values))
    columns = [senders // heads, senders % heads, receivers // heads, receivers % heads, values[senders, receivers]]
    columns += [np.asarray(more, np.float32).reshape(n, n)[senders, receivers] for more in pairs.extra.values()]
    lines = [f"<b>%{{customdata[4]:.3f}}</b> {escape(pairs.name)}"]
    lines += [f"%{{customdata[{5 + i}]:.3f}} {escape(name)}" for i, name in enumerate(pairs.extra)]
    heading = "<b>%{customdata[0]}.%{customdata[1]} → %{customdata[2]}.%{customdata[3]}</b>"
    return go.Scatter(
        x=receivers.astype(np.int16),
        y=senders.astype(np.int16),
        mode="text",
        customdata=np.stack(columns, axis=1).astype(np.float32),
        hovertemplate="<br>".join([heading, *lines]) + "<extra></extra>",
        showlegend=False,
    )


def _borders(layers: int, heads: int) -> dict:
    """One path for all borders between layers, drawn where there are pairs."""
    n = layers * heads
    places = [layer * heads - 0.5 for layer in range(1, layers)]
    path = " ".join(f"M{at},-0.5V{at} M{at},{at}H{n - 0.5}" for at in places)
    return {"type": "path", "path": path, "line": {"color": NEUTRAL, "width": 0.5}, "opacity": 0.5}


def _frames(chosen: Pair | None, pinned: Sequence[tuple[int, int]], heads: int, n: int) -> list[dict]:
    if chosen is None:
        return []
    y, x = chosen[0] * heads + chosen[1], chosen[2] * heads + chosen[3]
    reach = max(0.5, n / 90)  # a cell of a large model is too small to be seen framed
    column = {"x0": x - 0.5, "x1": x + 0.5, "y0": -0.5, "y1": chosen[2] * heads - 0.5, "opacity": 0.7}
    cell = {"x0": x - reach, "x1": x + reach, "y0": y - reach, "y1": y + reach}
    is_pinned = chosen[2:] in pinned
    return [
        {"type": "rect", "line": {"color": PIN if is_pinned else NEUTRAL, "width": 1}, **column},
        {"type": "rect", "line": {"color": PIN if is_pinned else HALO, "width": 4}, **cell},
        {"type": "rect", "line": {"color": CORE, "width": 1.4}, **cell},
    ]


def _layout(pairs: Pairs, title: str, layers: int, heads: int) -> dict:
    n = layers * heads
    ticks = thin([str(layer) for layer in range(layers)], 15)
    common = {
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
        "tickfont": {"size": LABEL_SIZE},
        "tickvals": [layer * heads + (heads - 1) / 2 for layer in ticks[0]],
        "ticktext": ticks[1],
        "constrain": "domain",
    }
    layout = base_layout(title or pairs.name, pairs.definition, height=SIDE)
    layout["margin"] |= {"l": 56, "r": 96, "b": 48}
    y = {"title": {"text": "sender: layer of the earlier head", "standoff": 6}, "range": [n - heads - 0.5, -0.5]}
    x = {"title": {"text": "receiver: layer of the later head", "standoff": 6}, "range": [heads - 0.5, n - 0.5]}
    return layout | {
        "hovermode": "closest",
        "hoverdistance": -1,
        "clickmode": "event+select",
        "dragmode": False,
        "xaxis": common | x,
        "yaxis": common | y | {"scaleanchor": "x"},
    }
