"""What the Patching page says: definitions, and sentences made from the numbers."""

from typing import Any

import numpy as np

from lens.analysis.interventions.map import CellMap, moves, stays
from lens.analysis.interventions.plan import STATUS
from lens.figures.theme import number as said
from lens.ui.shared.tasks import METRIC_WORDS

MISREADING = (
    "A bright cell says that this activation carries the difference between these two prompts, not that it computes "
    "it: in a stream the same information shows in every layer that it passes. A dark cell does not say “unused”: "
    "another path may take over, and whatever both prompts share is invisible here. Denoising finds what is "
    "sufficient, noising what is necessary; for an AND or an OR of two heads they disagree."
)
APPROXIMATION = (
    "APPROXIMATION: first order in what is replaced, from one forward and one backward pass. Exact values differ most "
    "where the change is large."
)
FORMULA = (
    r"\text{share} = \frac{\sum_i \left( m_i^{\text{changed}} - m_i^{\text{before}} \right)}"
    r"{\sum_i \left( m_i^{\text{other run}} - m_i^{\text{before}} \right)}"
)
FORMULA_WHERE = (
    "m is the metric, i numbers the pairs, *before* is the run that is changed (corrupted in denoising, clean in "
    "noising), *other run* is where the activation comes from. 0: nothing happens, and a cell that cannot matter gives "
    "exactly 0. 1: the metric is all the way at the other run. It is a ratio of sums and is not clipped. Sources: Meng "
    "et al. 2022 (causal tracing), Wang et al. 2022 (path patching), Heimersheim & Nanda 2024 (how to read it)."
)


def name(look: Any, cells: CellMap) -> str:
    """What the drawn number is called."""
    if not cells.is_share:
        return "change"
    return "share recovered" if look.into == "corrupted" else "share lost"


def definition(look: Any, cells: CellMap) -> str:
    """What the drawn number is."""
    direction = {
        "corrupted": "Denoising: each cell puts one clean activation into the corrupted run.",
        "clean": "Noising: each cell puts one corrupted activation into the clean run.",
    }[look.into]
    kind = METRIC_WORDS[look.experiment.metric.kind]
    if cells.is_share:
        return f"{direction} 0: as before, 1: all the way to the other run. Metric: {kind}."
    return f"{direction} Change of the metric: {kind}."


def notice(found: Any, columns: list[str]) -> str:
    """Where the information sits and where it moves, from what is computed so far."""
    cells = found.cells
    n_known = int(cells.known.sum())
    if not n_known:
        return "Nothing is computed yet."
    so_far = "" if found.complete else f"So far {n_known} of {cells.value.size} cells are known. "
    if found.approximate:
        so_far = "By the approximation: "
    if cells.largest <= cells.rounding:
        return f"{so_far}No cell changes the metric: the largest, {cells.largest:.1g}, is no more than rounding."
    in_stream = found.look.site.startswith("resid") and list(found.sweep.axes) == ["layer", "pos"]
    text = _by_layer(found, columns) if in_stream else _largest(found, columns)
    return so_far + text + _intervals(cells)


def _by_layer(found: Any, columns: list[str]) -> str:
    """Where the largest cell of the stream is, layer by layer, and from where to where the information moves.

    That it moves is said only where all cells are known exactly.
    """
    places = stays(found.cells.value)
    parts = [
        f"in {_span(one.rows)} at {columns[one.column]} (up to {said(one.value)} in layer {one.peak})" for one in places
    ]
    text = f"Layer by layer the largest cell is {', then '.join(parts[:4])}"
    if found.complete and not found.approximate and moves(found.cells, places):
        first, last = places[0], places[-1]
        text += (
            f": between layer {first.rows[-1]} and layer {last.rows[0]} the information moves from "
            f"{columns[first.column]} to {columns[last.column]}"
        )
    return f"{text}."


def _span(layers: list[int]) -> str:
    return f"layer {layers[0]}" if len(layers) == 1 else f"layers {layers[0]} to {layers[-1]}"


def _largest(found: Any, columns: list[str]) -> str:
    cells = found.cells
    unit = f" {cells.unit}" if cells.unit else ""
    places = cells.strongest(3)
    parts = [f"{cell_name(found, one, columns)} ({said(float(cells.value[one]))}{unit})" for one in places]
    n_known = int(cells.known.sum())
    return f"Largest: {', '.join(parts)}. {cells.n_weak} of {n_known} cells have less than a tenth of the largest."


def _intervals(cells: CellMap) -> str:
    if cells.low is None:
        return ""
    return (
        f" The 95% interval excludes 0 in {int(cells.beyond.sum())} of the {int(cells.acts.sum())} cells that change "
        "it at all, each taken alone: of cells without effect, one in twenty would."
    )


def cell_name(found: Any, place: tuple[int, int], columns: list[str]) -> str:
    """A cell in words: "head 5.2", "layer 3 at 10 Mary"."""
    axes = found.sweep.axes
    row, column = place
    rows = list(axes)
    if rows == ["layer", "head"]:
        return f"head {axes['layer'][row]}.{axes['head'][column]}"
    if rows == ["head", "pos"]:
        return f"head {found.look.experiment.grid.layer}.{axes['head'][row]} at {columns[column]}"
    return f"layer {axes['layer'][row]} at {columns[column]}"


def reasons(status: np.ndarray) -> list[list[str]]:
    """Why a cell [row, column] needs no computing; "" where some pair of ``status`` [row, column, pair] needed it."""
    none = (np.asarray(status) > 0).all(-1)
    kinds = np.asarray(status).min(-1)
    return [[STATUS[kind] if skip else "" for kind, skip in zip(*row)] for row in zip(kinds, none)]


def sources(found: Any) -> str:
    """n, what was computed, and how the interval was made."""
    n, unit = found.sweep.values.shape[-1], found.look.experiment.metric.unit
    skipped = found.n_cells - found.n_computed
    how = f"{found.n_computed:,} of {found.n_cells:,} runs were needed; the other {skipped:,} cannot change the metric"
    if found.approximate:
        how = "no cell was run"
    sides = ("corrupted", "clean") if found.look.into == "corrupted" else ("clean", "corrupted")
    means = [said(float(np.mean(one))) for one in (found.sweep.base, found.sweep.other)]
    metric = " and ".join(f"{mean} in the {side} run" for mean, side in zip(means, sides))
    note = found.cells.note
    note = f" {note[:1].upper()}{note[1:].rstrip('.')}." if note else ""
    text = f"n = {n}. Metric: {metric} ({unit}). {how[:1].upper()}{how[1:]}; strokes mark cells that need none.{note}"
    if "pos" in found.sweep.axes and len({len(ids) for ids in found.look.experiment.pairs.clean}) > 1:
        text += " The prompts differ in length: each position, counted from the start, averages those that have it."
    return text
