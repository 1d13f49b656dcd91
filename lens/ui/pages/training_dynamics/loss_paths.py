"""Every run as a path through the losses of many fixed tokens, in the plane of most variance."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lens.analysis.loss_space import SPACE_RULE, Paths, paths, share_of_path, why_none
from lens.figures.training import clicked
from lens.figures.trajectory import Path, trajectories
from lens.load.checkpoints import checkpoint_name
from lens.texts import HELD_OUT_NAME
from lens.ui import checkpoint_runs, parts
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.models import source_named
from lens.ui.pages.training_dynamics import words
from lens.ui.pages.training_dynamics.figure import checkpoint_at, phase_of, title_of
from lens.ui.pages.training_dynamics.opened import main_run, open_index, open_point

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from lens.ui.pages.training_dynamics.controls import Choices
    from lens.ui.pages.training_dynamics.run_curves import RunCurves
    from lens.ui.view import ViewState

MISREADING = (
    "A bend is no event by itself: the first components of any smooth course through many dimensions, a random walk "
    "among them, draw arcs and turns (Antognini and Sohl-Dickstein 2018). The plane is made for these runs: with "
    "another run in it, or other checkpoints, the same training lies elsewhere."
)


def show_paths(view: ViewState, runs: list[RunCurves], choices: Choices) -> None:
    """The paths of all runs that read the same tokens, what to see in them, and the way to take them away."""
    main = main_run(view, runs)
    used, left_out = _alike(main, runs, choices)
    for run in left_out:
        parts.aside(f"Loss paths, {title_of(run)}", "Left out: it does not read the same tokens at every checkpoint.")
    losses = {run.name: losses_of(run) for run in used}
    why = why_none(losses) if losses else f"{title_of(main)} has not read the held-out text at every checkpoint"
    if why:
        parts.not_computed(f"{why}. Settings has the number of chapters.")
        return
    found = analyse(paths, losses)
    figure, said = figure_of(view, used, found), notice(view, used, found)
    parts.chart(figure, f"{figure.layout.title.text}. {said}", "dynamics:paths", partial(open_point, view, runs),
                read=clicked)  # fmt: skip
    sample = f"{found.n_tokens:,} tokens from the beginnings of {choices.setting.texts} chapters of {HELD_OUT_NAME}"
    explain(view, None, Explanation(said, MISREADING, (("Components", SPACE_RULE),), (("Sample", sample),)))
    payload = {title_of(run): found.at[run.name] for run in used}
    payload |= {"explained": found.explained, "n_tokens": found.n_tokens}
    rows = partial(table, used, found)
    export(view, Export("loss-paths", figure, rows, payload, code(used, choices), opens_model=False))


def losses_of(run: RunCurves) -> np.ndarray:
    """The loss of every token of the held-out text at every checkpoint on the curves. [checkpoint, token]"""
    return np.stack([np.asarray(run.texts[index].loss).reshape(-1) for index in run.indices])


def figure_of(view: ViewState, runs: list[RunCurves], found: Paths) -> go.Figure:
    """All paths in one plane."""
    drawn = []
    for run in runs:
        phase, index = phase_of(view, run), open_index(view, run)
        labels = [checkpoint_name(run.checkpoints, i) for i in run.indices]
        points = np.array([(run.number, i, -1, -1) for i in run.indices], np.int32)
        is_open = run.name == view["model"] and view["revision"] and index in run.indices
        opened = run.indices.index(index) if is_open else None
        drawn.append(
            Path(title_of(run), found.at[run.name], labels, points, run.number, phase.first, phase.last, opened)
        )
    axes = tuple(f"component {i + 1}, {share:.0%} of the variance" for i, share in enumerate(found.explained))
    definition = "From the open circle to the diamond; thick: the phase change."
    return trajectories(drawn, axes, title="Training as a path through the losses of tokens", definition=definition)


def notice(view: ViewState, runs: list[RunCurves], found: Paths) -> str:
    """What the two components hold, and how much of each path lies in its phase change."""
    one, two = found.explained
    n = sum(len(found.at[run.name]) for run in runs)
    text = (
        f"Of the variance of {found.n_tokens:,} losses over {n} checkpoints the first component holds {one:.0%}, the "
    )
    text += f"second {two:.0%}."
    for run in runs:
        phase, at = phase_of(view, run), found.at[run.name]
        if phase.first is None:
            text += f" {title_of(run)}: no phase change to colour."
            continue
        share = share_of_path(at, phase.first, phase.last)
        ends = f"{checkpoint_at(run, phase.first)} to {checkpoint_at(run, phase.last)}"
        text += (
            f" {title_of(run)}: its phase change, {ends}, is {phase.last - phase.first} of {len(at) - 1} steps from "
        )
        text += f"checkpoint to checkpoint and {share:.0%} of the length of its path here."
    return text


def table(runs: list[RunCurves], found: Paths) -> pd.DataFrame:
    """One row per run and checkpoint."""
    rows = []
    for run in runs:
        for index, at in zip(run.indices, found.at[run.name]):
            point = run.checkpoints.at(index)
            row = {"run": title_of(run), "checkpoint": index, run.checkpoints.unit: point.label}
            rows.append(row | {"component 1": float(at[0]), "component 2": float(at[1])})
    return pd.DataFrame(rows)


def code(runs: list[RunCurves], choices: Choices) -> str:
    """The Python that computes the paths again."""
    names = {source_named(run.name): run.indices for run in runs}
    return (
        "import numpy as np\n\n"
        "from lens.analysis.checkpoint import Setting\n"
        "from lens.analysis.loss_space import paths\n"
        "from lens.analysis.training_run import TrainingRun\n"
        "from lens.load.checkpoints import checkpoints\n\n"
        "losses = {}\n"
        f"for name, indices in {names!r}.items():\n"
        "    run = TrainingRun(checkpoints(name))\n"
        f"    texts = [run.texts(index, {words.setting_code(choices)}) for index in indices]\n"
        "    losses[name] = np.stack([one.loss.flatten().numpy() for one in texts])\n"
        "found = paths(losses)\n"
        "print(found.explained, found.n_tokens)\n"
        "print({name: at[-1] for name, at in found.at.items()})  # the last checkpoint of each"
    )


def _alike(main: RunCurves, runs: list[RunCurves], choices: Choices) -> tuple[list[RunCurves], list[RunCurves]]:
    """The runs that read what the view's model reads, at every checkpoint, and the others."""
    read = {run.name: _tokens(run, choices) for run in runs}
    alike = {run.name: set(run.texts) == set(run.indices) and np.array_equal(read[run.name], read[main.name])
             for run in runs}  # fmt: skip
    return [run for run in runs if alike[run.name]], [run for run in runs if not alike[run.name]]


def _tokens(run: RunCurves, choices: Choices) -> np.ndarray:
    texts = checkpoint_runs.run_of(source_named(run.name)).inputs(choices.setting).texts
    return np.empty(0) if texts is None else texts.tokens.numpy()
