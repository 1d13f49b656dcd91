"""What the Patching page says: definitions, and sentences made from the numbers."""

from typing import Any, NamedTuple

import numpy as np

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


class Numbers(NamedTuple):
    """What is drawn, per cell [row, column], and why."""

    name: str
    unit: str
    value: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None
    refused: str  # why there is no share of the gap; "" if it is shown
    note: str  # how the interval was made, or why there is none
    definition: str
    rounding: float  # up to this size a cell is no more than rounding


def numbers_of(look: Any, sweep: Any, seed: int = 0) -> Numbers:
    """Share of the gap that is closed, or the change itself; a share that is refused becomes the change."""
    from lens.analysis.interventions import closed, effect
    from lens.analysis.verdicts import rounding_of

    change, rounding = effect(sweep, seed), rounding_of(sweep.base, sweep.other, sweep.values)
    metric = look.experiment.metric
    direction = {
        "corrupted": "Denoising: each cell puts one clean activation into the corrupted run.",
        "clean": "Noising: each cell puts one corrupted activation into the clean run.",
    }[look.into]
    kind = METRIC_WORDS[metric.kind]
    refused = ""
    if look.shown == "share":
        share = closed(sweep, seed)
        refused = share.note if share.value is None else ""
        if share.value is not None:
            value, low, high = (one.numpy() for one in share[:3])
            words = f"{direction} 0: as before, 1: all the way to the other run. Metric: {kind}."
            name = "share recovered" if look.into == "corrupted" else "share lost"
            return Numbers(name, "", value, low, high, "", share.note, words, rounding / abs(share.gap))
    ends = (None, None) if change.low is None else (change.low.numpy(), change.high.numpy())
    words = f"{direction} Change of the metric: {kind}."
    return Numbers("change", metric.unit, change.value.numpy(), *ends, refused, change.note, words, rounding)


def notice(found: Any, columns: list[str]) -> str:
    """Where the information sits and where it moves, from what is computed so far."""
    value = found.numbers.value
    if not np.isfinite(value).any():
        return "Nothing is computed yet."
    so_far = "" if found.complete else f"So far {int(np.isfinite(value).sum())} of {value.size} cells are known. "
    if found.approximate:
        so_far = "By the approximation: "
    numbers = found.numbers
    largest = float(np.nanmax(np.abs(value)))
    if largest <= numbers.rounding:
        return f"{so_far}No cell changes the metric: the largest, {largest:.1g}, is no more than rounding."
    rows = list(found.sweep.axes)
    if found.look.site.startswith("resid") and rows == ["layer", "pos"]:
        text = _moves(found, columns)
    else:
        text = _largest(found, columns)
    return so_far + text + _intervals(numbers)


def _moves(found: Any, columns: list[str]) -> str:
    """Runs of layers whose largest cell is at the same position, the shift between the first and the last of them.

    That information moves is said only where all cells are known exactly, the two runs differ, so that there is
    information, and both places are beyond their own sampling.
    """
    value = found.numbers.value
    known = np.isfinite(value).any(axis=1)
    layers = np.flatnonzero(known)
    best = np.nanargmax(np.where(np.isfinite(value), np.abs(value), -1)[layers], axis=1)
    runs: list[tuple[int, list[int]]] = []
    for layer, column in zip(layers.tolist(), best.tolist()):
        if runs and runs[-1][0] == column:
            runs[-1][1].append(layer)
        else:
            runs.append((column, [layer]))
    shown = [run for run in runs if len(run[1]) > 1] or runs
    parts, peaks = [], []
    for column, at in shown:
        peak = max(at, key=lambda layer: abs(value[layer, column]))
        peaks.append((peak, column))
        parts.append(f"in {_span(at)} at {columns[column]} (up to {said(float(value[peak, column]))} in layer {peak})")
    text = f"Layer by layer the largest cell is {', then '.join(parts[:4])}"
    if shown[0][0] != shown[-1][0] and found.complete and all(_beyond(found, one) for one in (peaks[0], peaks[-1])):
        text += (
            f": between layer {shown[0][1][-1]} and layer {shown[-1][1][0]} the information moves from "
            f"{columns[shown[0][0]]} to {columns[shown[-1][0]]}"
        )
    return f"{text}."


def _beyond(found: Any, cell: tuple[int, int]) -> bool:
    """Whether a cell's share of a gap that is there is itself other than 0."""
    numbers = found.numbers
    return not found.approximate and numbers.name.startswith("share") and bool(_apart(numbers)[cell])


def _apart(numbers: Numbers) -> np.ndarray:
    """Cells whose interval excludes 0 and that are more than rounding."""
    return ((numbers.low > 0) | (numbers.high < 0)) & (np.abs(np.nan_to_num(numbers.value)) > numbers.rounding)


def _span(layers: list[int]) -> str:
    return f"layer {layers[0]}" if len(layers) == 1 else f"layers {layers[0]} to {layers[-1]}"


def _largest(found: Any, columns: list[str]) -> str:
    numbers, value = found.numbers, found.numbers.value
    size = np.abs(np.nan_to_num(value))
    order = [index for index in np.argsort(-size, axis=None, kind="stable")[:3] if size.flat[index] > 0.01 * size.max()]
    places = [tuple(int(x) for x in np.unravel_index(index, value.shape)) for index in order]
    unit = f" {numbers.unit}" if numbers.unit else ""
    parts = [f"{cell_name(found, place, columns)} ({said(float(value[place]))}{unit})" for place in places]
    known = np.isfinite(value)
    weak = int((size[known] < 0.1 * size.max()).sum())
    return f"Largest: {', '.join(parts)}. {weak} of {known.sum()} cells have less than a tenth of the largest."


def _intervals(numbers: Numbers) -> str:
    if numbers.low is None:
        return ""
    known = np.isfinite(numbers.value)
    there = known & (np.abs(np.nan_to_num(numbers.value)) > numbers.rounding)
    return (
        f" The 95% interval excludes 0 in {int(_apart(numbers).sum())} of the {int(there.sum())} cells that change it "
        "at all, each taken alone: of cells without effect, one in twenty would."
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
    from lens.analysis.interventions import STATUS

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
    numbers = found.numbers
    note = f" {numbers.note[:1].upper()}{numbers.note[1:].rstrip('.')}." if numbers.note else ""
    text = f"n = {n}. Metric: {metric} ({unit}). {how[:1].upper()}{how[1:]}; strokes mark cells that need none.{note}"
    if "pos" in found.sweep.axes and len({len(ids) for ids in found.look.experiment.pairs.clean}) > 1:
        text += " The prompts differ in length: each position, counted from the start, averages those that have it."
    return text
