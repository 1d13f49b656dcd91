"""The curves of the chosen runs as a figure: scores of heads, losses, phase changes, the open checkpoint."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lens.analysis.dynamics import HeadCurve, head_curve, heads_in_order, instrument_end, strongest, strongest_previous
from lens.analysis.names import Head
from lens.figures.theme import number as said
from lens.figures.training import Axis, Level, Panel, Span, Trace, schedule, training
from lens.ui.calls import analyse
from lens.ui.fields import LOCAL
from lens.ui.pages.training_dynamics.controls import AUTO, Look, checkpoint_name
from lens.ui.pages.training_dynamics.read import Shown
from lens.ui.store import to_numpy
from lens.ui.view import ViewState

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from lens.analysis.stats import Estimate

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


def shared_axis(shown: Sequence[Shown]) -> X:
    """Tokens where all runs know them, else steps, else the number of the checkpoint."""
    if all(one.found.tokens is not None for one in shown):
        return X("training tokens", "tokens")
    if {one.found.unit for one in shown} == {"steps"}:
        return X("training steps", "steps")
    return X("checkpoint, counted from 0: the runs count their training differently", "checkpoints")


def at(one: Shown, x: X, indices: Sequence[int]) -> np.ndarray:
    """Where checkpoints of a run stand on the axis."""
    places = {"tokens": one.found.tokens, "steps": one.found.labels, "checkpoints": range(len(one.found))}[x.unit]
    return np.array([places[i] for i in indices], np.float64)


def phase_of(view: ViewState, one: Shown) -> Phase:
    """The run's phase change: by the rule, or, for the view's model, with the ends that were set by hand."""
    window, indices = one.curves.window, one.indices
    if one.name != view["model"] or (view["first"], view["last"]) == (AUTO, AUTO):
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


def heads_of(view: ViewState, one: Shown) -> list[Head]:
    """The heads that are drawn in full, the current one last: chosen ones, else the strongest of a run."""
    return chosen_heads(view, one) or [strongest(one.curves)]


def chosen_heads(view: ViewState, one: Shown) -> list[Head]:
    """Pinned and selected heads of the view's model, the current one last."""
    n_layers, n_heads = one.shape.n_layers, one.shape.n_heads
    wanted = [*(pin for pin in view["pins"] if pin != view.selected), *([view.selected] if view.selected else [])]
    chosen = [Head(*head) for head in wanted if head[0] < n_layers and head[1] < n_heads]
    return chosen[-6:] if one.name == view["model"] and chosen else []


def curve_of(one: Shown, head: Head, look: Look) -> HeadCurve:
    """One head of a run over training."""
    arguments = (one.repeats, head, look.born, look.setting.seed)
    return to_numpy(head_curve(*arguments)) if one.live else analyse(head_curve, *arguments)


def figure_of(view: ViewState, shown: list[Shown], look: Look) -> "go.Figure":
    """All quantities above each other."""
    x = shared_axis(shown)
    spans, cursor = [], None
    for one in shown:
        phase = phase_of(view, one)
        if phase.first is not None:
            ends = at(one, x, [one.indices[phase.first], one.indices[phase.last]])
            spans.append(Span(*ends, one.run, f"{title_of(one)}: phase change{' by hand' if phase.by_hand else ''}"))
        if one.name == view["model"] and view["revision"]:
            cursor = float(at(one, x, [one.found.places.index(view["revision"])])[0])
    panels = [
        *_instrument(view, shown, look, x),
        _scores(view, shown, look, x),
        _previous(view, shown, look, x),
        _repeats(shown, x),
        _in_context(shown, look, x),
        _losses(shown, look, x),
    ]
    return training(panels, Axis(x.title, look.log), title="", spans=spans, cursor=cursor)


def schedule_figure(shown: list[Shown], log: bool) -> "go.Figure":
    """Which checkpoint was saved when."""
    x = shared_axis(shown)
    label = Axis("label: training steps" if x.unit == "steps" else "label: training tokens", log)
    curves = []
    for one in shown:
        every = np.arange(len(one.found))
        labels = at(one, x, every) if x.unit != "checkpoints" else np.array(one.found.labels, np.float64)
        keep = labels > 0 if log else np.ones(len(labels), bool)
        curves.append(Trace(title_of(one), every[keep], labels[keep], NOTHING, one.run))
    if x.unit == "checkpoints":
        label = Axis("label: tokens or steps, as the run counts", log)
    return schedule(curves, label, title="")


def title_of(one: Shown) -> str:
    """The name of a run for display."""
    return one.name.removeprefix(LOCAL)


def _points(one: Shown, head: Head | None = None) -> np.ndarray:
    layer, number = head or (-1, -1)
    return np.array([(one.run, index, layer, number) for index in one.indices], np.int32)


def _instrument(view: ViewState, shown: list[Shown], look: Look, x: X) -> list[Panel]:
    """The chosen instrument, in the runs where it is measured; no panel where it is in none."""
    traces, levels, kind = [], [], look.instrument
    for one in shown:
        curves = one.instrument
        if curves is None or np.isnan(curves.value[-1]).all():
            continue
        here = one._replace(curves=one.curves._replace(indices=curves.indices))
        traces += _background(here, curves.value, x)
        best = instrument_end(curves, by_size=kind.scale == "two-sided").head
        for head in chosen_heads(view, one) or [best]:
            value, low, high = (array[:, head.layer, head.head] for array in (curves.value, curves.low, curves.high))
            ends = (None, None) if np.isnan(low).any() else (low, high)
            points = _points(here, head)
            name = f"{title_of(one)} head {head}, {kind.title.lower()}"
            traces.append(Trace(name, at(one, x, curves.indices), value, points, one.run, *ends))
        if one.name == view["model"] and np.isfinite(curves.threshold[-1]):
            levels.append(Level(float(curves.threshold[-1]), f"null of {title_of(one)}"))
    return [Panel(f"{kind.title}, each head ({kind.unit})", traces, levels)] if traces else []


def _scores(view: ViewState, shown: list[Shown], look: Look, x: X) -> Panel:
    traces, levels = [], [Level(look.born, f"born above {said(look.born)}")]
    for one in shown:
        traces += _background(one, one.curves.effect, x)
        for head in heads_of(view, one):
            found, name = curve_of(one, head, look).effect, f"{title_of(one)} head {head}"
            traces.append(_with_interval(one, name, found, x, head, legend=True))
        if one.name == view["model"] and np.isfinite(one.curves.null[-1]):
            levels.append(Level(float(one.curves.null[-1]), f"null of {title_of(one)}", right=True))
    return Panel("Prefix matching − control, each head (probability)", traces, levels)


def _previous(view: ViewState, shown: list[Shown], look: Look, x: X) -> Panel:
    traces, levels = [], []
    for one in shown:
        traces += _background(one, one.curves.previous, x)
        best = strongest_previous(one.curves)
        found = curve_of(one, best, look).previous
        traces.append(_with_interval(one, f"{title_of(one)} head {best}", found, x, best))
        if one.name == view["model"] and np.isfinite(one.curves.previous_null[-1]):
            levels.append(Level(float(one.curves.previous_null[-1]), f"null of {title_of(one)}"))
    return Panel("Previous token, each head; the strongest in full (probability)", traces, levels)


def _repeats(shown: list[Shown], x: X) -> Panel:
    traces = []
    for one in shown:
        traces.append(_with_interval(one, f"{title_of(one)}, second copy", one.curves.second_copy, x))
        first = _with_interval(one, f"{title_of(one)}, first copy", one.curves.first_copy, x)
        traces.append(first._replace(dash="dot", low=None, high=None, points=NOTHING))
    levels = [Level(float(np.log(shown[0].n)), f"ln {shown[0].n}: a guess among the repeated tokens")]
    return Panel("Loss on repeated random tokens: second copy, first copy dotted (nats)", traces, levels)


def _in_context(shown: list[Shown], look: Look, x: X) -> Panel:
    late, early, around = look.places
    traces = [
        _with_interval(one, f"{title_of(one)}, in context", one.curves.in_context, x)
        for one in shown
        if one.curves.in_context is not None
    ]
    title = f"In-context learning: loss at {late} − loss at {early}, each ± {around} (nats)"
    return Panel(title, traces, [Level(0.0, "")] if traces else [], "" if traces else EMPTY)


def _losses(shown: list[Shown], look: Look, x: X) -> Panel:
    traces, widths = [], set()
    for one in shown:
        if one.curves.held_out is not None:
            traces.append(_with_interval(one, f"{title_of(one)}, held-out text", one.curves.held_out, x))
        per_step = {"tokens": one.found.tokens_per_step, "steps": 1, "checkpoints": None}[x.unit]
        if one.log.steps and per_step is not None:
            width = -(-len(one.log.steps) // LOGGED)
            steps, loss = (_means(np.array(column), width) for column in (one.log.steps, one.log.loss))
            name = f"{title_of(one)}, training, mean of {width} steps"
            where = at(one, x, one.indices)
            start = where[where > 0].min(initial=np.inf) if look.log else 0.0  # earlier would stretch the axis
            seen = steps * per_step >= start
            traces.append(Trace(name, steps[seen] * per_step, loss[seen], NOTHING, one.run, dash="dot"))
            widths.add(str(width))
    logged = f"; training loss dotted, mean of {'/'.join(sorted(widths))} steps" if widths else ""
    return Panel(f"Loss on held-out text{logged} (nats)", traces, (), "" if traces else EMPTY)


def _means(values: np.ndarray, width: int) -> np.ndarray:
    """Means of ``width`` neighbours; a shorter rest at the end is a mean of its own."""
    starts = np.arange(0, len(values), width)
    return np.add.reduceat(values.astype(np.float64), starts) / np.diff([*starts, len(values)])


def _background(one: Shown, scores: np.ndarray, x: X) -> list[Trace]:
    """The other heads, thin: all of a small model, the strongest of a large one."""
    heads = heads_in_order(scores, FAINT)
    where = at(one, x, one.indices)
    return [
        Trace(f"{title_of(one)} head {head}", where, scores[:, head.layer, head.head], _points(one, head), one.run,
              faint=True)
        for head in heads
    ]  # fmt: skip


def _with_interval(
    one: Shown, name: str, found: "Estimate", x: X, head: Head | None = None, legend: bool = False
) -> Trace:
    arrays = [None if bound is None else np.asarray(bound) for bound in (found.mean, found.low, found.high)]
    where, points = at(one, x, one.indices), _points(one, head)
    return Trace(name, where, arrays[0], points, one.run, arrays[1], arrays[2], legend=legend)


def said_checkpoint(one: Shown, place: int) -> str:
    """A place on a run's curves in words."""
    return checkpoint_name(one.found, one.indices[place])
