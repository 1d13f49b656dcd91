"""The Ablation page: what is removed, on which task, and the runs that answer."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import streamlit as st

from lens.analysis.interventions.ablation import PUTS, Removed, joint, removed
from lens.ui.calls import analyse, call_key
from lens.ui.ending import end_page
from lens.ui.pages.ablation import KEPT, TASKS, WHAT
from lens.ui.shared import experiments, heads, repeats, tasks
from lens.ui.shared.score_board import fill
from lens.ui.shared.task_fields import METRICS
from lens.ui.store import to_numpy
from lens.ui.view import ViewState
from lens.ui.waiting import started
from lens.ui.widgets import head_picker, number, segmented, toggle

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

WHAT_HELP = (
    "**Pinned heads** are removed together, and each alone. **One head:** the current one. **A layer's heads:** all "
    "of it. **An MLP:** the whole MLP of a layer. All single heads stand in the grid below."
)
KEEP_HELP = (
    "**Full:** everything after it reacts. **Patterns kept:** all attention patterns stay as they were, so later heads "
    "read other values but do not look elsewhere."
)
PREDICT_HELP = "Hides the result until you have said what you expect. Nothing is computed before."


class Asked(NamedTuple):
    """What is removed, and what it is measured on."""

    task: tasks.Chosen
    metric: Any  # Metric
    cells: Any  # Cells
    frozen: bool
    why: str  # why these heads, where nobody chose any

    def experiment(self, put: str) -> Any:
        """All sets, removed in one way."""
        from lens.analysis.interventions.ablation import ablation

        return ablation(self.task.pairs, self.metric, self.cells, put, self.frozen)

    def heads(self, put: str) -> Any:
        """Every head removed alone, in one way."""
        from lens.analysis.interventions.ablation import single_heads

        return single_heads(self.task.pairs, self.metric, put, self.frozen)


class Found(NamedTuple):
    """All ways of removing that are computed, resampling first."""

    cells: Any
    removed: dict[str, Removed]  # arrays as numpy
    joint: Any  # Joint | None
    metric: str
    unit: str

    @property
    def first_control(self) -> int:
        """Index of the first control among the sets."""
        return 1 + len(self.cells.alone)


def choose(view: ViewState, model: Any) -> Asked:
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
    from lens.analysis.interventions.ablation import cells_of

    return Asked(task, metric, cells_of(model.cfg, target, view["seed"]), view["keep"] == "patterns", why)


def _target(view: ViewState, model: Any, what: str, filling: "DeltaGenerator") -> tuple[Any, str]:
    """What is removed, and why; where nobody chose, all heads are scored first, which fills in ``filling``."""
    from lens.analysis.interventions.ablation import Target

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
    best = heads.strongest(sample.scores["induction"].score.mean)
    why = f"No head is pinned or selected, so the strongest induction head, {best}, is removed. "
    return Target((best,)), f"{why}The grid below selects and pins."


def compute(view: ViewState, model: Any, asked: Asked, draw: Callable[[Found], Any]) -> Found:
    """All ways of removing, one after the other; ``draw`` shows what there is after each. A cancel keeps the rest.

    Resampling, which carries the verdict, comes first; with a large model the others wait for a click.
    """
    found = Found(asked.cells, {}, None, measure_name(asked), asked.metric.unit)
    for put in PUTS:
        if put == PUTS[1] and not _may_go_on(model, asked):
            break
        result, complete = experiments.run(model, asked.experiment(put))
        if not complete:
            break
        found.removed[put] = to_numpy(removed(result, view["seed"]))
        if put == "other":
            found = found._replace(joint=joint(result, asked.cells, view["seed"]))
        draw(found)
    if not found.removed:
        end_page()
    return found


def _may_go_on(model: Any, asked: Asked) -> bool:
    """Whether the ways of removing after the first are short, asked for or done; else their button is drawn."""
    from lens.analysis.interventions import outline

    first, rest = asked.experiment(PUTS[0]), [asked.experiment(put) for put in PUTS[1:]]
    seconds = len(rest) * analyse(outline, model, first).seconds  # each has as many cells to run as the first
    key = f"ways-{call_key(outline, (model, first), {})}"
    done = all(experiments.is_computed(model, one) for one in rest)
    return started(key, seconds, "Mean and zero ablation of the same are not computed yet.", done)


def measure_name(asked: Asked) -> str:
    """The metric in a sentence."""
    if asked.task.name == "induction" and asked.metric == asked.task.metric:
        return "loss of the second copy"
    return METRICS[asked.metric.kind].replace("KL", "kl").lower().replace("kl", "KL")
