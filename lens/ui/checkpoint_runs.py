"""Training runs for all visitors: which models have checkpoints here, and every checkpoint measured once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from lens.analysis.names import Head
from lens.load import catalogue
from lens.load.files import CONFIG
from lens.load.staged import entries_here
from lens.ui import by_hand
from lens.ui.fields import LOCAL
from lens.ui.limits import limits
from lens.ui.models import source_named
from lens.ui.threads import threads_for

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float, Int
    from torch import Tensor

    from lens.analysis.checkpoint import OnSequences, OnTokens, Setting
    from lens.analysis.training_run import Measured, MeasuredInstrument, MeasuredScores, TrainingRun


class Cell(NamedTuple):
    """One checkpoint of one run, named by the content of its files."""

    source: str
    index: int
    content: str


def with_checkpoints() -> list[str]:
    """Models whose checkpoints are here: of the catalogue, trained on request, and the runs this visitor opened."""
    entries = (*catalogue.entries(), *entries_here())
    shipped = [entry.alias for entry in entries if entry.shipped and not why_none(entry.alias)]
    opened = [name for name in by_hand.paths() if not why_none(name)]
    return [*shipped, *opened]


def why_none(name: str) -> str:
    """Why a model's training cannot be shown, as a sentence without its full stop; "" where it can."""
    source = source_named(name)
    if not name.startswith(LOCAL):
        entry = catalogue.resolve(name, paths=False)
        if not entry.checkpoints:
            return f"no checkpoints of {entry.alias} are known: only its final weights were published or shipped"
        if entry.path is None:
            return (
                f"the checkpoints of {entry.alias} are on the Hugging Face Hub. This page reads those on this machine; "
                "fetch a run into a folder and open the folder by its path"
            )
        return "" if (entry.path / CONFIG).is_file() else f"the files of {entry.alias} are not in this installation"
    path = Path(source)
    if not any(path.glob("checkpoint-*")) and not any(path.glob("checkpoints/*")):
        return f"{name.removeprefix(LOCAL)} is one model, not a training run: it has no folders checkpoint-…"
    return ""


@st.cache_resource(max_entries=8, show_spinner=False)
def _run(source: str, stamp: int, arriving: bool) -> TrainingRun:
    # Here, because Home names runs before torch is on its way.
    from lens.analysis.training_run import TrainingRun
    from lens.load.checkpoints import checkpoints

    return TrainingRun(checkpoints(source, arriving=arriving))


@st.cache_resource(show_spinner=False)
def seen() -> dict[str, tuple[str, ...]]:
    """source → the whole checkpoints of a watched run when they were last looked at, for the whole process."""
    return {}


def run_of(source: str) -> TrainingRun:
    """The training run of a model or folder, one for all visitors; listed again when its folder changed, or when what
    was being written there was seen to be whole."""
    path = catalogue.resolve(source).path
    return _run(source, hash((path.stat().st_mtime_ns, seen().get(source))), source in seen())


def longest_block(training: Iterable[TrainingRun]) -> int:
    """Largest n of [BOS] r₁…r_n r₁…r_n that all these runs can read and this visitor may ask for."""
    shortest = min(run.shape().n_ctx for run in training)
    return max(2, min(limits().block_length, (shortest - 1) // 2))


def chosen(run: TrainingRun) -> list[int]:
    """Which checkpoints of a run are measured: all, or as many, evenly spread, as a visitor may ask for."""
    n, most = len(run.checkpoints), limits().checkpoints
    return list(range(n)) if n <= most else sorted({round(i * (n - 1) / (most - 1)) for i in range(most)})


def measure_checkpoint(cell: Cell, setting: Setting) -> Measured:
    """Everything that is measured at one checkpoint, from disk where it was measured before."""
    with _reading(cell) as run:
        return run.measure(cell[1], setting)


def measure_instrument(cell: Cell, name: str, setting: Setting) -> MeasuredInstrument:
    """One instrument at one checkpoint, from disk where it was measured before."""
    with _reading(cell) as run:
        return run.measure_instrument(cell[1], name, setting)


def measure_sequences(cell: Cell, name: str, setting: Setting) -> MeasuredScores[OnSequences]:
    """One instrument on every repeated sequence at one checkpoint, from disk where it was measured before."""
    with _reading(cell) as run:
        return run.sequences(cell.index, name, setting)


def measure_tokens(cell: Cell, tokens: Int[Tensor, "1 pos"]) -> MeasuredScores[OnTokens]:
    """Every prediction of one text at one checkpoint, from disk where it was measured before."""
    with _reading(cell) as run:
        return run.tokens(cell.index, tokens)


def measure_pattern(cell: Cell, tokens: Int[Tensor, "1 pos"], layer: int, head: int) -> Float[np.ndarray, "query key"]:
    """Attention [query, key] of one head on one text [1, pos] at one checkpoint."""
    with _reading(cell) as run:
        return run.pattern(cell[1], tokens, Head(layer, head))


def score_checkpoint(cell: Cell, setting: Setting) -> Measured:
    """The head scores of one checkpoint alone, without texts."""
    with _reading(cell) as run:
        return run.measure(cell[1], setting, texts=False)


@contextmanager
def _reading(cell: Cell) -> Iterator[TrainingRun]:
    """The run of a cell, read with as many threads as its size is worth."""
    run = run_of(cell[0])
    with threads_for(run.shape().n_params):
        yield run
