"""Every head of a model as a small map, in one image."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from lens.figures.drawn import drawn
from lens.figures.grid import Cell, click_layer, is_wide, keep_shape, make_margin, name_pins, outlines
from lens.figures.theme import LABEL_SIZE, NEUTRAL, base_layout

GAP = 2
# With more maps side by side a label would cover its map; the axes and the hover label name it.
MAX_LABELLED = 20
LARGEST = 130  # pixels of a map
DEFINITION = "Each map is one head's attention, query down and key across, scaled to its own largest value."


class Mosaic(NamedTuple):
    """All maps in one image: the tile of head [layer, head] covers ``tile`` pixels from its corner on."""

    image: np.ndarray  # uint8 [y, x]; 255 is the largest attention of that tile
    tile: int  # pixels along one side of a map
    largest: np.ndarray  # [layer, head]: the attention that 255 stands for


def mosaic(patterns: np.ndarray, *, tile: int = 24, hide_first: bool = True) -> Mosaic:
    """Tiles of ``patterns[layer, head, query, key]``; a pixel is the largest value of its block, so thin stripes stay.

    Prompts shorter than ``tile`` keep one pixel per cell. Each tile is scaled to its own largest value.
    """
    if np.ndim(patterns) != 4 or np.shape(patterns)[2] != np.shape(patterns)[3]:
        raise ValueError(f"Patterns of shape {np.shape(patterns)}; wanted [layer, head, query, key] with query = key.")
    pixels = _shrink(np.array(patterns, np.float32), tile, hide_first)
    layers, heads, side, _ = pixels.shape
    largest = pixels.max(axis=(2, 3))
    scaled = np.round(255 * pixels / np.where(largest > 0, largest, 1)[..., None, None]).astype(np.uint8)
    across = is_wide((layers, heads))
    tiles = scaled.transpose(1, 0, 2, 3) if across else scaled
    rows, columns = tiles.shape[:2]
    image = np.zeros((rows, side + GAP, columns, side + GAP), np.uint8)
    image[:, :side, :, :side] = tiles.transpose(0, 2, 1, 3)
    return Mosaic(image.reshape(rows * (side + GAP), columns * (side + GAP)), side, largest)


@drawn
def thumbnails(
    patterns: np.ndarray,
    *,
    title: str = "Every head",
    pinned: Sequence[Cell] = (),
    current: Cell | None = None,
    tile: int = 24,
    hide_first: bool = True,
) -> go.Figure:
    """One clickable map per head of ``patterns[layer, head, query, key]``; ``selected_cell`` gives (layer, head).

    Pinned heads and the current one are outlined as on a grid.
    """
    image, side, largest = mosaic(patterns, tile=tile, hide_first=hide_first)
    layers, heads = largest.shape
    across = is_wide((layers, heads))
    columns, rows = (layers, heads) if across else (heads, layers)
    note = " The first key is left out." if hide_first else ""
    figure = go.Figure(layout=_layout(title, DEFINITION + note, (rows, columns), across))
    keep_shape(figure, LARGEST * columns)
    step = 1 / (side + GAP)
    # Pixel centres in units of tiles: tile (row, column) covers column ± 0.5 but for the gap.
    start = -0.5 + step * (1 + GAP) / 2
    pixels = {"x0": start, "y0": start, "dx": step, "dy": step}
    figure.add_trace(go.Heatmap(z=image, zmin=0, zmax=255, showscale=False, hoverinfo="skip", **pixels))
    if columns <= MAX_LABELLED:
        figure.add_trace(_labels(layers, heads, across, 0.5 - step * (1 + GAP) / 2))
    texts = [
        [f"<b>head {layer}.{head}</b><br>largest attention {largest[layer, head]:.3f}" for head in range(heads)]
        for layer in range(layers)
    ]
    figure.add_trace(click_layer(texts, across))
    half = 0.5 - step * GAP / 2
    frames = _frames([(layer, head) for layer in range(layers) for head in range(heads)], across, half)
    shapes = [{"type": "path", "path": frames, "line": {"color": NEUTRAL, "width": 0.5}, "opacity": 0.6}]
    figure.update_layout(shapes=shapes + outlines(pinned, current, across, half))
    name_pins(figure, pinned)
    return figure


def _shrink(patterns: np.ndarray, tile: int, hide_first: bool) -> np.ndarray:
    if hide_first:
        patterns = patterns[:, :, 1:, 1:] if patterns.shape[-1] > 1 else patterns
    layers, heads, size, _ = patterns.shape
    block = -(-size // tile)
    side = -(-size // block)
    padded = np.zeros((layers, heads, side * block, side * block), np.float32)
    padded[:, :, :size, :size] = patterns
    return padded.reshape(layers, heads, side, block, side, block).max(axis=(3, 5))


def _layout(title: str, definition: str, shape: tuple[int, int], across: bool) -> dict:
    rows, columns = shape
    # Square at the width of a wide page (about 1050 px of plot).
    height = rows * int(np.clip(1050 / columns, 34, LARGEST))
    common = {"showgrid": False, "zeroline": False, "ticks": "", "tickfont": {"size": LABEL_SIZE}, "automargin": True}
    names = ("layer", "head") if across else ("head", "layer")
    layout = base_layout(title, definition, height=height)
    make_margin(layout)
    return layout | {
        "hovermode": "closest",
        "hoverdistance": -1,
        "clickmode": "event+select",
        "dragmode": False,
        "xaxis": common
        | {"title": {"text": names[0], "standoff": 6}, "range": [-0.5, columns - 0.5], "tickvals": np.arange(columns)},
        "yaxis": common
        | {"title": {"text": names[1], "standoff": 6}, "range": [rows - 0.5, -0.5], "tickvals": np.arange(rows)},
    }


def _labels(layers: int, heads: int, across: bool, inside: float) -> go.Scatter:
    """Head names in the upper right of each map, which a causal pattern leaves empty: one trace, not one note each."""
    layer, head = (index.ravel() for index in np.indices((layers, heads)))
    x, y = (layer, head) if across else (head, layer)
    return go.Scatter(
        x=(x + inside).astype(np.float32),
        y=(y - inside).astype(np.float32),
        mode="text",
        text=[f"{a}.{b}" for a, b in zip(layer, head)],
        textposition="bottom left",
        textfont={"size": LABEL_SIZE},
        hoverinfo="skip",
        showlegend=False,
    )


def _frames(cells: Sequence[Cell], across: bool, half: float) -> str:
    parts = []
    for layer, head in cells:
        x, y = (layer, head) if across else (head, layer)
        parts.append(f"M{x - half:.3f},{y - half:.3f}H{x + half:.3f}V{y + half:.3f}H{x - half:.3f}Z")
    return "".join(parts)
