"""What the Patching page is asked to replace where, and the sweep: an approximation at once, then exact ones."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from lens.analysis.interventions import Experiment, Grid, Intervention, Sweep, attribution, available_sites
from lens.analysis.interventions.map import CellMap, cell_map
from lens.analysis.interventions.work import outline_of
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.ending import end_page
from lens.ui.labels import token_labels
from lens.ui.limits import limits
from lens.ui.once import once
from lens.ui.pages.patching import CELLS, DIRECTIONS, HEAD, SCALES, STREAM, TASKS
from lens.ui.shared import experiments
from lens.ui.shared.computing import compute
from lens.ui.shared.tasks import TaskChoice, choose_metric, choose_task, show_ability, show_pairs
from lens.ui.store import to_numpy, to_torch
from lens.ui.view import ViewState
from lens.ui.widgets import fold, number, segmented, select

FIRST = 2  # pairs of which the map is drawn at once where all of them take long
LONGEST = 200_000  # cells times pairs of which an approximation is made without being asked
DIRECTION_HELP = (
    "**Denoising:** an activation of the clean run is put into the corrupted run. Where the answer comes back, that "
    "activation is *sufficient*. **Noising:** a corrupted activation goes into the clean run. Where the answer is "
    "lost, it is *necessary*. The two need not agree."
)
CELLS_HELP = (
    "One cell is one run with one thing replaced: the stream (or what a layer adds to it) at one position; one head at "
    "all positions; or one head of one layer at one position."
)
SITE_HELP = (
    "What is replaced. The **stream** at a position carries everything that earlier layers put there; an **output** is "
    "only what this layer adds. A head's **queries, keys, values** say through which of its inputs it matters; its "
    "**pattern** where it looks."
)
SCALE_HELP = (
    "**Share of the gap:** 0 is the run before the change, 1 the other run, both averaged over pairs first; not "
    "clipped, so it may exceed 1. **Change:** the metric after minus before, in its own unit."
)


class Request(NamedTuple):
    """What the page is asked to compute and draw."""

    task: TaskChoice
    experiment: Experiment
    scale: str  # key of SCALES

    @property
    def site(self) -> str:
        """What is replaced."""
        return self.experiment.intervention.site

    @property
    def denoising(self) -> bool:
        """Whether clean activations go into the corrupted run; else it is noising."""
        return self.experiment.intervention.into == "corrupted"


@dataclass(frozen=True)
class PatchMap:
    """What a figure is drawn from."""

    request: Request
    sweep: Sweep  # arrays as numpy
    columns: list[str]  # labels of the map's columns
    n_computed: int  # cells times pairs that need a run
    approximate: bool = False
    seed: int = 0  # of the intervals
    kept: bool = False  # whether its cells are kept for all visitors; not of a sweep that still fills

    @once
    def cells(self) -> CellMap:
        """What is drawn, per cell: the bootstrap behind it is made once."""
        arguments = (to_torch(self.sweep), self.request.scale == "share", self.seed)
        return compute(cell_map, *arguments, kept=self.kept)

    @property
    def unit(self) -> str:
        """Of the metric."""
        return self.request.experiment.metric.unit


def read_request(view: ViewState, model: HookedTransformer, below: DeltaGenerator) -> Request:
    """All widgets, those read after the map in ``below``, where it says whether the model can do the task.

    The page may end in here.
    """
    task = choose_task(view, model, TASKS)
    with st.container(horizontal=True, vertical_alignment="bottom", key="patching-controls"):
        direction = segmented(view, "into", tuple(DIRECTIONS), "Direction", DIRECTION_HELP, format_func=DIRECTIONS.get)
        cells = segmented(view, "cells", tuple(CELLS), "Cells", CELLS_HELP, format_func=CELLS.get)
        name, sites = ("stream", STREAM) if cells == "position" else ("part", HEAD)
        offered = tuple(site for site in sites if site in available_sites(model.cfg))
        site = select(view, name, offered, "Replaced", SITE_HELP, format_func=sites.get, width=200)
        if cells == "one":
            number(view, "layer", (0, model.cfg.n_layers - 1), "Layer", "Zero-based layer of the heads.", width=110)
        metric = choose_metric(view, task)
    with below:
        scale = segmented(view, "shown", tuple(SCALES), "Shown", SCALE_HELP, format_func=SCALES.get)
        show_ability(model, task)
    grids = {
        "position": Grid(("layer", "pos")),
        "head": Grid(("layer", "head")),
        "one": Grid(("head", "pos"), layer=int(view["layer"])),
    }
    return Request(task, Experiment(task.pairs, Intervention(site, into=direction), grids[cells], metric), scale)


def show_task(view: ViewState, model: HookedTransformer, task: TaskChoice) -> None:
    """The pairs, folded."""
    box = fold(view, "aligned", "The pairs, token under token")
    if box.open:
        with box:
            show_pairs(model, task)


def read_map(view: ViewState, model: HookedTransformer, request: Request, draw: Callable[[PatchMap], None]) -> PatchMap:
    """The sweep, as far as it is computed. ``draw`` shows the approximation first, then what there is meanwhile.

    While long work waits for a click, or after a cancel, the exact map of the first pairs stands in for what nobody
    computed yet; where that is long too, the approximation.
    """
    experiment, seed = request.experiment, int(view["seed"])
    plan, most = analyse(outline_of, model, experiment), limits().patched_rows
    if plan.n_computed > most:
        parts.not_computed(
            f"{plan.n_computed:,} changed runs are needed, and at most {most:,} are made here. "
            "Take fewer pairs, or one layer."
        )
        end_page()

    def exact(sweep: Sweep, kept: bool) -> PatchMap:
        return PatchMap(request, to_numpy(sweep), column_labels(model, sweep), plan.n_computed, seed=seed, kept=kept)

    preview = None
    if not experiments.is_computed(model, experiment):
        n, ask = len(experiment.pairs), limits().ask_before
        if n > FIRST and ask < plan.seconds < ask * n / FIRST:
            preview = _of_first_pairs(model, request, seed)
        elif plan.n_cells <= LONGEST:
            preview = approximation(model, request, seed)
        if preview is not None:
            draw(preview)
    sweep, _, started = experiments.run(model, experiment, lambda sweep: draw(exact(sweep, kept=False)))
    return preview if preview is not None and not started and plan.n_groups else exact(sweep, kept=True)


def _of_first_pairs(model: HookedTransformer, request: Request, seed: int) -> PatchMap:
    few = replace(request.experiment, pairs=request.experiment.pairs.take(range(FIRST)))
    first = request._replace(task=request.task._replace(pairs=few.pairs), experiment=few)
    sweep, n_computed = experiments.run(model, few, agreed=True).sweep, analyse(outline_of, model, few).n_computed
    return PatchMap(first, to_numpy(sweep), column_labels(model, sweep), n_computed, seed=seed, kept=True)


def approximation(model: HookedTransformer, request: Request, seed: int = 0) -> PatchMap | None:
    """Attribution patching of the same cells, from one forward and one backward pass; None for a rank."""
    if request.experiment.metric.kind == "rank":
        return None
    (sweep,) = analyse(attribution, model, [request.experiment])
    return PatchMap(request, sweep, column_labels(model, sweep), 0, approximate=True, seed=seed, kept=True)


def column_labels(model: HookedTransformer, sweep: Sweep) -> list[str]:
    """Positions as "10 Mary": the token of the first pair, "…" where pairs differ, "≠" where clean and corrupted do."""
    if "pos" not in sweep.axes:
        return [str(head) for head in sweep.axes["head"]]
    pairs = sweep.experiment.pairs
    clean = token_labels(model, max(pairs.clean, key=len))
    labels = []
    for pos in sweep.axes["pos"]:
        here = {ids[pos] for ids in pairs.clean if pos < len(ids)}
        differs = any(a[pos] != b[pos] for a, b in zip(pairs.clean, pairs.corrupted) if pos < len(a))
        labels.append(f"{pos} {clean[pos].strip()}{'…' * (len(here) > 1)}{' ≠' * differs}")
    return labels
