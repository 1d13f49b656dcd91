"""What the Patching page says: definitions, and sentences made from the numbers."""

import numpy as np

from lens.analysis.interventions.map import CellMap, moves, place_of, stays
from lens.figures.theme import number
from lens.ui.pages.patching.request import PatchMap
from lens.ui.shared.tasks import METRIC_WORDS
from lens.ui.shared.wording import capital, sentence

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


def name(result: PatchMap) -> str:
    """What the drawn number is called."""
    if not result.cells.is_share:
        return "change"
    return "share recovered" if result.request.denoising else "share lost"


def definition(result: PatchMap) -> str:
    """What the drawn number is."""
    kind = METRIC_WORDS[result.request.experiment.metric.kind]
    direction = (
        "Denoising: each cell puts one clean activation into the corrupted run."
        if result.request.denoising
        else "Noising: each cell puts one corrupted activation into the clean run."
    )
    if result.cells.is_share:
        return f"{direction} 0: as before, 1: all the way to the other run. Metric: {kind}."
    return f"{direction} Change of the metric: {kind}."


def notice(result: PatchMap) -> str:
    """Where the information sits and where it moves, from what is computed so far."""
    cells = result.cells
    n_known = int(cells.known.sum())
    if not n_known:
        return "Nothing is computed yet."
    so_far = "" if result.sweep.complete else f"So far {n_known} of {cells.value.size} cells are known. "
    if result.approximate:
        so_far = "By the approximation: "
    if cells.largest <= cells.rounding:
        return f"{so_far}No cell changes the metric: the largest, {cells.largest:.1g}, is no more than rounding."
    in_stream = result.request.site.startswith("resid") and list(result.sweep.axes) == ["layer", "pos"]
    return so_far + (_by_layer(result) if in_stream else _largest(result)) + _intervals(cells)


def _by_layer(result: PatchMap) -> str:
    """Where the largest cell of the stream is, layer by layer, and from where to where the information moves.

    That it moves is said only where all cells are known exactly.
    """
    places, columns = stays(result.cells.value), result.columns
    parts = [
        f"in {_span(stay.rows)} at {columns[stay.column]} (up to {number(stay.value)} in layer {stay.peak})"
        for stay in places
    ]
    text = f"Layer by layer the largest cell is {', then '.join(parts[:4])}"
    if result.sweep.complete and not result.approximate and moves(result.cells, places):
        first, last = places[0], places[-1]
        text += (
            f": between layer {first.rows[-1]} and layer {last.rows[0]} the information moves from "
            f"{columns[first.column]} to {columns[last.column]}"
        )
    return f"{text}."


def _span(layers: list[int]) -> str:
    return f"layer {layers[0]}" if len(layers) == 1 else f"layers {layers[0]} to {layers[-1]}"


def _largest(result: PatchMap) -> str:
    cells = result.cells
    unit = f" {cells.unit}" if cells.unit else ""
    parts = [f"{cell_name(result, at)} ({number(float(cells.value[at]))}{unit})" for at in cells.strongest(3)]
    n_known = int(cells.known.sum())
    return f"Largest: {', '.join(parts)}. {cells.n_weak} of {n_known} cells have less than a tenth of the largest."


def _intervals(cells: CellMap) -> str:
    if cells.low is None:
        return ""
    return (
        f" The 95% interval excludes 0 in {int(cells.beyond.sum())} of the {int(cells.acts.sum())} cells that change "
        "it at all, each taken alone: of cells without effect, one in twenty would."
    )


def cell_name(result: PatchMap, cell: tuple[int, int]) -> str:
    """A cell in words: "head 5.2", "layer 3 at 10 Mary"."""
    place = place_of(result.sweep, cell)
    name = f"layer {place.layer}" if place.head is None else f"head {place.layer}.{place.head}"
    return name if place.pos is None else f"{name} at {result.columns[cell[1]]}"


def sources(result: PatchMap) -> str:
    """n, what was computed, and how the interval was made."""
    sweep, n_cells, note = result.sweep, result.sweep.values.size, result.cells.note
    how = (
        "no cell was run"
        if result.approximate
        else f"{result.n_computed:,} of {n_cells:,} runs were needed; the other {n_cells - result.n_computed:,} cannot "
        "change the metric"
    )
    sides = ("corrupted", "clean") if result.request.denoising else ("clean", "corrupted")
    means = (number(float(np.mean(run))) for run in (sweep.base, sweep.other))
    metric = " and ".join(f"{mean} in the {side} run" for mean, side in zip(means, sides))
    note = f" {sentence(note.rstrip('.'))}" if note else ""
    text = f"n = {sweep.values.shape[-1]}. Metric: {metric} ({result.unit}). {capital(how)}; strokes mark cells that "
    text += f"need none.{note}"
    if "pos" in sweep.axes and len({len(ids) for ids in sweep.experiment.pairs.clean}) > 1:
        text += " The prompts differ in length: each position, counted from the start, averages those that have it."
    return text
