"""Which came first: the previous-token head, the induction head, the drop of the loss, the attention sink?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from lens.analysis.counts import counted
from lens.analysis.event_order import (
    INDUCTION,
    LOSS,
    ORDER_RULE,
    PREVIOUS,
    SCORES,
    SINK,
    TITLES,
    Dated,
    Order,
    Orders,
    order_of_run,
)
from lens.figures.theme import number as written
from lens.figures.training import Axis, Level, Panel, Span, Trace, clicked, training
from lens.ui import checkpoint_runs, parts
from lens.ui.calls import analyse, sweep
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.models import source_named
from lens.ui.pages.training_dynamics import words
from lens.ui.pages.training_dynamics.figure import at, checkpoint_at, shared_axis, title_of
from lens.ui.pages.training_dynamics.opened import main_run, open_index, open_point
from lens.ui.store import to_torch
from lens.ui.view import ViewState

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from lens.ui.pages.training_dynamics.controls import Choices
    from lens.ui.pages.training_dynamics.run_curves import RunCurves

OTHERS = (0.05, 0.1, 0.2, 0.3)  # thresholds at which the order is asked as well
LEAST = 0.7  # of the first checkpoint above 0: where a birth begins on a logarithmic axis that began at 0
HEIGHT = 230  # pixels of the panel
SHORT = {PREVIOUS: "previous token", INDUCTION: "induction", LOSS: "loss drop", SINK: "sink"}  # in the figure
MISREADING = (
    "What comes first need not cause what comes later: both may follow from a third. This is the order of this run; "
    "another seed may have another, and for training the seed is the unit. An event is where a line is drawn: with "
    "another line it lies elsewhere, and the order can change."
)


class RunOrder(NamedTuple):
    """The events of one run on the page, at the page's threshold and at others."""

    run: RunCurves
    orders: Orders
    others: dict[float, Orders]


def show_order(view: ViewState, runs: list[RunCurves], choices: Choices) -> None:
    """Scores and births of every run, their order in words, and the way to take them away."""
    orders = [run_order(view, run, choices) for run in runs]
    figures = [figure_of(view, order, choices) for order in orders]
    for order, figure in zip(orders, figures):
        alt = f"Order of events in {title_of(order.run)}. {notice(order)}"
        parts.chart(figure, alt, f"dynamics:order:{order.run.number}", partial(open_point, view, runs), read=clicked)
    events = [event.name for event in orders[0].orders.events]
    scores = " ".join(f"{TITLES[name].capitalize()}: {SCORES[name]}" for name in events)
    asides = (("Rule", ORDER_RULE), *(("Other thresholds", other_words(order)) for order in orders), ("Scores", scores))
    sample = f"{orders[0].orders.n} sequences of {choices.setting.n} random tokens, twice; seed {choices.setting.seed}"
    said = tuple(notice(order) for order in orders)
    explain(view, None, Explanation(said, MISREADING, asides, (("Sample", sample),)))
    payload = {title_of(order.run): order.orders._asdict() | {"labels": order.run.curves.labels} for order in orders}
    code = order_code(main_run(view, runs), choices)
    export(view, Export("order-of-events", figures[0], partial(table, orders), payload, code, opens_model=False))


def run_order(view: ViewState, run: RunCurves, choices: Choices) -> RunOrder:
    """The events of a run; without the sink, and so said, where it is not measured at every checkpoint."""
    seconds = run.seconds(2 * choices.setting.seqs * (2 * choices.setting.n + 1))
    done = sweep(checkpoint_runs.measure_sequences, run.cells, SINK, choices.setting, estimate=seconds).done
    sinks = {cell.index: to_torch(measured.scores) for cell, measured in done.items() if not measured.lost}
    if set(sinks) != set(run.indices):
        view.note(f"the attention sink of {title_of(run)} is not measured at every checkpoint: left out of the order")
    ask = partial(analyse, order_of_run, run.repeats, sinks)
    others = {other: ask(other, choices.setting.seed) for other in OTHERS if other != choices.born}
    return RunOrder(run, ask(choices.born, choices.setting.seed), others)


def figure_of(view: ViewState, order: RunOrder, choices: Choices) -> go.Figure:
    """All scores on one axis, as shares of the most they can be, with the births as stretches in their colours."""
    run, x = order.run, shared_axis([order.run])
    where, traces, spans = at(run, x, run.indices), [], []
    least = LEAST * where[where > 0].min(initial=np.inf) if choices.log else 0.0
    for number, event in enumerate(order.orders.events):
        head = (-1, -1) if event.head is None else event.head
        points = np.array([(run.number, index, *head) for index in run.indices], np.int32)
        name = " ".join([SHORT[event.name], *([] if event.head is None else [str(event.head)])])
        traces.append(Trace(name, where, event.score, points, number, legend=True))
        first, last = event.birth.last_below, event.birth.first_above
        if first is not None and last is not None:
            spans.append(Span(max(where[first], least), where[last], number, SHORT[event.name]))
    levels = [Level(choices.born, f"threshold {written(choices.born)}")]
    panel = Panel(f"Order of events, {title_of(run)} (share of the most possible)", traces, levels)
    is_open = run.name == view["model"] and view["revision"]
    cursor = float(at(run, x, [open_index(view, run)])[0]) if is_open else None
    axis = Axis(x.title, choices.log)
    return training([panel], axis, title="", spans=spans, cursor=cursor, panel_height=HEIGHT)


def notice(order: RunOrder) -> str:
    """When each event was, and what can be said of their order."""
    when = "; ".join(event_words(order.run, event) for event in order.orders.events)
    return f"{title_of(order.run)}: {when}. {order_words(order.orders)}"


def order_words(orders: Orders) -> str:
    """Which events came before which, of which that cannot be told, and which are not there."""
    ordered = [
        f"the {' before the '.join(in_order(pair))} (in {max(pair.before, pair.after):.1%} of resamples)"
        for pair in orders.pairs
        if pair.verdict.found
    ]
    said = [f"In this run {', '.join(ordered).replace(' before', ' came before', 1)}"] if ordered else []
    undated = {event.name for event in orders.events if event.birth.first_above is None}
    for pair in (pair for pair in orders.pairs if pair.verdict.state == "unknown"):
        why = f"first in {pair.before:.0%} and {pair.after:.0%} of resamples, neither in {pair.same:.0%}"
        why = "it is not known when both were" if undated & {pair.first, pair.second} else why
        said.append(f"Whether the {TITLES[pair.first]} or the {TITLES[pair.second]} came first cannot be told: {why}")
    if any(pair.verdict.state == "none" for pair in orders.pairs):
        said.append("What is not there has no order")
    return f"{'. '.join(said)}."


def in_order(pair: Order) -> tuple[str, str]:
    """What came first of two events whose order is found, and what came second."""
    one, other = TITLES[pair.first], TITLES[pair.second]
    return (one, other) if pair.is_before else (other, one)


def event_words(run: RunCurves, event: Dated) -> str:
    """Between which checkpoints an event lies, and where in most resamples; or why it does not."""
    born = event.birth
    if born.first_above is None:
        return f"{TITLES[event.name]}: {'none' if born.state == 'none' else 'cannot be said'}, because {born.reason}"
    if born.last_below is None:
        return f"{_title(event)} at or before {checkpoint_at(run, 0)}"
    text = f"{_title(event)} between {checkpoint_at(run, born.last_below)} and {checkpoint_at(run, born.first_above)}"
    if (event.earliest, event.latest) != (born.first_above, born.first_above):
        text += f" (in 95% of resamples between {_at(run, event.earliest - 1)} and {_at(run, event.latest)})"
    if born.below_again is not None:
        text += f", below again at {checkpoint_at(run, born.below_again)}"
    return text


def other_words(order: RunOrder) -> str:
    """What the same rule says at other thresholds."""
    said = []
    for threshold, orders in order.others.items():
        ordered = [" before ".join(in_order(pair)) for pair in orders.pairs if pair.verdict.found]
        rest = len(orders.pairs) - len(ordered)
        text = ", ".join(ordered) or "no order is told"
        text += f" ({counted(rest, 'pair')} not told)" if ordered and rest else ""
        said.append(f"at {written(threshold)} {text}")
    return f"{title_of(order.run)}: {'; '.join(said)}."


def table(orders: list[RunOrder]) -> pd.DataFrame:
    """One row per run and event, then one per run and pair."""
    rows = []
    for order in orders:
        labels = order.run.curves.labels
        for event in order.orders.events:
            places = (event.birth.last_below, event.birth.first_above, event.earliest, event.latest)
            ends = (None if place is None or place >= len(labels) else labels[place] for place in places)
            row = {"run": title_of(order.run), "event": TITLES[event.name], "head": str(event.head or "")}
            row |= dict(zip(("last below", "first above", "earliest above", "latest above"), ends))
            rows.append(row | {"state": event.birth.state})
        for pair in order.orders.pairs:
            row = {"run": title_of(order.run), "event": f"{TITLES[pair.first]} before {TITLES[pair.second]}"}
            shares = {"share before": pair.before, "share after": pair.after, "share neither": pair.same}
            rows.append(row | shares | {"state": pair.verdict.state})
    return pd.DataFrame(rows)


def order_code(run: RunCurves, choices: Choices) -> str:
    """The Python that computes the order of a run again."""
    opened = words.opening(source_named(run.name), "from lens.analysis.event_order import event_dynamics")
    arguments = f"run, {words.setting_code(choices)}, threshold={choices.born!r}, indices={run.indices}"
    return (
        f"{opened}orders = event_dynamics({arguments})\n"
        "for event in orders.events:\n"
        "    print(event.name, event.birth.last_below, event.birth.first_above, event.head)\n"
        "for pair in orders.pairs:\n"
        "    print(pair.first, pair.second, pair.before, pair.after, pair.verdict.state)"
    )


def _title(event: Dated) -> str:
    return TITLES[event.name] + ("" if event.head is None else f" (head {event.head})")


def _at(run: RunCurves, place: int) -> str:
    if place < 0:
        return "the beginning"
    return "never" if place >= len(run.indices) else checkpoint_at(run, place)
