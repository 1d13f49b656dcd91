"""A sweep as the map of its cells: what is drawn for each, which are beyond chance, and where the largest are."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from lens.analysis.interventions.cells import Place
from lens.analysis.interventions.plan import STATUS
from lens.analysis.interventions.results import Sweep, closed, effect
from lens.analysis.interventions.sites import AXES
from lens.analysis.names import Head
from lens.analysis.verdicts import rounding_of

WEAK = 0.1  # of the largest cell
LEAST = 0.01  # of the largest cell: less is not named


@dataclass(frozen=True)
class CellMap:
    """What every cell [row, column] does to the metric. NaN: not computed yet."""

    value: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None
    unit: str  # "" for a share of the gap
    is_share: bool  # of the gap between the two runs; else the change itself
    refused: str  # why no share is shown although one was asked for; "" else
    note: str  # how the interval was made, or why there is none
    rounding: float  # up to this size a cell is no more than rounding

    @property
    def known(self) -> np.ndarray:
        """Which cells are computed, bool [row, column]."""
        return np.isfinite(self.value)

    @property
    def largest(self) -> float:
        """The largest size of any cell; NaN while none is computed."""
        return float(np.abs(self.value[self.known]).max()) if self.known.any() else float("nan")

    @property
    def acts(self) -> np.ndarray:
        """Cells that change the metric by more than rounding."""
        return self.known & (np.abs(np.nan_to_num(self.value)) > self.rounding)

    @property
    def beyond(self) -> np.ndarray:
        """Those of them whose interval excludes 0, each taken alone; none without intervals."""
        if self.low is None or self.high is None:
            return np.zeros_like(self.acts)
        return self.acts & ((self.low > 0) | (self.high < 0))

    @property
    def n_weak(self) -> int:
        """Computed cells with less than a tenth of the largest."""
        return int((np.abs(self.value[self.known]) < WEAK * self.largest).sum())

    def strongest(self, count: int = 1) -> list[tuple[int, int]]:
        """The cells with the largest sizes, the largest first; none below a hundredth of it."""
        size = np.abs(np.nan_to_num(self.value))
        order = np.argsort(-size, axis=None, kind="stable")[:count]
        cells = [divmod(int(i), size.shape[1]) for i in order]
        return [cell for i, cell in enumerate(cells) if not i or size[cell] > LEAST * size.max()]


def place_of(sweep: Sweep, cell: tuple[int, ...]) -> Place:
    """What is replaced in a cell of a sweep over a grid: its coordinates on the axes, and those that the grid fixes."""
    grid = sweep.experiment.grid
    fixed = {axis: getattr(grid, axis) for axis in AXES if axis not in sweep.axes}
    return Place(**fixed, **{axis: entries[i] for (axis, entries), i in zip(sweep.axes.items(), cell)})


def head_of(sweep: Sweep, cell: tuple[int, ...]) -> Head | None:
    """The head of a cell; None for the stream, and for keys and values, which several heads may share."""
    place = place_of(sweep, cell)
    if place.head is None or sweep.experiment.intervention.site in ("k", "v"):
        return None
    return Head(place.layer, place.head)


def reasons(status: UInt8[np.ndarray, "row column pair"]) -> list[list[str]]:
    """Why a cell [row, column] needs no computing; "" where some pair needed it."""
    kinds, skipped = np.min(status, -1), (np.asarray(status) > 0).all(-1)
    return [[STATUS[kind] if skip else "" for kind, skip in zip(*row)] for row in zip(kinds, skipped)]


class Stay(NamedTuple):
    """A run of rows (layers) whose largest cell is in the same column (position)."""

    column: int
    rows: list[int]
    peak: int  # the row with the largest of these cells
    value: float  # that cell


def cell_map(sweep: Sweep, share: bool = True, seed: int = 0) -> CellMap:
    """Share of the gap that each cell closes, or (``share`` off, or the share refused) the change itself."""
    change, rounding = effect(sweep, seed), rounding_of(sweep.base, sweep.other, sweep.values)
    refused = ""
    if share:
        found = closed(sweep, seed)
        if found.value is not None:
            ends = (one.numpy() for one in (found.value, found.low, found.high))
            return CellMap(*ends, "", True, "", found.note, rounding / abs(found.gap))
        refused = found.note
    low, high = (None, None) if change.low is None else (change.low.numpy(), change.high.numpy())
    unit = sweep.experiment.metric.unit
    return CellMap(change.value.numpy(), low, high, unit, False, refused, change.note, rounding)


def stays(value: np.ndarray) -> list[Stay]:
    """Where the largest cell of each row [row, column] is, row by row; rows without any are left out.

    Single rows are left out too, unless no column holds for longer.
    """
    known = np.isfinite(value)
    rows = np.flatnonzero(known.any(axis=1))
    size = np.where(known, np.abs(value), -1)
    runs: list[tuple[int, list[int]]] = []
    for row in rows.tolist():
        column = int(size[row].argmax())
        if runs and runs[-1][0] == column:
            runs[-1][1].append(row)
        else:
            runs.append((column, [row]))
    lasting = [run for run in runs if len(run[1]) > 1] or runs
    peaks = [max(at, key=lambda row: size[row, column]) for column, at in lasting]
    return [Stay(column, at, peak, float(value[peak, column])) for (column, at), peak in zip(lasting, peaks)]


def moves(cells: CellMap, places: list[Stay]) -> bool:
    """Whether information is seen to move from the first of ``places`` to the last.

    Only where shares of a gap are shown, so that there is information, and both places are beyond their own sampling.
    Whether all cells are known, and exactly, is for the caller to ask.
    """
    if not cells.is_share or not places or places[0].column == places[-1].column:
        return False
    return all(bool(cells.beyond[stay.peak, stay.column]) for stay in (places[0], places[-1]))


class PairChanges(NamedTuple):
    """What one cell does to single pairs, in the metric's unit."""

    low: float
    high: float
    median: float
    n: int  # pairs that have the cell


def pair_changes(sweep: Sweep, cell: tuple[int, int]) -> PairChanges | None:
    """None where no pair has this cell."""
    change = np.asarray(sweep.values, np.float64)[cell] - np.asarray(sweep.base, np.float64)
    change = change[np.isfinite(change)]
    if not len(change):
        return None
    return PairChanges(float(change.min()), float(change.max()), float(np.median(change)), len(change))
