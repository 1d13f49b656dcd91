"""The Ablation page: what is removed, on which task, and the runs that answer."""

from collections.abc import Callable
from typing import NamedTuple

import streamlit as st

from lens.analysis.interventions import Experiment, Metric, ablation
from lens.analysis.interventions.ablation import Cells, Joint, Removed, Target
from lens.hooked import HookedTransformer
from lens.ui.ending import end_page
from lens.ui.pages.ablation import KEPT, TASKS, WHAT
from lens.ui.shared import experiments, heads, repeats, tasks
from lens.ui.shared.task_fields import METRICS
from lens.ui.store import to_numpy
from lens.ui.view import ViewState
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
    with st.container(horizontal=True, vertical_alignment="bottom", key="ablation-controls"):
        what = segmented(view, "what", offered, "Remove", WHAT_HELP, format_func=WHAT.get)
        target, why = _target(view, model, what)
        segmented(view, "keep", tuple(KEPT), "Attention", KEEP_HELP, format_func=KEPT.get)
        metric = tasks.choose_metric(view, task)
        number(view, "seed", (0, 2**31 - 1), "Seed", "Of the task, the controls and the intervals.", width=100)
        toggle(view, "predict", "Predict first", PREDICT_HELP)
    return Request(task, metric, ablation.cells_of(model.cfg, target, view["seed"]), view["keep"] == "patterns", why)


def _target(view: ViewState, model: HookedTransformer, what: str) -> tuple[Target, str]:
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
    best = heads.strongest(repeats.sample(model, repeats.settings(view, model)).scores["induction"].score.mean)
    why = f"No head is pinned or selected, so the strongest induction head, {best}, is removed. "
    return Target((best,)), f"{why}The grid below selects and pins."


def compute(view: ViewState, model: HookedTransformer, request: Request, draw: Callable[[Result], None]) -> Result:
    """All ways of removing, one after the other; ``draw`` shows what there is after each. A cancel keeps the rest."""
    result = Result(request.cells, {}, None, request.measure, request.metric.unit)
    for replacement in ablation.PUTS:
        sweep, complete, _ = experiments.run(model, request.experiment(replacement))
        if not complete:
            break
        result.ways[replacement] = to_numpy(ablation.removed(sweep, view["seed"]))
        if replacement == "other":
            result = result._replace(joint=ablation.joint(sweep, request.cells, view["seed"]))
        draw(result)
    if not result.ways:
        end_page()
    return result
