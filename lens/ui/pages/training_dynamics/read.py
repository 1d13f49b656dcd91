"""Every checkpoint of the chosen runs, measured or read from disk, while the curves fill."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from lens.analysis.dynamics import instrument_curves
from lens.analysis.names import Head
from lens.ui import checkpoint_runs, parts
from lens.ui.calls import analyse, sweep
from lens.ui.ending import end_page
from lens.ui.models import source_named
from lens.ui.pages.training_dynamics.controls import Look
from lens.ui.parts import empty_state
from lens.ui.store import to_numpy, to_torch
from lens.ui.view import ViewState
from lens.ui.waiting import started

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from lens.analysis.checkpoint import OnRepeats, Setting
    from lens.analysis.dynamics import Curves, InstrumentCurves
    from lens.analysis.training_run import Shape, Terms, TrainingRun
    from lens.load.checkpoints import Checkpoints
    from lens.load.training_log import TrainingLog

DRAWN = ("induction", "previous")  # instruments that have a panel whatever is chosen
SPEED = 3e10  # floating-point operations a second of a small model on one slow core
SMALL = 5_000_000  # parameters of a run that needs no estimate
LONGEST = 64  # tokens of a prompt whose pattern plays


class Shown(NamedTuple):
    """One run on the page."""

    name: str
    run: int  # its number, which is its colour
    shape: "Shape"
    found: "Checkpoints"
    repeats: "dict[int, OnRepeats]"  # by index, of the checkpoints that are done
    curves: "Curves"  # arrays as numpy
    log: "TrainingLog"
    wanted: int  # checkpoints that were asked for
    n: int  # random tokens before they repeat
    identical: tuple[tuple[int, ...], ...]  # groups of indices whose files are the same
    contents: Mapping[int, str]  # index → the hash of the checkpoint's files
    live: bool  # whether its curves still fill
    instrument: "InstrumentCurves | None" = None  # of the chosen instrument, arrays as numpy; None where not measured

    @property
    def indices(self) -> list[int]:
        """The checkpoints on the curves."""
        return self.curves.indices


def read(view: ViewState, names: list[str], look: Look, draw: Callable[[list[Shown]], None]) -> list[Shown]:
    """All runs with their curves; ``draw`` shows what there is meanwhile. What a cancel leaves is returned."""
    training = [checkpoint_runs.run_of(source_named(name)) for name in names]
    cells = _cells(view, names, training)

    def show(done: Mapping) -> None:
        draw([one for one in _shown(names, training, done, look, live=True) if one is not None])

    found = sweep(
        checkpoint_runs.measure_checkpoint,
        cells,
        look.setting,
        show=show,
        estimate=_seconds(training, cells, look.setting),
    )
    lost = [measured.lost for _, measured in sorted(found.done.items()) if measured.lost]
    for sentence in lost:
        view.note(f"left out of the curves: {sentence.removesuffix('.')}")
    shown = [one for one in _shown(names, training, found.done, look, live=False) if one is not None]
    if not shown and lost:
        empty_state("No checkpoint is finite, so there is no curve to draw; the notes above say where each is not.")
    if not shown:
        end_page()
    return shown


def read_instrument(
    view: ViewState, shown: list[Shown], look: Look, draw: Callable[[list[Shown]], None]
) -> list[Shown]:
    """The same runs with the curves of the chosen instrument, where it is measured.

    What can be short is measured at once, else on a click; ``draw`` shows what there is meanwhile.
    """
    if look.instrument.name in DRAWN:
        return shown
    one, training = look.instrument, {each.name: checkpoint_runs.run_of(source_named(each.name)) for each in shown}
    terms = {name: run.terms(one.name, look.setting) for name, run in training.items()}
    for name in training:
        if terms[name].why_not:
            parts.aside(f"{one.title}, {name}", f"Not computed because {terms[name].why_not}.")
    able = [each for each in shown if not terms[each.name].why_not]
    cells = _in_turn([(each.name, training[each.name], each.indices) for each in able])
    seconds = sum(_instrument_seconds(training[each.name], terms[each.name], each, look) for each in able)
    key = f"training-{one.name}-{look.setting}-{[each.name for each in able]}"
    if not cells or not started(key, seconds, f"**{one.title}.** {one.definition}"):
        return shown

    def show(done: Mapping) -> None:
        draw(_with_instrument(shown, done))

    found = sweep(checkpoint_runs.measure_instrument, cells, one.name, look.setting, show=show)
    for sentence in (each.lost for _, each in sorted(found.done.items()) if each.lost):
        view.note(f"left out of the curve: {sentence.removesuffix('.')}")
    return _with_instrument(shown, found.done)


def _with_instrument(shown: list[Shown], done: Mapping) -> list[Shown]:
    out = []
    for each in shown:
        mine = {
            cell.index: to_torch(one.scores)
            for cell, one in done.items()
            if cell.source == source_named(each.name) and not one.lost
        }
        curves = to_numpy(instrument_curves(each.found.labels, mine)) if mine else None
        out.append(each._replace(instrument=curves))
    return out


def _instrument_seconds(run: "TrainingRun", terms: "Terms", each: Shown, look: Look) -> float:
    """Rough time of what is not on disk; none for patterns of a small model, as for its other curves."""
    if look.instrument.pattern is not None and each.shape.n_params <= SMALL:
        return 0.0
    missing = sum(not run.has_instrument(index, look.instrument.name, look.setting) for index in each.indices)
    return missing * (2 * each.shape.n_params * terms.tokens + terms.operations) / SPEED


def patterns(view: ViewState, one: Shown, tokens: "Tensor", head: Head) -> "dict[int, np.ndarray]":
    """Attention [query, key] of one head on one text, for every checkpoint that is on the curves."""
    cells = [checkpoint_runs.Cell(source_named(one.name), index, one.contents[index]) for index in one.indices]
    found = sweep(checkpoint_runs.measure_pattern, cells, tokens, layer=head[0], head=head[1])
    return {cell.index: pattern for cell, pattern in found.done.items()}


def _cells(view: ViewState, names: list[str], training: "list[TrainingRun]") -> list[checkpoint_runs.Cell]:
    """Coarse first, and the runs in turn, so that all curves show their shape early."""
    chosen = [(name, run, checkpoint_runs.chosen(run)) for name, run in zip(names, training)]
    for name, run, indices in chosen:
        if len(indices) < len(run.checkpoints):
            view.note(f"{name} has {len(run.checkpoints)} checkpoints: showing {len(indices)}, evenly spread")
    return _in_turn(chosen)


def _in_turn(chosen: "list[tuple[str, TrainingRun, list[int]]]") -> list[checkpoint_runs.Cell]:
    from lens.analysis.dynamics import coarse_first

    order = []
    for name, run, indices in chosen:
        order += [
            (place / len(indices), _cell(source_named(name), run, indices[at]))
            for place, at in enumerate(coarse_first(len(indices)))
        ]
    return [cell for _, cell in sorted(order, key=lambda row: row[0])]


def _cell(source: str, run: "TrainingRun", index: int) -> checkpoint_runs.Cell:
    from lens.load.identity import content_of

    return checkpoint_runs.Cell(source, index, content_of(run.checkpoints, index))


def _shown(
    names: list[str], training: "list[TrainingRun]", done: Mapping, look: Look, live: bool
) -> list[Shown | None]:
    from lens.analysis.dynamics import summarise
    from lens.load.identity import identical
    from lens.load.training_log import training_log

    out: list[Shown | None] = []
    for number, (name, run) in enumerate(zip(names, training)):
        source = source_named(name)
        mine = {cell.index: to_torch(one) for cell, one in done.items() if cell.source == source and not one.lost}
        if not mine:
            out.append(None)
            continue
        repeats = {index: measured.repeats for index, measured in sorted(mine.items())}
        texts = {index: measured.texts for index, measured in mine.items() if measured.texts is not None}
        labels, seed = run.checkpoints.labels, look.setting.seed
        arguments = (labels, repeats, texts, look.places, seed)
        curves = to_numpy(summarise(*arguments)) if live else analyse(summarise, *arguments)
        wanted = len(checkpoint_runs.chosen(run))
        contents = {cell.index: cell.content for cell in done if cell.source == source}
        log = training_log(run.checkpoints)
        made = (run.shape(), run.checkpoints, repeats, curves, log, wanted, look.setting.n)
        out.append(Shown(name, number, *made, identical(contents), contents, live))
    return out


def _seconds(training: "list[TrainingRun]", cells: list[checkpoint_runs.Cell], setting: "Setting") -> float:
    """Rough time of what is not on disk; nothing for small models, which need no question."""
    total = 0.0
    for run in training:
        shape = run.shape()
        if shape.n_params > SMALL:
            n_tokens = 2 * setting.seqs * (2 * setting.n + 1) + setting.texts * shape.n_ctx
            missing = sum(not run.is_kept(index, setting) for index in checkpoint_runs.chosen(run))
            total += missing * 2 * shape.n_params * n_tokens / SPEED
    return total
