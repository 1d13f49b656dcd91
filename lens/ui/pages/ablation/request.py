"""What the Ablation page is asked to remove, on which task, and the runs that answer."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from lens.analysis.interventions import Experiment, Metric, ablation
from lens.analysis.interventions.ablation import PUTS, Cells, Joint, Removed, Target
from lens.analysis.interventions.work import outline_of
from lens.analysis.largest_head import largest_head
from lens.hooked import HookedTransformer
from lens.ui.calls import analyse, call_key
from lens.ui.ending import end_page
from lens.ui.pages.ablation import KEPT, TASKS, WHAT
from lens.ui.shared import experiments, repeats, tasks
from lens.ui.shared.score_board import fill
from lens.ui.shared.task_fields import METRICS
from lens.ui.view import ViewState
from lens.ui.waiting import started
from lens.ui.widgets import head_picker, number, segmented, toggle

WHAT_HELP = (
    "**Pinned heads** are removed together, and each alone. **One head:** the current one. **A layer's heads:** all "
    "of it. **An MLP:** the whole MLP of a layer. All single heads stand in the grid below."
)
KEEP_HELP = (
    "**Full:** everything after it reacts. **Patterns kept:** all attention patterns stay as they were, so later heads "
    "read other values but do not look elsewhere."
)
PREDICT_HELP = "Hides the result until you have said what you expect. Nothing is computed before."


class Request(NamedTuple):
    """What is removed, and what it is measured on."""

    task: tasks.TaskChoice
    metric: Metric
    cells: Cells
    frozen: bool  # whether attention patterns stay as they were
    why: str  # why these heads, where nobody chose any

    @property
    def measure(self) -> str:
        """The metric in a sentence."""
        if self.task.name == "induction" and self.metric == self.task.metric:
            return "loss of the second copy"
        return METRICS[self.metric.kind].replace("KL", "kl").lower().replace("kl", "KL")

    def experiment(self, replacement: str) -> Experiment:
        """All sets, removed in one way."""
        return ablation.ablation(self.task.pairs, self.metric, self.cells, replacement, self.frozen)

    def heads(self, replacement: str) -> Experiment:
        """Every head removed alone, in one way."""
        return ablation.single_heads(self.task.pairs, self.metric, replacement, self.frozen)


class Result(NamedTuple):
    """All ways of removing that are computed, resampling first."""

    cells: Cells
    ways: dict[str, Removed]  # arrays as numpy
    joint: Joint | None
    metric: str
    unit: str


def choose(view: ViewState, model: HookedTransformer) -> Request:
    """The rows of widgets, and what they ask for."""
    task = tasks.choose_task(view, model, TASKS)
    if view["what"] == "mlp" and model.cfg.attn_only:
        view.note(f"{model.name} has attention layers only, so there is no MLP to remove: showing pinned heads")
        view.set(what=None)
    offered = tuple(WHAT)[: 3 if model.cfg.attn_only else 4]
    controls = st.container(horizontal=True, vertical_alignment="bottom", key="ablation-controls")
    filling = st.empty()
    with controls:
        what = segmented(view, "what", offered, "Remove", WHAT_HELP, format_func=WHAT.get)
        target, why = _target(view, model, what, filling)
        segmented(view, "keep", tuple(KEPT), "Attention", KEEP_HELP, format_func=KEPT.get)
        metric = tasks.choose_metric(view, task)
        number(view, "seed", (0, 2**31 - 1), "Seed", "Of the task, the controls and the intervals.", width=100)
        toggle(view, "predict", "Predict first", PREDICT_HELP)
    return Request(task, metric, ablation.cells_of(model.cfg, target, view["seed"]), view["keep"] == "patterns", why)


def _target(view: ViewState, model: HookedTransformer, what: str, filling: DeltaGenerator) -> tuple[Target, str]:
    """What is removed, and why; where nobody chose, all heads are scored first, which fills in ``filling``."""
    cfg = model.cfg
    if what == "head":
        return Target((head_picker(view, cfg.n_layers, cfg.n_heads),)), ""
    if what in ("layer", "mlp"):
        layer = int(number(view, "layer", (0, cfg.n_layers - 1), "Layer", "Zero-based layer.", width=110))
        if what == "mlp":
            return Target(mlps=(layer,)), ""
        return Target(tuple((layer, head) for head in range(cfg.n_heads))), ""
    if view["pins"]:
        return Target(tuple(view["pins"])), ""
    if view.selected:
        return Target((view.selected,)), f"No head is pinned, so the selected one, {view.selected}, is removed."
    sample = repeats.sample(model, repeats.settings(view, model), partial(fill, filling))
    filling.empty()
    best = largest_head(sample.scores["induction"].score.mean)
    why = f"No head is pinned or selected, so the strongest induction head, {best}, is removed. "
    return Target((best,)), f"{why}The grid below selects and pins."


def compute(view: ViewState, model: HookedTransformer, request: Request, draw: Callable[[Result], None]) -> Result:
    """All ways of removing, one after the other; ``draw`` shows those so far before one that takes a while.

    Resampling, which carries the verdict, comes first; with a large model the others wait for a click. A cancel keeps
    what is done.
    """
    result = Result(request.cells, {}, None, request.measure, request.metric.unit)
    for replacement in PUTS:
        if replacement == PUTS[1] and not _may_go_on(model, request):
            break
        experiment = request.experiment(replacement)
        if result.ways and not experiments.is_computed(model, experiment):
            draw(result)
        sweep, complete, _ = experiments.run(model, experiment)
        if not complete:
            break
        result.ways[replacement] = analyse(ablation.removed, sweep, view["seed"])
        if replacement == "other":
            result = result._replace(joint=analyse(ablation.joint, sweep, request.cells, view["seed"]))
    if not result.ways:
        end_page()
    return result


def _may_go_on(model: HookedTransformer, request: Request) -> bool:
    """Whether the ways of removing after the first are short, asked for or done; else their button is drawn."""
    first, rest = request.experiment(PUTS[0]), [request.experiment(way) for way in PUTS[1:]]
    seconds = len(rest) * analyse(outline_of, model, first).seconds  # each has as many cells to run as the first
    key = f"ways-{call_key(outline_of, (model, first), {})}"
    done = all(experiments.is_computed(model, way) for way in rest)
    return started(key, seconds, "Mean and zero ablation of the same are not computed yet.", done)
