"""Every checkpoint of the chosen runs, measured or read from disk, while the curves fill."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from lens.analysis.checkpoint import SPEED
from lens.analysis.dynamics import coarse_first, instrument_curves, summarise
from lens.analysis.names import Head
from lens.load.identity import content_of, identical
from lens.load.training_log import TrainingLog, training_log
from lens.ui import checkpoint_runs, parts
from lens.ui.calls import sweep
from lens.ui.ending import end_page
from lens.ui.models import source_named
from lens.ui.pages.training_dynamics.controls import Choices
from lens.ui.shared.computing import compute
from lens.ui.store import to_numpy, to_torch
from lens.ui.view import ViewState
from lens.ui.waiting import started

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from lens.analysis.checkpoint import OnRepeats, OnTexts, Setting
    from lens.analysis.dynamics import Curves, InstrumentCurves
    from lens.analysis.training_run import Shape, Terms, TrainingRun
    from lens.load.checkpoints import Checkpoints

DRAWN = ("induction", "previous")  # instruments that have a panel whatever is chosen
SMALL = 5_000_000  # parameters of a run that needs no estimate
LONGEST = 64  # tokens of a prompt whose pattern plays


class RunCurves(NamedTuple):
    """One run on the page."""

    name: str
    number: int  # among those on the page, which is its colour
    shape: "Shape"
    checkpoints: "Checkpoints"
    repeats: "dict[int, OnRepeats]"  # by index, of the checkpoints that are done
    curves: "Curves"  # arrays as numpy
    log: TrainingLog
    n: int  # random tokens before they repeat
    identical: tuple[tuple[int, ...], ...]  # groups of indices whose files are the same
    contents: Mapping[int, str]  # index → the hash of the checkpoint's files
    live: bool  # whether its curves still fill
    texts: "dict[int, OnTexts]"  # by index, of the checkpoints at which held-out text was read
    instrument: "InstrumentCurves | None" = None  # of the chosen instrument, arrays as numpy; None where not measured

    @property
    def indices(self) -> list[int]:
        """The checkpoints on the curves."""
        return self.curves.indices

    @property
    def cells(self) -> list[checkpoint_runs.Cell]:
        """The same for what is measured at each of them."""
        return [checkpoint_runs.Cell(source_named(self.name), index, self.contents[index]) for index in self.indices]

    def seconds(self, n_tokens: int) -> float:
        """Rough time of reading so many tokens at every checkpoint; 0 for a small model, which needs no question."""
        each = 2 * self.shape.n_params * n_tokens / SPEED
        return len(self.indices) * each if self.shape.n_params > SMALL else 0.0


def measure_runs(
    view: ViewState, names: list[str], choices: Choices, draw: Callable[[list[RunCurves]], None]
) -> list[RunCurves]:
    """All runs with their curves; ``draw`` shows what there is meanwhile. What a cancel leaves is returned."""
    training = {name: checkpoint_runs.run_of(source_named(name)) for name in names}
    cells = _cells(view, training)

    def show(done: Mapping) -> None:
        draw(_curves(training, done, choices, live=True))

    estimate = _seconds(training.values(), choices.setting)
    done = sweep(checkpoint_runs.measure_checkpoint, cells, choices.setting, show=show, estimate=estimate).done
    lost = [measured.lost for _, measured in sorted(done.items()) if measured.lost]
    for sentence in lost:
        view.note(f"left out of the curves: {sentence.removesuffix('.')}")
    runs = _curves(training, done, choices, live=False)
    if not runs and lost:
        parts.empty_state(
            "No checkpoint is finite, so there is no curve to draw; the notes above say where each is not."
        )
    if not runs:
        end_page()
    return runs


def measure_instrument(
    view: ViewState, runs: list[RunCurves], choices: Choices, draw: Callable[[list[RunCurves]], None]
) -> list[RunCurves]:
    """The same runs with the curves of the chosen instrument, where it is measured.

    What can be short is measured at once, else on a click; ``draw`` shows what there is meanwhile.
    """
    kind, setting = choices.instrument, choices.setting
    if kind.name in DRAWN:
        return runs
    able, seconds = [], 0.0
    for run in runs:
        training = checkpoint_runs.run_of(source_named(run.name))
        terms = training.terms(kind.name, setting)
        if terms.why_not:
            parts.aside(f"{kind.title}, {run.name}", f"Not computed because {terms.why_not}.")
        else:
            able.append((run.name, training, run.indices))
            seconds += _instrument_seconds(training, terms, run, choices)
    cells = _in_turn(able)
    key = f"training-{kind.name}-{setting}-{[name for name, *_ in able]}"
    if not cells or not started(key, seconds, f"**{kind.title}.** {kind.definition}"):
        return runs

    def show(done: Mapping) -> None:
        draw(_with_instrument(runs, done))

    done = sweep(checkpoint_runs.measure_instrument, cells, kind.name, setting, show=show).done
    for sentence in (measured.lost for _, measured in sorted(done.items()) if measured.lost):
        view.note(f"left out of the curve: {sentence.removesuffix('.')}")
    return _with_instrument(runs, done)


def _with_instrument(runs: list[RunCurves], done: Mapping) -> list[RunCurves]:
    measured = []
    for run in runs:
        scores = {index: one.scores for index, one in _finite(source_named(run.name), done).items()}
        curves = to_numpy(instrument_curves(run.checkpoints.labels, scores)) if scores else None
        measured.append(run._replace(instrument=curves))
    return measured


def _finite(source: str, done: Mapping) -> dict:
    """What was measured at the finite checkpoints of one run, by index, as tensors."""
    return {cell.index: to_torch(one) for cell, one in sorted(done.items()) if cell.source == source and not one.lost}


def _instrument_seconds(training: "TrainingRun", terms: "Terms", run: RunCurves, choices: Choices) -> float:
    """Rough time of what is not on disk; none for patterns of a small model, as for its other curves."""
    kind = choices.instrument
    if kind.pattern is not None and run.shape.n_params <= SMALL:
        return 0.0
    missing = sum(not training.has_instrument(index, kind.name, choices.setting) for index in run.indices)
    return missing * (2 * run.shape.n_params * terms.tokens + terms.operations) / SPEED


def patterns(view: ViewState, run: RunCurves, tokens: "Tensor", head: Head) -> "dict[int, np.ndarray]":
    """Attention [query, key] of one head on one text, for every checkpoint that is on the curves."""
    done = sweep(checkpoint_runs.measure_pattern, run.cells, tokens, layer=head[0], head=head[1]).done
    return {cell.index: pattern for cell, pattern in done.items()}


def _cells(view: ViewState, training: "dict[str, TrainingRun]") -> list[checkpoint_runs.Cell]:
    """Coarse first, and the runs in turn, so that all curves show their shape early."""
    chosen = [(name, run, checkpoint_runs.chosen(run)) for name, run in training.items()]
    for name, run, indices in chosen:
        if len(indices) < len(run.checkpoints):
            view.note(f"{name} has {len(run.checkpoints)} checkpoints: showing {len(indices)}, evenly spread")
    return _in_turn(chosen)


def _in_turn(chosen: "list[tuple[str, TrainingRun, list[int]]]") -> list[checkpoint_runs.Cell]:
    order = []
    for name, run, indices in chosen:
        for place, at in enumerate(coarse_first(len(indices))):
            content = content_of(run.checkpoints, indices[at])
            order.append((place / len(indices), checkpoint_runs.Cell(source_named(name), indices[at], content)))
    return [cell for _, cell in sorted(order, key=lambda row: row[0])]


def _curves(training: "dict[str, TrainingRun]", done: Mapping, choices: Choices, live: bool) -> list[RunCurves]:
    """The runs of which at least one checkpoint is done."""
    runs = []
    for number, (name, run) in enumerate(training.items()):
        source = source_named(name)
        finite = _finite(source, done)
        if not finite:
            continue
        repeats = {index: measured.repeats for index, measured in finite.items()}
        texts = {index: measured.texts for index, measured in finite.items() if measured.texts is not None}
        arguments = (run.checkpoints.labels, repeats, texts, choices.places, choices.setting.seed)
        curves = compute(summarise, *arguments, kept=not live)
        contents = {cell.index: cell.content for cell in done if cell.source == source}
        of_run = (run.shape(), run.checkpoints, repeats, curves, training_log(run.checkpoints), choices.setting.n)
        runs.append(RunCurves(name, number, *of_run, identical(contents), contents, live, texts))
    return runs


def _seconds(training: "Iterable[TrainingRun]", setting: "Setting") -> float:
    """Rough time of what is not on disk; nothing for small models, which need no question."""
    total = 0.0
    for run in training:
        shape = run.shape()
        if shape.n_params > SMALL:
            n_tokens = 2 * setting.seqs * (2 * setting.n + 1) + setting.texts * shape.n_ctx
            missing = sum(not run.is_kept(index, setting) for index in checkpoint_runs.chosen(run))
            total += missing * 2 * shape.n_params * n_tokens / SPEED
    return total
