"""Every checkpoint of the chosen runs, measured or read from disk, while the curves fill."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lens.analysis.names import Head
from lens.ui import runs
from lens.ui.calls import analyse, sweep
from lens.ui.ending import end_page
from lens.ui.models import source_named
from lens.ui.pages.training_dynamics.controls import Look
from lens.ui.parts import empty_state
from lens.ui.store import to_numpy, to_torch
from lens.ui.view import ViewState

SPEED = 3e10  # floating-point operations a second of a small model on one slow core
SMALL = 5_000_000  # parameters of a run that needs no estimate
LONGEST = 64  # tokens of a prompt whose pattern plays


class Shown(NamedTuple):
    """One run on the page."""

    name: str
    run: int  # its number, which is its colour
    shape: Any  # lens.analysis.training_run.Shape
    found: Any  # lens.load.checkpoints.Checkpoints
    repeats: dict[int, Any]  # index → OnRepeats, of the checkpoints that are done
    curves: Any  # lens.analysis.dynamics.Curves, arrays as numpy
    log: Any  # lens.load.training_log.TrainingLog
    wanted: int  # checkpoints that were asked for
    n: int  # random tokens before they repeat
    identical: tuple[tuple[int, ...], ...]  # groups of indices whose files are the same
    contents: Mapping[int, str]  # index → the hash of the checkpoint's files
    live: bool  # whether its curves still fill

    @property
    def indices(self) -> list[int]:
        """The checkpoints on the curves."""
        return self.curves.indices


def read(view: ViewState, names: list[str], look: Look, draw: Callable[[list[Shown]], None]) -> list[Shown]:
    """All runs with their curves; ``draw`` shows what there is meanwhile. What a cancel leaves is returned."""
    training = [runs.run_of(source_named(name)) for name in names]
    cells = _cells(view, names, training)

    def show(done: Mapping) -> None:
        draw([one for one in _shown(names, training, done, look, live=True) if one is not None])

    found = sweep(
        runs.measure_checkpoint, cells, look.setting, show=show, estimate=_seconds(training, cells, look.setting)
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


def patterns(view: ViewState, one: Shown, tokens: Any, head: Head) -> dict[int, Any]:
    """Attention [query, key] of one head on one text, for every checkpoint that is on the curves."""
    cells = [runs.Cell(source_named(one.name), index, one.contents[index]) for index in one.indices]
    found = sweep(runs.measure_pattern, cells, tokens, layer=head[0], head=head[1])
    return {cell.index: pattern for cell, pattern in found.done.items()}


def _cells(view: ViewState, names: list[str], training: list) -> list[runs.Cell]:
    """Coarse first, and the runs in turn, so that all curves show their shape early."""
    from lens.analysis.dynamics import coarse_first

    order = []
    for name, run in zip(names, training):
        indices = runs.chosen(run)
        if len(indices) < len(run.found):
            view.note(f"{name} has {len(run.found)} checkpoints: showing {len(indices)}, evenly spread")
        order += [
            (place / len(indices), _cell(source_named(name), run, indices[at]))
            for place, at in enumerate(coarse_first(len(indices)))
        ]
    return [cell for _, cell in sorted(order, key=lambda row: row[0])]


def _cell(source: str, run: Any, index: int) -> runs.Cell:
    from lens.load.identity import content_of

    return runs.Cell(source, index, content_of(run.found, index))


def _shown(names: list[str], training: list, done: Mapping, look: Look, live: bool) -> list[Shown | None]:
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
        labels, seed = run.found.labels, look.setting.seed
        arguments = (labels, repeats, texts, look.places, seed)
        curves = to_numpy(summarise(*arguments)) if live else analyse(summarise, *arguments)
        wanted = len(runs.chosen(run))
        contents = {cell.index: cell.content for cell in done if cell.source == source}
        made = (run.shape(), run.found, repeats, curves, training_log(run.found), wanted, look.setting.n)
        out.append(Shown(name, number, *made, identical(contents), contents, live))
    return out


def _seconds(training: list, cells: list, setting: Any) -> float:
    """Rough time of what is not on disk; nothing for small models, which need no question."""
    total = 0.0
    for run in training:
        shape = run.shape()
        if shape.n_params > SMALL:
            n_tokens = 2 * setting.seqs * (2 * setting.n + 1) + setting.texts * shape.n_ctx
            missing = sum(not run.is_kept(index, setting) for index in runs.chosen(run))
            total += missing * 2 * shape.n_params * n_tokens / SPEED
    return total
