"""A number for every pair of heads: what an earlier head passes to a later one."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from lens.figures.drawn import drawn_as
from lens.figures.theme import CORE, HALO, LABEL_SIZE, NEUTRAL, PIN, base_layout, colour_bar, escape, thin
from lens.figures.wire import Spec, narrow, round_numbers, short_form

NAMES = "%{customdata[0]}.%{customdata[1]}", "%{customdata[2]}.%{customdata[3]}"
SIDE = 470  # pixels of the square
LARGEST = 80  # pixels of a cell, at most
NAMED = 24  # heads whose names fit beside their rows; of more, the layers are named
MANY = 10_000  # pairs of a map that are all sent with all their numbers
STRONG = 100  # pairs of a larger map that are, wherever they stand
NEAR = 8  # pixels from which such a pair answers
# Of a block of a large map: what differs between them, and what a template does not set.
OWN = ("type", "z", "x0", "colorbar", "zmin", "zmax", "autocolorscale")
LATER = "<br>its other numbers and a click: choose %{x}"
Pair = tuple[int, int, int, int]  # sender's layer and head, receiver's layer and head


class Pairs(NamedTuple):
    """What the cells mean. ``values`` and ``extra``: [sender_layer, sender_head, layer, head], NaN where no pair is."""

    name: str  # at the colour bar
    definition: str
    values: np.ndarray
    signed: bool
    extra: dict[str, np.ndarray] = {}  # further numbers of the hover label, by name


def _in_blocks(figure: go.Figure) -> Spec:
    """The map as a block for each layer of receivers: what is above the diagonal is not sent, and the pairs, most of
    them, are counted in bytes.

    Numbers are sent in thousandths, as their labels show them: 1234 is read as "1.234" where the separator of thousands
    is a point. A pair is named by the labels of its axes, and by where it stands when it is clicked. Colours are sent
    in 255 steps; a map of more than ``MANY`` pairs is sent as ``_coarse``. Nothing changes where a number is not finite
    or does not fit.
    """
    spec = short_form(figure)
    heat, points = spec["data"]
    chosen = points.pop("meta", None)
    ids, numbers = np.split(np.asarray(points["customdata"], np.float64), [4], axis=1)
    n, layer, heads = len(heat["z"]), ids[:, 2], int(ids[:, 3].max(initial=0)) + 1
    whole = len(ids) == n * (n - heads) // 2  # no pair is missing
    if not whole or not np.isfinite(numbers).all() or np.abs(numbers).max() >= 1000:
        return spec
    _name_by_axes(spec, n, heads)
    points["customdata"] = (np.sign(numbers) * np.floor(1000 * np.abs(numbers) + 0.5)).astype(np.int64)
    if len(ids) > MANY:
        return _coarse(spec, heads, ids[:, 2] * heads + ids[:, 3] == chosen)
    levels = 127 if heat["zmin"] < 0 else 255
    z = np.rint(levels / heat["zmax"] * np.asarray(heat["z"]))
    blocks = _blocks(heat, z, heads, levels)
    for block in blocks:
        block["z"] = block["z"].astype(np.int8 if levels == 127 else np.uint8)
    return spec | {"data": [*blocks, *(_points_of(points, layer == number) for number in range(1, n // heads))]}


def _coarse(spec: Spec, heads: int, chosen: np.ndarray) -> Spec:
    """A map whose cells are a pixel or two: each says its number, and the pairs that stand out say all and are clicked.

    These are the strongest pair of every two layers and of every receiver, the ``STRONG`` strongest of all, and every
    pair of the ``chosen`` receiver. One of them within ``NEAR`` pixels answers before the cell under the mouse, so that
    the map as it stands is read by its strong pairs, and what is zoomed into cell by cell.
    """
    heat, points = spec["data"]
    x, y, drawn = np.asarray(points["x"], int), np.asarray(points["y"], int), points["customdata"][:, 0]
    order = np.argsort(-drawn, kind="stable")
    answers = chosen.copy()
    answers[order[:STRONG]] = True
    for group in (x // heads * len(heat["z"]) + y // heads, x):
        answers[order[np.unique(group[order], return_index=True)[1]]] = True
    column, less = _without_sign(points["customdata"], 1000 * heat["zmax"])
    z = np.zeros(np.shape(heat["z"]), np.int64)
    z[y, x] = points["customdata"][:, column]
    blocks = _blocks(heat, z, heads, 1000 * heat["zmax"], less)
    number = points["hovertemplate"].removesuffix("<extra></extra>").split("<br>")[1 + column]
    number = number.replace(f"customdata[{column}]", "z") + (f", drawn less {less / 1000:.3f}" if less else "")
    common = {name: value for name, value in blocks[1].items() if name not in (*OWN, "hoverinfo")}
    common["hovertemplate"] = f"{_heading('%{y}', '%{x}')}<br>{number}{LATER}<extra></extra>"
    blocks = [
        {name: value for name, value in block.items() if name in OWN} | {"z": narrow(block["z"])} for block in blocks
    ]
    blocks[0]["showscale"] = True
    spec["layout"]["template"]["data"]["heatmap"] = [common]  # what all blocks share is sent once
    spec["layout"]["hoverdistance"] = NEAR
    return spec | {"data": [*blocks, _points_of(points, answers)]}


def _without_sign(numbers: np.ndarray, largest: float) -> tuple[int, int]:
    """A column that is the first plus a constant and never negative, and that constant; else the first, and 0.

    What has no sign fits a byte more often, and takes fewer characters in JSON. The constant stays below ``largest``:
    colours of two signs are drawn where the range of a map has both.
    """
    for column in range(1, numbers.shape[1]):
        more = numbers[:, column] - numbers[:, 0]
        if np.ptp(more) <= 1 and numbers[:, column].min() >= 0 and np.median(more) < largest:
            return column, int(np.median(more))
    return 0, 0


def _blocks(heat: Spec, z: np.ndarray, heads: int, largest: float, above: float = 0) -> list[Spec]:
    """A map for each layer of receivers, of ``z`` between −``largest``, or 0, and ``largest``; the first has the bar.

    All of ``z`` is larger by ``above`` than what is drawn.
    """
    ticks = round_numbers(heat["zmax"])
    ticks = [-tick for tick in ticks[:0:-1]] + list(ticks) if heat["zmin"] < 0 else ticks
    bar = heat["colorbar"] | {"tickvals": [largest / heat["zmax"] * tick + above for tick in ticks]}
    bar |= {"ticktext": [f"{tick:g}".replace("-", "−") for tick in ticks]}
    common = {name: value for name, value in heat.items() if name != "colorbar"}
    common |= {"zmin": round(above - largest if heat["zmin"] < 0 else above, 3), "zmax": round(above + largest, 3)}
    common |= {"dx": 1, "y0": 0, "dy": 1}
    return [
        common | {"z": z[:at, at : at + heads], "x0": at} | ({"showscale": False} if at > heads else {"colorbar": bar})
        for at in range(heads, len(z), heads)
    ]


def _points_of(points: Spec, some: np.ndarray) -> Spec:
    """Some of the points, in as few bytes."""
    return points | {name: narrow(np.asarray(points[name])[some]) for name in ("x", "y", "customdata")}


def _name_by_axes(spec: Spec, n: int, heads: int) -> None:
    """Labels of points name their pair by the labels of the axes, and read their numbers in thousandths."""
    points, names = spec["data"][1], {f"{i}.0": f"{i // heads}.{i % heads}" for i in range(n)}
    template = _heading("%{y}", "%{x}") + points["hovertemplate"].removeprefix(_heading(*NAMES))
    for column in range(np.shape(points["customdata"])[1] - 4):
        template = template.replace(f"customdata[{4 + column}]:.3f", f"customdata[{column}]:05,d")
    points["hovertemplate"] = template
    for axis in (spec["layout"]["xaxis"], spec["layout"]["yaxis"]):
        # A pair on a tick would be named by the text of the tick: they stand a little beside it.
        axis |= {"hoverformat": ".1f", "labelalias": names, "tickvals": [at + 0.1 for at in axis["tickvals"]]}
    spec["layout"]["separators"] = ".."


def _heading(sender: str, receiver: str) -> str:
    return f"<b>{sender} → {receiver}</b>"


@drawn_as(_in_blocks)
def pair_matrix(
    pairs: Pairs,
    *,
    chosen: Pair | None = None,
    pinned: Sequence[tuple[int, int]] = (),
    title: str = "",
    largest: float = 0.0,
    side: int = SIDE,
) -> go.Figure:
    """Senders down, receivers across, layers bordered; a click gives the pair (see ``selected_pair``).

    Only heads of earlier layers send, so the lower triangle is blank. The chosen pair and its column are framed, in
    orange where its receiver is pinned. ``largest``: the end of the colour scale, that of the values unless it is
    given. ``side``: pixels of the square.
    """
    layers, heads = np.shape(pairs.values)[:2]
    if np.shape(pairs.values) != (layers, heads, layers, heads):
        raise ValueError(f"{pairs.name}: values of shape {np.shape(pairs.values)}; wanted [layer, head, layer, head].")
    n = layers * heads
    z = np.asarray(pairs.values, np.float32).reshape(n, n)
    largest = largest or float(np.nanmax(np.abs(z), initial=0)) or 1.0
    figure = go.Figure(layout=_layout(pairs, title, (layers, heads), side))
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
    receiver = None if chosen is None else chosen[2] * heads + chosen[3]
    figure.add_trace(_points(pairs, n, heads).update(meta=receiver))
    figure.update_layout(shapes=[_borders(layers, heads), *_frames(chosen, pinned, heads, n)])
    return figure


def selected_pair(event: Any, heads: int = 1) -> Pair | None:
    """The clicked pair, from the value of ``st.plotly_chart(..., on_select="rerun")``; None if there is none.

    ``heads`` of a layer tell which pair a point is that does not say so itself.
    """
    for point in event["selection"]["points"] if event else []:
        found = point.get("customdata") or ()
        if len(found) >= 4:
            return tuple(int(found[str(i)]) for i in range(4))
        return *divmod(int(point["y"]), heads), *divmod(int(point["x"]), heads)
    return None


def _points(pairs: Pairs, n: int, heads: int) -> go.Scatter:
    """An invisible point per pair: clicks on a heatmap never select. Cells are finer than what ``UNSEEN`` can tell."""
    values = np.asarray(pairs.values, np.float32).reshape(n, n)
    senders, receivers = np.nonzero(~np.isnan(values))
    columns = [senders // heads, senders % heads, receivers // heads, receivers % heads, values[senders, receivers]]
    columns += [np.asarray(more, np.float32).reshape(n, n)[senders, receivers] for more in pairs.extra.values()]
    lines = [f"<b>%{{customdata[4]:.3f}}</b> {escape(pairs.name)}"]
    lines += [f"%{{customdata[{5 + i}]:.3f}} {escape(name)}" for i, name in enumerate(pairs.extra)]
    return go.Scatter(
        x=receivers.astype(np.int16),
        y=senders.astype(np.int16),
        mode="text",
        customdata=np.stack(columns, axis=1).astype(np.float32),
        hovertemplate="<br>".join([_heading(*NAMES), *lines]) + "<extra></extra>",
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


def _layout(pairs: Pairs, title: str, shape: tuple[int, int], side: int) -> dict:
    layers, heads = shape
    n = layers * heads
    ticks = thin([str(layer) for layer in range(layers)], 15)
    places, texts, of = [layer * heads + (heads - 1) / 2 for layer in ticks[0]], ticks[1], ": layer of the "
    if n <= NAMED:
        places, texts, of = list(range(n)), [f"{at // heads}.{at % heads}" for at in range(n)], ": "
    common = {
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
        "tickfont": {"size": LABEL_SIZE},
        "tickvals": places,
        "ticktext": texts,
        "constrain": "domain",
    }
    layout = base_layout(title or pairs.name, pairs.definition, height=min(side, max(200, LARGEST * (n - heads))))
    layout["margin"] |= {"l": 56, "r": 96, "b": 48}
    y = {"title": {"text": f"sender{of}earlier head", "standoff": 6}, "range": [n - heads - 0.5, -0.5]}
    x = {"title": {"text": f"receiver{of}later head", "standoff": 6}, "range": [heads - 0.5, n - 0.5]}
    return layout | {
        "hovermode": "closest",
        "hoverdistance": -1,
        "clickmode": "event+select",
        "dragmode": False,
        "xaxis": common | x,
        "yaxis": common | y | {"scaleanchor": "x"},
    }
