"""Every head at every checkpoint in one picture: the chosen instrument, a row a head, a column a checkpoint."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.dynamics import heads_in_order
from lens.analysis.names import Head
from lens.analysis.verdicts import exceeds
from lens.figures.grid import grid
from lens.figures.measure import Axes, Measure
from lens.figures.theme import number as written
from lens.load.checkpoints import checkpoint_name
from lens.ui import parts
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.models import source_named
from lens.ui.pages.training_dynamics import words
from lens.ui.pages.training_dynamics.figure import checkpoint_at, shared_axis, title_of
from lens.ui.pages.training_dynamics.opened import main_run, open_index, open_point

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from jaxtyping import Bool, Float

    from lens.ui.pages.training_dynamics.controls import Choices
    from lens.ui.pages.training_dynamics.run_curves import RunCurves
    from lens.ui.view import ViewState

ROWS = 24  # heads, at most; of more, the ones that stand out most at the end
MISREADING = (
    "Hatched means within what chance gives the best of all heads at that one checkpoint; with many checkpoints a lone "
    "coloured cell between hatched ones can still be chance. A head that is strong early and late need not do the same "
    "thing in between: a number says how much, not how."
)


class HeadMap(NamedTuple):
    """One number of every head of a run at every checkpoint on its curves."""

    run: RunCurves
    title: str
    value: Float[np.ndarray, "checkpoint layer head"]
    within: Bool[np.ndarray, "checkpoint layer head"] | None  # within chance; None where no sample can say
    indices: list[int]
    by_size: bool  # a two-sided number: far below 0 stands out as well

    @property
    def heads(self) -> list[Head]:
        """The heads that are drawn, in the order of the model."""
        size = np.abs(self.value) if self.by_size else self.value
        return sorted(heads_in_order(np.nan_to_num(size, nan=-np.inf), ROWS))


def show_heads(view: ViewState, runs: list[RunCurves], choices: Choices) -> None:
    """The map of every run that has the chosen number, what to see in it, and the way to take it away."""
    maps = [scores for run in runs if (scores := head_map(run, choices)) is not None]
    if not maps:
        name = choices.instrument.title.lower()
        parts.not_computed(f"no run here has {name}, or it is not measured yet: its button stands above the curves.")
        return
    size = max(float(np.nanmax(np.abs(scores.value[:, *zip(*scores.heads)]), initial=0)) for scores in maps) or 1.0
    figures = [figure_of(view, scores, choices, size) for scores in maps]
    for scores, figure in zip(maps, figures):
        click = partial(_open, view, runs, scores)
        parts.chart(
            figure, f"{figure.layout.title.text}. {notice(scores)}", f"dynamics:heads:{scores.run.number}", click
        )
        n_heads = scores.value[0].size
        if n_heads > ROWS:
            st.caption(f"The {ROWS} of {n_heads} heads that stand out most at the end; the file of numbers has all.")
    text = " ".join(map(notice, maps))
    kind = choices.instrument
    explain(view, None, Explanation(text, MISREADING, ((kind.title, f"{kind.definition} Null: {kind.null}."),)))
    payload = {title_of(scores.run): scores._asdict() | {"run": scores.run.name} for scores in maps}
    code = head_code(main_run(view, [scores.run for scores in maps]), choices)
    export(view, Export("head-map", figures[0], partial(table, maps), payload, code, opens_model=False))


def head_map(run: RunCurves, choices: Choices) -> HeadMap | None:
    """The chosen instrument of a run, as the panel above has it; None where it is not measured, or of no head."""
    curves, kind = run.curves, choices.instrument
    if kind.name == "induction":
        within = _within(curves.induction, curves.null)
        return HeadMap(run, "Prefix matching − control", curves.effect, within, run.indices, by_size=False)
    if kind.name == "previous":
        within = _within(curves.previous, curves.previous_null)
        return HeadMap(run, kind.title, curves.previous, within, run.indices, by_size=False)
    if run.instrument is None or np.isnan(run.instrument.value).all():
        return None
    above = run.instrument.above
    within = None if np.isnan(above).all() else above == 0
    return HeadMap(run, kind.title, run.instrument.value, within, run.instrument.indices, kind.scale == "two-sided")


def figure_of(view: ViewState, scores: HeadMap, choices: Choices, size: float) -> go.Figure:
    """The map; ``size`` is the largest number of all maps beside each other."""
    run, heads = scores.run, scores.heads
    rows = tuple(zip(*heads))
    names = [checkpoint_name(run.checkpoints, i).removesuffix(" tokens").removeprefix("step ") for i in scores.indices]
    axes = Axes("head", shared_axis([run]).title, [str(head) for head in heads], names, turns=False)
    values, kind = scores.value[:, *rows].T, choices.instrument
    within = None if scores.within is None else scores.within[:, *rows].T
    signed = scores.by_size or bool(np.nanmin(values, initial=0) < -0.1 * size)
    measure = Measure(scores.title, "", values, kind.unit, signed=signed, within=within, absent="no such number here")
    selected, index = view.selected, open_index(view, run)
    current = None
    if run.name == view["model"] and selected in heads and index in scores.indices:
        current = (heads.index(selected), scores.indices.index(index))
    title = f"{scores.title} of every head of {title_of(run)}"
    return grid(measure, axes, current=current, title=title, ends=(-size, size) if signed else (0.0, size))


def notice(scores: HeadMap) -> str:
    """How many heads stand out at the end, which was the first to, and where the map is strongest."""
    run, size = scores.run, np.abs(scores.value) if scores.by_size else scores.value
    place, *best = np.unravel_index(np.nanargmax(size), size.shape)
    text = f"{scores.title} of {title_of(run)}: the largest is {written(float(scores.value[place, *best]))}, of head "
    text += f"{Head(*map(int, best))} at {checkpoint_at(run, _place(scores, place))}"
    if scores.within is None:
        return f"{text}; no sample says what chance would give."
    above = ~scores.within & np.isfinite(scores.value)
    last = int(above[-1].sum())
    text += f"; beyond chance at the last checkpoint: {last} of {scores.value[0].size} heads"
    if not above.any():
        return f"{text}, as at all others."
    first = int(above.any((1, 2)).argmax())
    heads = [str(Head(*map(int, head))) for head in np.argwhere(above[first])]
    named = f"head{'s' * (len(heads) > 1)} {', '.join(heads[:4])}" + (" and others" if len(heads) > 4 else "")
    return f"{text}; first of all {named} at {checkpoint_at(run, _place(scores, first))}."


def table(maps: list[HeadMap]) -> pd.DataFrame:
    """One row per run, head and checkpoint."""
    rows = []
    for scores in maps:
        run, title = scores.run, scores.title.lower()
        for at in np.ndindex(scores.value.shape):
            place, layer, head = at
            point = run.checkpoints.at(scores.indices[place])
            row = {"run": title_of(run), "head": str(Head(layer, head)), "checkpoint": point.index}
            row |= {run.checkpoints.unit: point.label, title: float(scores.value[at])}
            rows.append(row | ({} if scores.within is None else {"within chance": bool(scores.within[at])}))
    return pd.DataFrame(rows)


def head_code(run: RunCurves, choices: Choices) -> str:
    """The Python that computes the map of a run again."""
    kind = choices.instrument.name
    if kind in ("induction", "previous"):
        opened = words.opening(source_named(run.name), "from lens.analysis.dynamics import Places, dynamics")
        arguments = f"{words.setting_code(choices)}, {words.places_code(choices)}, indices={run.indices}"
        field = {"induction": "effect", "previous": "previous"}[kind]
        return f"{opened}print(dynamics(run, {arguments}).{field}[-1])  # [layer, head] at the last checkpoint"
    opened = words.opening(source_named(run.name), "from lens.analysis.dynamics import instrument_dynamics")
    arguments = f'"{kind}", {words.setting_code(choices)}, indices={run.instrument.indices}'
    return f"{opened}print(instrument_dynamics(run, {arguments}).value[-1])  # [layer, head] at the last checkpoint"


def _within(
    score: Float[np.ndarray, "checkpoint layer head"], null: Float[np.ndarray, " checkpoint"]
) -> Bool[np.ndarray, "checkpoint layer head"] | None:
    if np.isnan(null).all():
        return None
    return np.stack([~np.asarray(exceeds(heads, float(chance))) for heads, chance in zip(score, null)])


def _place(scores: HeadMap, place: int) -> int:
    """A place in a map as one on the run's curves."""
    return scores.run.indices.index(scores.indices[place])


def _open(view: ViewState, runs: list[RunCurves], scores: HeadMap, cell: tuple[int, ...]) -> None:
    row, column = cell
    open_point(view, runs, (scores.run.number, scores.indices[column], *scores.heads[row]))
