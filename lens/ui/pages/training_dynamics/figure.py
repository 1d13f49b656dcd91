"""The curves of the chosen runs as a figure: scores of heads, losses, phase changes, the open checkpoint."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from lens.analysis.dynamics import HeadCurve, head_curve, heads_in_order, instrument_end, strongest, strongest_previous
from lens.analysis.names import Head
from lens.analysis.stats import Estimate
from lens.figures.theme import number as written
from lens.figures.training import Axis, Level, Panel, Span, Trace, schedule, training
from lens.ui.fields import LOCAL
from lens.ui.pages.training_dynamics.controls import AUTO, Choices, checkpoint_name
from lens.ui.pages.training_dynamics.run_curves import RunCurves
from lens.ui.shared.computing import compute
from lens.ui.view import ViewState

NOTHING = np.empty((0, 4), np.int32)
FAINT = 48  # heads of a run that are drawn in the background; of more, the strongest
LOGGED = 150  # points of the training loss
EMPTY = "not computed yet, or for no run"


class X(NamedTuple):
    """What the shared axis counts."""

    title: str
    unit: str  # "tokens", "steps" or "checkpoints"


class Phase(NamedTuple):
    """A phase change as it is drawn: places in the curves of a run, None for none."""

    first: int | None
    last: int | None
    by_hand: bool


def shared_axis(runs: Sequence[RunCurves]) -> X:
    """Tokens where all runs know them, else steps, else the number of the checkpoint."""
    if all(run.checkpoints.tokens is not None for run in runs):
        return X("training tokens", "tokens")
    if {run.checkpoints.unit for run in runs} == {"steps"}:
        return X("training steps", "steps")
    return X("checkpoint, counted from 0: the runs count their training differently", "checkpoints")


def at(run: RunCurves, x: X, indices: Sequence[int]) -> np.ndarray:
    """Where checkpoints of a run stand on the axis."""
    places = {
        "tokens": run.checkpoints.tokens,
        "steps": run.checkpoints.labels,
        "checkpoints": range(len(run.checkpoints)),
    }[x.unit]
    return np.array([places[i] for i in indices], np.float64)


def phase_of(view: ViewState, run: RunCurves) -> Phase:
    """The run's phase change: by the rule, or, for the view's model, with the ends that were set by hand."""
    window, indices = run.curves.window, run.indices
    if run.name != view["model"] or (view["first"], view["last"]) == (AUTO, AUTO):
        return Phase(window.first, window.last, by_hand=False)
    ends = [
        rule if view[edge] == AUTO else indices.index(int(view[edge])) if int(view[edge]) in indices else rule
        for edge, rule in (("first", window.first), ("last", window.last))
    ]
    if None in ends:
        view.note("a phase change by hand needs both its ends: the rule finds none here")
        return Phase(None, None, by_hand=False)
    if ends[0] >= ends[1]:
        view.note("a phase change by hand must end after it begins: showing what the rule says")
        return Phase(window.first, window.last, by_hand=False)
    return Phase(ends[0], ends[1], by_hand=True)


def heads_of(view: ViewState, run: RunCurves) -> list[Head]:
    """The heads that are drawn in full, the current one last: chosen ones, else the strongest of a run."""
    return chosen_heads(view, run) or [strongest(run.curves)]


def chosen_heads(view: ViewState, run: RunCurves) -> list[Head]:
    """Pinned and selected heads of the view's model, the current one last."""
    n_layers, n_heads = run.shape.n_layers, run.shape.n_heads
    heads = [*(pin for pin in view["pins"] if pin != view.selected), *([view.selected] if view.selected else [])]
    chosen = [Head(*head) for head in heads if head[0] < n_layers and head[1] < n_heads]
    return chosen[-6:] if run.name == view["model"] and chosen else []


def curve_of(run: RunCurves, head: Head, choices: Choices) -> HeadCurve:
    """One head of a run over training."""
    arguments = (run.repeats, head, choices.born, choices.setting.seed)
    return compute(head_curve, *arguments, kept=not run.live)


def figure_of(view: ViewState, runs: list[RunCurves], choices: Choices) -> go.Figure:
    """All quantities above each other."""
    x = shared_axis(runs)
    spans, cursor = [], None
    for run in runs:
        phase = phase_of(view, run)
        if phase.first is not None:
            ends = at(run, x, [run.indices[phase.first], run.indices[phase.last]])
            spans.append(Span(*ends, run.number, f"{title_of(run)}: phase change{' by hand' if phase.by_hand else ''}"))
        if run.name == view["model"] and view["revision"]:
            cursor = float(at(run, x, [run.checkpoints.places.index(view["revision"])])[0])
    panels = [
        *_instrument(view, runs, choices, x),
        _scores(view, runs, choices, x),
        _previous(view, runs, choices, x),
        _repeats(runs, x),
        _in_context(runs, choices, x),
        _losses(runs, choices, x),
    ]
    return training(panels, Axis(x.title, choices.log), title="", spans=spans, cursor=cursor)


def schedule_figure(runs: list[RunCurves], log: bool) -> go.Figure:
    """Which checkpoint was saved when."""
    x = shared_axis(runs)
    label = Axis("label: training steps" if x.unit == "steps" else "label: training tokens", log)
    curves = []
    for run in runs:
        every = np.arange(len(run.checkpoints))
        labels = at(run, x, every) if x.unit != "checkpoints" else np.array(run.checkpoints.labels, np.float64)
        keep = labels > 0 if log else np.ones(len(labels), bool)
        curves.append(Trace(title_of(run), every[keep], labels[keep], NOTHING, run.number))
    if x.unit == "checkpoints":
        label = Axis("label: tokens or steps, as the run counts", log)
    return schedule(curves, label, title="")


def title_of(run: RunCurves) -> str:
    """The name of a run for display."""
    return run.name.removeprefix(LOCAL)


def _points(run: RunCurves, head: Head | None = None) -> np.ndarray:
    layer, number = head or (-1, -1)
    return np.array([(run.number, index, layer, number) for index in run.indices], np.int32)


def _instrument(view: ViewState, runs: list[RunCurves], choices: Choices, x: X) -> list[Panel]:
    """The chosen instrument, in the runs where it is measured; no panel where it is in none."""
    traces, levels, kind = [], [], choices.instrument
    for run in runs:
        curves = run.instrument
        if curves is None or np.isnan(curves.value[-1]).all():
            continue
        here = run._replace(curves=run.curves._replace(indices=curves.indices))
        traces += _background(here, curves.value, x)
        best = instrument_end(curves, by_size=kind.scale == "two-sided").head
        for head in chosen_heads(view, run) or [best]:
            value, low, high = (array[:, head.layer, head.head] for array in (curves.value, curves.low, curves.high))
            ends = (None, None) if np.isnan(low).any() else (low, high)
            points = _points(here, head)
            name = f"{title_of(run)} head {head}, {kind.title.lower()}"
            traces.append(Trace(name, at(run, x, curves.indices), value, points, run.number, *ends))
        levels += _null_level(view, run, curves.threshold)
    return [Panel(f"{kind.title}, each head ({kind.unit})", traces, levels)] if traces else []


def _null_level(view: ViewState, run: RunCurves, nulls: np.ndarray, right: bool = False) -> list[Level]:
    """What chance reaches at the last checkpoint of the view's model; no line for the others."""
    drawn = run.name == view["model"] and np.isfinite(nulls[-1])
    return [Level(float(nulls[-1]), f"null of {title_of(run)}", right=right)] if drawn else []


def _scores(view: ViewState, runs: list[RunCurves], choices: Choices, x: X) -> Panel:
    traces, levels = [], [Level(choices.born, f"born above {written(choices.born)}")]
    for run in runs:
        traces += _background(run, run.curves.effect, x)
        for head in heads_of(view, run):
            estimate, name = curve_of(run, head, choices).effect, f"{title_of(run)} head {head}"
            traces.append(_with_interval(run, name, estimate, x, head, legend=True))
        levels += _null_level(view, run, run.curves.null, right=True)
    return Panel("Prefix matching − control, each head (probability)", traces, levels)


def _previous(view: ViewState, runs: list[RunCurves], choices: Choices, x: X) -> Panel:
    traces, levels = [], []
    for run in runs:
        traces += _background(run, run.curves.previous, x)
        best = strongest_previous(run.curves)
        estimate = curve_of(run, best, choices).previous
        traces.append(_with_interval(run, f"{title_of(run)} head {best}", estimate, x, best))
        levels += _null_level(view, run, run.curves.previous_null)
    return Panel("Previous token, each head; the strongest in full (probability)", traces, levels)


def _repeats(runs: list[RunCurves], x: X) -> Panel:
    traces = []
    for run in runs:
        traces.append(_with_interval(run, f"{title_of(run)}, second copy", run.curves.second_copy, x))
        first = _with_interval(run, f"{title_of(run)}, first copy", run.curves.first_copy, x)
        traces.append(first._replace(dash="dot", low=None, high=None, points=NOTHING))
    levels = [Level(float(np.log(runs[0].n)), f"ln {runs[0].n}: a guess among the repeated tokens")]
    return Panel("Loss on repeated random tokens: second copy, first copy dotted (nats)", traces, levels)


def _in_context(runs: list[RunCurves], choices: Choices, x: X) -> Panel:
    late, early, around = choices.places
    traces = [
        _with_interval(run, f"{title_of(run)}, in context", run.curves.in_context, x)
        for run in runs
        if run.curves.in_context is not None
    ]
    title = f"In-context learning: loss at {late} − loss at {early}, each ± {around} (nats)"
    return Panel(title, traces, [Level(0.0, "")] if traces else [], "" if traces else EMPTY)


def _losses(runs: list[RunCurves], choices: Choices, x: X) -> Panel:
    traces, widths = [], set()
    for run in runs:
        if run.curves.held_out is not None:
            traces.append(_with_interval(run, f"{title_of(run)}, held-out text", run.curves.held_out, x))
        per_step = {"tokens": run.checkpoints.tokens_per_step, "steps": 1, "checkpoints": None}[x.unit]
        if run.log.steps and per_step is not None:
            width = -(-len(run.log.steps) // LOGGED)
            steps, loss = (_means(np.array(column), width) for column in (run.log.steps, run.log.loss))
            name = f"{title_of(run)}, training, mean of {width} steps"
            where = at(run, x, run.indices)
            start = where[where > 0].min(initial=np.inf) if choices.log else 0.0  # earlier would stretch the axis
            seen = steps * per_step >= start
            traces.append(Trace(name, steps[seen] * per_step, loss[seen], NOTHING, run.number, dash="dot"))
            widths.add(str(width))
    logged = f"; training loss dotted, mean of {'/'.join(sorted(widths))} steps" if widths else ""
    return Panel(f"Loss on held-out text{logged} (nats)", traces, (), "" if traces else EMPTY)


def _means(values: np.ndarray, width: int) -> np.ndarray:
    """Means of ``width`` neighbours; a shorter rest at the end is a mean of its own."""
    starts = np.arange(0, len(values), width)
    return np.add.reduceat(values.astype(np.float64), starts) / np.diff([*starts, len(values)])


def _background(run: RunCurves, scores: np.ndarray, x: X) -> list[Trace]:
    """The other heads, thin: all of a small model, the strongest of a large one."""
    heads = heads_in_order(scores, FAINT)
    where = at(run, x, run.indices)
    return [
        Trace(f"{title_of(run)} head {head}", where, scores[:, head.layer, head.head], _points(run, head), run.number,
              faint=True)
        for head in heads
    ]  # fmt: skip


def _with_interval(
    run: RunCurves, name: str, estimate: Estimate, x: X, head: Head | None = None, legend: bool = False
) -> Trace:
    arrays = [None if bound is None else np.asarray(bound) for bound in (estimate.mean, estimate.low, estimate.high)]
    where, points = at(run, x, run.indices), _points(run, head)
    return Trace(name, where, arrays[0], points, run.number, arrays[1], arrays[2], legend=legend)


def checkpoint_at(run: RunCurves, place: int) -> str:
    """A place on a run's curves in words."""
    return checkpoint_name(run.checkpoints, run.indices[place])
