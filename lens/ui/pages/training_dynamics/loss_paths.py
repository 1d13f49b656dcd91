"""Every run as a path through the losses of many fixed tokens, in the plane of most variance."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

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
from lens.ui.pages.training_dynamics import PLANES, words
from lens.ui.pages.training_dynamics.figure import checkpoint_at, phase_of, title_of
from lens.ui.pages.training_dynamics.opened import main_run, open_index, open_point
from lens.ui.widgets import segmented

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from lens.ui.pages.training_dynamics.controls import Choices
    from lens.ui.pages.training_dynamics.run_curves import RunCurves
    from lens.ui.view import ViewState

PLANE_HELP = (
    "Which checkpoints make the plane. The untrained one lies so far from all others that with it the first component "
    "is little else than the way from there."
)
MISREADING = (
    "A bend is no event by itself: the first components of any smooth course through many dimensions, a random walk "
    "among them, draw arcs and turns (Antognini and Sohl-Dickstein 2018). The plane is made for these runs: with "
    "another run in it, or other checkpoints, the same training lies elsewhere."
)


class InPlane(NamedTuple):
    """The checkpoints of a run that are points of the plane."""

    run: RunCurves
    places: list[int]  # in its curves, ascending
    phase: tuple[int, int] | None  # the ends of the phase change among them; None: there is none

    @property
    def indices(self) -> list[int]:
        """The same as indices of checkpoints."""
        return [self.run.indices[place] for place in self.places]

    def losses(self) -> np.ndarray:
        """The loss of every token of the held-out text at each of them. [checkpoint, token]"""
        return np.stack([np.asarray(self.run.texts[index].loss).reshape(-1) for index in self.indices])


def show_paths(view: ViewState, runs: list[RunCurves], choices: Choices) -> None:
    """The paths of all runs that read the same tokens, what to see in them, and the way to take them away."""
    segmented(view, "plane", tuple(PLANES), "Checkpoints", PLANE_HELP, format_func=PLANES.get)
    main = main_run(view, runs)
    used = [in_plane(view, run) for run in _alike(main, runs, choices)]
    used = [each for each in used if each.places]
    for name in sorted({title_of(run) for run in runs} - {title_of(each.run) for each in used}):
        parts.aside(f"Paths of losses, {name}", "Left out: it does not read the same tokens at every checkpoint.")
    losses = {each.run.name: each.losses() for each in used}
    why = why_none(losses) if losses else f"{title_of(main)} has not read the held-out text at every checkpoint"
    if why:
        parts.not_computed(f"{why}. Settings has the number of chapters.")
        return
    plane = analyse(paths, losses)
    figure, said = figure_of(view, used, plane), notice(used, plane)
    parts.chart(figure, f"{figure.layout.title.text}. {said}", "dynamics:paths", partial(open_point, view, runs),
                read=clicked)  # fmt: skip
    sample = f"{plane.n_tokens:,} tokens from the beginnings of {choices.setting.texts} chapters of {HELD_OUT_NAME}"
    explain(view, None, Explanation(said, MISREADING, (("Components", SPACE_RULE),), (("Sample", sample),)))
    payload = {title_of(each.run): {"indices": each.indices, "at": plane.at[each.run.name]} for each in used}
    payload |= {"explained": plane.explained, "n_tokens": plane.n_tokens}
    rows = partial(table, used, plane)
    export(view, Export("loss-paths", figure, rows, payload, code(used, choices), opens_model=False))


def in_plane(view: ViewState, run: RunCurves) -> InPlane:
    """All checkpoints on the curves of a run, or those at which it has read something."""
    labels, phase = run.curves.labels, phase_of(view, run)
    places = [place for place, label in enumerate(labels) if label > 0 or view["plane"] == "all"]
    if phase.first is None or phase.last is None:
        return InPlane(run, places, None)
    inside = [at for at, place in enumerate(places) if phase.first <= place <= phase.last]
    return InPlane(run, places, (inside[0], inside[-1]))


def figure_of(view: ViewState, used: list[InPlane], plane: Paths) -> go.Figure:
    """All paths in one plane."""
    drawn = []
    for each in used:
        run, indices, index = each.run, each.indices, open_index(view, each.run)
        labels = [checkpoint_name(run.checkpoints, i) for i in indices]
        points = np.array([(run.number, i, -1, -1) for i in indices], np.int32)
        is_open = run.name == view["model"] and view["revision"] and index in indices
        opened = indices.index(index) if is_open else None
        ends = each.phase or (None, None)
        drawn.append(Path(title_of(run), plane.at[run.name], labels, points, run.number, *ends, opened))
    axes = tuple(f"component {i + 1}, {share:.0%} of the variance" for i, share in enumerate(plane.explained))
    definition = "From the open circle to the diamond; thick: the phase change."
    return trajectories(drawn, axes, title="Training as a path through the losses of tokens", definition=definition)


def notice(used: list[InPlane], plane: Paths) -> str:
    """What the two components hold, and how much of each path lies in its phase change."""
    one, two = plane.explained
    n = sum(map(len, plane.at.values()))
    said = f"Of the variance of {plane.n_tokens:,} losses over {n} checkpoints the first component holds {one:.0%}, "
    said += f"the second {two:.0%}."
    for each in used:
        run, at = each.run, plane.at[each.run.name]
        if each.phase is None:
            said += f" {title_of(run)}: no phase change to colour."
            continue
        first, last = each.phase
        ends = f"{checkpoint_at(run, each.places[first])} to {checkpoint_at(run, each.places[last])}"
        said += f" {title_of(run)}: its phase change, {ends}, is {last - first} of {len(at) - 1} steps from checkpoint "
        said += f"to checkpoint and {share_of_path(at, first, last):.0%} of the length of its path here."
    return said


def table(used: list[InPlane], plane: Paths) -> pd.DataFrame:
    """One row per run and checkpoint."""
    rows = []
    for each in used:
        for index, at in zip(each.indices, plane.at[each.run.name]):
            point = each.run.checkpoints.at(index)
            row = {"run": title_of(each.run), "checkpoint": index, each.run.checkpoints.unit: point.label}
            rows.append(row | {"component 1": float(at[0]), "component 2": float(at[1])})
    return pd.DataFrame(rows)


def code(used: list[InPlane], choices: Choices) -> str:
    """The Python that computes the paths again."""
    names = {source_named(each.run.name): each.indices for each in used}
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
        "plane = paths(losses)\n"
        "print(plane.explained, plane.n_tokens)\n"
        "print({name: at[-1] for name, at in plane.at.items()})  # the last checkpoint of each"
    )


def _alike(main: RunCurves, runs: list[RunCurves], choices: Choices) -> list[RunCurves]:
    """The runs that read what the view's model reads, at every checkpoint."""
    wanted = _tokens(main, choices)
    return [run for run in runs if set(run.texts) == set(run.indices) and np.array_equal(_tokens(run, choices), wanted)]


def _tokens(run: RunCurves, choices: Choices) -> np.ndarray:
    texts = checkpoint_runs.run_of(source_named(run.name)).inputs(choices.setting).texts
    return np.empty(0) if texts is None else texts.tokens.numpy()
