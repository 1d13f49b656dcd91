"""The null of OV copying: random rotations of every head, as many as its verdict needs, while the grid fills."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from streamlit.delta_generator import DeltaGenerator
from torch import Tensor

from lens.analysis.copying_verdicts import by_weights
from lens.analysis.names import Head
from lens.analysis.ov_copying import DRAWS as ALL
from lens.analysis.ov_copying import null_band, null_scores_of, with_own
from lens.analysis.sequential_null import COMMON, FIRST, STOPPING, Step, next_step, unclear
from lens.hooked import HookedTransformer
from lens.ui.calls import analyse, call_key, is_kept
from lens.ui.pages.ov_copying import words
from lens.ui.pages.ov_copying.grid import Copying, show_grid
from lens.ui.shared.computing import Cells, compute
from lens.ui.shared.copying_words import Null
from lens.ui.store import to_torch
from lens.ui.view import ViewState
from lens.ui.waiting import started

BLOCK = 10  # rotations computed together
SOON = 3.0  # seconds up to which every head gets all rotations at once
EIG_SECONDS = 8e-4  # of one [64, 64] matrix with its rotation, measured on one slow core


class Filling(NamedTuple):
    """Where a null appears while it is computed: the grid of all heads, and the numbers of the chosen one."""

    grid: DeltaGenerator
    numbers: DeltaGenerator


def is_computed(view: ViewState, copying: Copying, head: Head) -> bool:
    """Whether the first null of all heads, and that of ``head``, would only be read."""
    cores = to_torch(getattr(copying.cores, copying.circuit))
    own = not np.isfinite(copying.chosen.score[head]) or is_kept(*_own_call(view, cores, head))
    rotations = Rotations(cores, view["seed"])
    return own and rotations.cells((0, rotations.first)).are_kept()


def read_null(view: ViewState, copying: Copying, model: HookedTransformer, head: Head, places: Filling) -> Null | None:
    """The null of ``head`` from all rotations, and of all heads from as many as there are; both fill in meanwhile."""
    cores, circuit = to_torch(getattr(copying.cores, copying.circuit)), to_torch(copying.chosen)
    own = _own_scores(view, copying, cores, head, places.numbers)
    largest = circuit.eigenvalues[..., 0].abs()

    def null(draws: np.ndarray, kept: bool) -> Null:
        band = compute(null_band, to_torch(draws), kept=kept)
        if own is not None:
            band = compute(with_own, to_torch(band), head, to_torch(own), kept=kept)
        return Null(band, compute(by_weights, circuit.score, largest, to_torch(band), kept=kept))

    def show(draws: np.ndarray) -> None:
        with places.grid.container():  # a key of its own each time: one key is drawn once in a run
            show_grid(view, copying, model, null(draws, kept=False), key=f"ov:grid:{len(draws)}")

    rotations = Rotations(cores, view["seed"], show)
    draws = rotations.all_heads(rotations.first)
    if FIRST == len(draws) == rotations.first:
        draws = _until_clear(rotations, draws, circuit.score, largest)
    return null(draws, kept=True) if len(draws) else None


def _own_call(view: ViewState, cores: Tensor, head: Head) -> tuple:
    """What gives the scores of one head under all rotations, and its arguments."""
    return null_scores_of, (0, ALL), cores, view["seed"], (head,)


def _own_scores(
    view: ViewState, copying: Copying, cores: Tensor, head: Head, place: DeltaGenerator
) -> np.ndarray | None:
    """Scores of the chosen head under all rotations [draw], the same that it has among all heads."""
    if not np.isfinite(copying.chosen.score[head]):
        return None
    own = analyse(*_own_call(view, cores, head))[:, *head]
    place.caption(words.own_words(copying.chosen, own, head))
    return own


def _until_clear(rotations: "Rotations", draws: np.ndarray, score: Tensor, largest: Tensor) -> np.ndarray:
    """More rotations, of the heads whose verdict is not clear; then, if they are asked for, all of all heads."""
    step = next_step(score, largest, to_torch(draws))
    n_unclear = int(unclear(score, largest, to_torch(draws)).sum())
    most = rotations.seconds(COMMON - FIRST) + rotations.seconds(ALL - COMMON, n_unclear)
    key = f"ov-{call_key(next_step, (score, largest, to_torch(draws)), {})}"
    if not started(f"{key}-clear", most, f"{FIRST} rotations of every head so far. {STOPPING}"):
        return draws
    while step is not None:
        draws = np.concatenate([draws, rotations.some(step, draws)])
        if len(draws) < step.draws[1]:
            return draws
        step = next_step(score, largest, to_torch(draws))
    clear = f"Every verdict is clear or rests on {ALL} rotations; the other bands are from {COMMON} rotations or more."
    if not started(f"{key}-all", rotations.seconds(ALL - COMMON), clear):
        return draws
    every = rotations.all_heads(ALL)
    return every if len(every) == ALL else draws


class Rotations(NamedTuple):
    """Rotations of the cores of all heads, computed ``BLOCK`` at a time; ``show(draws)`` is called while they come."""

    cores: Tensor
    seed: int
    show: Callable[[np.ndarray], None] | None = None

    @property
    def first(self) -> int:
        """Rotations that every head gets at once: all where that is soon done."""
        return ALL if self.seconds(ALL) <= SOON else FIRST

    def seconds(self, n: int, n_heads: int | None = None) -> float:
        """Rough time of ``n`` rotations of ``n_heads`` heads, by default all."""
        n_heads = self.cores.shape[0] * self.cores.shape[1] if n_heads is None else n_heads
        return n * n_heads * EIG_SECONDS * (self.cores.shape[-1] / 64) ** 3

    def all_heads(self, n: int) -> np.ndarray:
        """The first ``n`` rotations of every head, or those before a cancel."""
        return self._draws(self.cells((0, n)), np.empty((0, *self.cores.shape[:2]), np.float32))

    def some(self, step: Step, before: np.ndarray) -> np.ndarray:
        """The rotations of ``step``, or those before a cancel; they follow ``before``."""
        return self._draws(self.cells(step.draws, *([] if step.heads is None else [step.heads])), before)

    def cells(self, draws: tuple[int, int], *heads: tuple[Head, ...]) -> Cells:
        """The blocks of these rotations, of some heads or of all."""
        blocks = [(start, min(start + BLOCK, draws[1])) for start in range(*draws, BLOCK)]
        return Cells(null_scores_of, blocks, (self.cores, self.seed, *heads))

    def _draws(self, cells: Cells, before: np.ndarray) -> np.ndarray:
        done = cells.sweep(lambda done: self.show(np.concatenate([before, *done.values()]))).done
        return np.concatenate([before[:0], *done.values()])
