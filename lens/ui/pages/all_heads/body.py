"""Which heads to look at first?"""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from lens.analysis.head_table import beyond_chance, columns_of, matching, profiles_of
from lens.analysis.instruments.registry import instrument
from lens.analysis.names import Head
from lens.analysis.score_summary import strongest
from lens.figures.measure import Measure
from lens.figures.profiles import profiles
from lens.figures.scatter import scatter
from lens.ui import parts
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.limits import limits
from lens.ui.models import open_model
from lens.ui.pages.all_heads import NO_COLOUR, words
from lens.ui.pages.all_heads.scan_tab import show_scan
from lens.ui.pages.all_heads.table import Heads, draw_rows, rows, show_alike, show_table
from lens.ui.shared import heads as shared_heads
from lens.ui.shared import repeats
from lens.ui.shared.every_instrument import Measured, measure_every
from lens.ui.shared.score_board import fill, measure, repeats_python
from lens.ui.widgets import number, select, show_tabs, text_line

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from lens.hooked import HookedTransformer
    from lens.ui.shared.repeats import Sample
    from lens.ui.view import ViewState

WHERE_HELP = (
    "Only heads that meet it, such as `induction > 0.3 and ov_copying < 0`, `beyond(previous) or layer == 1`, "
    "`abs(direct_effect) > 0.1`. A column's help says its name here; `beyond(name)`: beyond chance in that test."
)
AXIS_HELP = "An instrument that is measured; the others are offered by the button above the table."
TABS = {
    "table": ("The table", show_table),
    "alike": ("Most alike", show_alike),
    "scan": ("Where to look: a scan", show_scan),
}


def draw(view: "ViewState") -> None:
    """The page, from top to bottom."""
    model = open_model(view)
    controls = st.container(horizontal=True, vertical_alignment="bottom", key="all-heads-controls")
    left, right = st.columns([1.2, 1], gap="medium")
    place, offer, filling = left.empty(), st.empty(), st.empty()
    sample = repeats.sample(model, repeats.settings(view, model), partial(fill, place))

    def draw_so_far(measured: Measured) -> None:
        with filling.container():
            draw_rows(_heads(view, measured))

    measured = measure_every(view, model, sample, offer, draw_so_far)
    filling.empty()
    with controls:
        _choose(view, measured)
    heads = _heads(view, measured)
    with place.container():
        figure = _show_scatter(view, heads)
    with right:
        _show_profiles(view, heads)
    _explain(view, model, heads, sample)
    show_tabs(view, "more", TABS, view, model, heads)
    _take_away(view, heads, sample, figure)


def _choose(view: "ViewState", measured: Measured) -> None:
    """Which instruments are drawn, which heads, and on which tokens they are measured."""
    titles = {name: instrument(name).title for name in measured.scores}
    for name, label in (("across", "Across"), ("up", "Up")):
        view.one_of(name, (view.field(name).default, *titles))
        select(view, name, tuple(titles), label, AXIS_HELP, format_func=titles.get, width=190)
    offered = {NO_COLOUR: "one colour"} | titles
    view.one_of("colour", tuple(offered))
    select(view, "colour", tuple(offered), "Colour", AXIS_HELP, format_func=offered.get, width=190)
    text_line(view, "where", "Heads where", WHERE_HELP, placeholder="induction > 0.3 and ov_copying < 0", width=290)
    number(view, "seed", (0, 2**31 - 1), "Seed", "Of the random tokens: another one draws others.", width=90)


def _heads(view: "ViewState", measured: Measured) -> Heads:
    columns, wanted = columns_of(measured.scores), None
    if view["where"].strip():
        try:
            wanted = matching(columns, view["where"])
        except ValueError as error:
            view.note(f"{error} Showing all heads")
    best = strongest(measured.scores["induction"])
    every = np.ones(np.shape(measured.scores["induction"].score.mean), bool)
    return Heads(measured, columns, every if wanted is None else wanted, shared_heads.current(view, best))


def _show_scatter(view: "ViewState", heads: Heads) -> "go.Figure":
    """Two instruments of every head, a third as colour; a click selects, a second one and a box pin."""

    def wanted(name: str) -> Measure:
        drawn = measure(heads.measured.scores[name])
        return replace(drawn, values=np.where(heads.wanted, drawn.values, np.nan))

    x, y = wanted(view["across"]), wanted(view["up"])
    colour = None if view["colour"] == NO_COLOUR else wanted(view["colour"])
    title = f"{instrument(view['up']).title} against {instrument(view['across']).title.lower()}"
    pins, current = view["pins"], heads.head
    figure = scatter(x, y, pinned=pins, current=current, title=title, colour=colour, box=True)
    alt = f"{title}: {int(heads.wanted.sum())} heads. Drag a box to pin the heads in it."
    pin = partial(_pin_all, view)
    parts.chart(figure, alt, "all-heads:scatter", lambda head: view.click(*head), on_box=pin)
    return figure


def _pin_all(view: "ViewState", cells: list[tuple[int, ...]]) -> None:
    """Pin the heads of a box, as many as can be."""
    chosen = [Head(*cell) for cell in cells]
    if len(chosen) > limits().pins:
        view.note(f"{len(chosen)} heads are in the box, {limits().pins} can be pinned: these are the first of them")
    view.set(pins=tuple(chosen[: limits().pins]))


def _show_profiles(view: "ViewState", heads: Heads) -> None:
    """The pinned heads, or the current one, in every instrument."""
    chosen = list(view["pins"]) or [heads.head]
    names = ", ".join(map(str, chosen))
    titles = [instrument(name).title for name in heads.columns]
    title = f"{'Head' if len(chosen) == 1 else 'Heads'} {names} among all, in {len(titles)} instruments"
    parts.chart(profiles(chosen, *profiles_of(heads.columns, chosen), titles, title=title), title, "all-heads:profiles")


def _explain(view: "ViewState", model: "HookedTransformer", heads: Heads, sample: "Sample") -> None:
    waiting = sum(why.startswith("not yet") for why in heads.measured.why.values())
    text = words.notice(beyond_chance(heads.columns), heads.wanted.size, waiting)
    matched = words.matched(view["where"].strip(), int(heads.wanted.sum()), heads.wanted.size)
    measured = (("Against chance", words.CHANCE), ("Sample", f"{sample.scores.source}. Weights are read as they are."))
    explain(view, model, Explanation(text, words.MISREADING, asides=(("Condition", matched),), measured=measured))


def _take_away(view: "ViewState", heads: Heads, sample: "Sample", figure: "go.Figure") -> None:
    scores, frame = heads.measured.scores, rows(heads)
    payload = {
        "instruments": {name: score.kind._asdict() for name, score in scores.items()},
        "thresholds": {name: score.threshold for name, score in scores.items()},
        "missing": dict(heads.measured.why),
        "condition": view["where"],
        "source": sample.scores.source,
        "seed": sample.settings.seed,
        "heads": frame.to_dict(orient="list"),
    }
    export(view, Export("all-heads", figure, frame, payload, _code(view, heads, sample), reads_prompt=False))


def _code(view: "ViewState", heads: Heads, sample: "Sample") -> str:
    """The Python that measures the table again and counts what its tests find."""
    python = repeats_python(sample.settings)
    condition = view["where"].strip() or "layer >= 0"
    return (
        "from lens.analysis.head_table import beyond_chance, columns_of, matching\n"
        "from lens.analysis.instruments.measure import measure\n"
        "from lens.analysis.instruments.registry import instruments_named\n"
        f"{python.imports}\n"
        f"names = {list(heads.measured.scores)!r}\n"
        f"scores = measure(model, instruments_named(names), {python.samples})\n"
        "table = columns_of(scores.scores)\n"
        "print(beyond_chance(table))\n"
        f"print(matching(table, {condition!r}).nonzero())"
    )
