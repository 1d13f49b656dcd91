"""The Training dynamics page, drawn: curves that open a checkpoint, the head that plays, tables and export."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import plotly.graph_objects as go
import streamlit as st
from jaxtyping import Int
from streamlit.delta_generator import DeltaGenerator
from torch import Tensor

from lens.analysis.training_run import TrainingRun
from lens.figures.cells import Marks
from lens.figures.playing import Course, playing
from lens.figures.training import clicked
from lens.tokens import visible
from lens.ui import checkpoint_runs, parts
from lens.ui.badge import note_model
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.glossary import explained
from lens.ui.links import with_links
from lens.ui.models import source_named
from lens.ui.pages.training_dynamics import PLAYS, words
from lens.ui.pages.training_dynamics.controls import Choices, checkpoint_name
from lens.ui.pages.training_dynamics.figure import (
    at,
    curve_of,
    figure_of,
    heads_of,
    phase_of,
    schedule_figure,
    shared_axis,
    title_of,
)
from lens.ui.pages.training_dynamics.head_map import show_heads
from lens.ui.pages.training_dynamics.loss_paths import show_paths
from lens.ui.pages.training_dynamics.opened import main_run, open_index, open_point, read_text
from lens.ui.pages.training_dynamics.order import show_order
from lens.ui.pages.training_dynamics.run_curves import LONGEST, RunCurves, patterns
from lens.ui.pages.training_dynamics.shipped_runs import show_runs
from lens.ui.pages.training_dynamics.token_change import show_tokens
from lens.ui.pages.training_dynamics.trainees import show_training
from lens.ui.shared import heads
from lens.ui.view import ViewState
from lens.ui.widgets import segmented

PLAY_HELP = (
    "What the head reads while its training plays: the first of the repeated random sequences, on which an induction "
    "head shows as a stripe, or the prompt above."
)
CHART = "dynamics:curves"


class Opened(NamedTuple):
    """What the status line says about the models of a run."""

    name: str
    revision: str
    device: str
    dtype: str


class Text(NamedTuple):
    """What the head reads while it plays."""

    tokens: Int[Tensor, "1 pos"]
    labels: list[str]
    marks: Marks | None


def clamp_heads(view: ViewState, run: TrainingRun) -> None:
    """Layer, head and pins kept inside the view's model; the status line names it and the open checkpoint."""
    shape, places = run.shape(), run.checkpoints.places
    opened = checkpoint_name(run.checkpoints, places.index(view["revision"])) if view["revision"] else ""
    note_model(Opened(shape.name, opened, shape.device, shape.dtype))
    view.clamp_heads(shape.n_layers, shape.n_heads)


def show_filling(place: DeltaGenerator, view: ViewState, choices: Choices, runs: list[RunCurves]) -> None:
    """The curves of the checkpoints that are done so far."""
    figure = figure_of(view, runs, choices)  # outside of the place: what is computed draws a bar
    with place:
        parts.chart(figure, "The curves of the checkpoints so far")


def show_curves(
    place: DeltaGenerator, view: ViewState, runs: list[RunCurves], choices: Choices
) -> tuple["go.Figure", tuple[str, ...]]:
    """The curves; a click on a point opens its checkpoint on all pages. Returns the figure and what to see in it."""
    figure, notices = figure_of(view, runs, choices), _notices(view, runs, choices)
    with place.container():
        parts.chart(figure, words.alt(runs, " ".join(notices)), CHART, partial(open_point, view, runs), read=clicked)
    return figure, notices


def show_play(view: ViewState, runs: list[RunCurves], choices: Choices) -> None:
    """The current head of the view's model, checkpoint by checkpoint; what is chosen of it stands below the picture."""
    run = main_run(view, runs)
    head = heads_of(view, run)[-1]
    picture = st.container()
    with st.container(horizontal=True, vertical_alignment="bottom", key="play-controls"):
        segmented(view, "play", tuple(PLAYS), "Head reads", PLAY_HELP, format_func=PLAYS.get)
        if run.name == view["model"]:
            heads.pin_button(view, head, "dynamics:pin")
    text = _text(view, run, choices)
    if text is None:
        return
    attention = patterns(view, run, text.tokens, head)
    curve, x = curve_of(run, head, choices), shared_axis([run])
    labels = [f"{index}: {checkpoint_name(run.checkpoints, index)}" for index in run.indices]
    course = Course(
        at(run, x, run.indices), curve.effect.mean, labels, x.title, "score − control", choices.log, choices.born
    )
    start = run.indices.index(i) if (i := open_index(view, run)) in run.indices else len(labels) - 1
    import numpy as np

    figure = playing(
        np.stack([attention[index] for index in run.indices]),
        text.labels,
        course,
        title=f"Head {head} of {title_of(run)}",
        at=start,
        marks=text.marks,
    )
    birth = words.birth_words(run, head, choices)
    with picture:
        parts.chart(figure, alt=words.frames_alt(run, head, birth), key="dynamics:play")
    st.caption(f"{birth} The first key is hidden. One colour scale for all checkpoints.")


def explain_curves(view: ViewState, runs: list[RunCurves], choices: Choices, notices: tuple[str, ...]) -> None:
    """What to notice, what not to conclude, how it was measured on which models, the formula and the rules."""
    models = [("Model", f"{run.shape.name}. {run.shape.note} {run.shape.bos}".replace("  ", " ")) for run in runs]
    kind = choices.instrument
    about = ((kind.title, f"{kind.definition} Null: {kind.null}. {kind.misreading}"),)
    explanation = Explanation(
        notices,
        words.MISREADING,
        asides=about if any(run.instrument is not None for run in runs) else (),
        measured=(("Checkpoints and sample", words.measured(runs, choices)), *models),
        formula=words.FORMULA,
        where=words.definitions(),
    )
    explain(view, None, explanation, _linked(view, runs))


def _linked(view: ViewState, runs: list[RunCurves]) -> Callable[[str], str]:
    """How sentences about the runs are written: those of the open model, alone on the page, with links."""
    (run, *others), checkpoints = runs, runs[0].checkpoints
    if others or run.name != view["model"]:
        return explained
    names = {checkpoint_name(checkpoints, i): place for i, place in enumerate(checkpoints.places)}
    return partial(with_links, view, run.shape, checkpoints=names)


def _notices(view: ViewState, runs: list[RunCurves], choices: Choices) -> tuple[str, ...]:
    """What to see in the curves, and in those of the chosen instrument."""
    chosen = " ".join(filter(None, (words.instrument_notice(run, choices) for run in runs)))
    whole = words.notice(runs, [phase_of(view, run) for run in runs])
    return tuple(filter(None, (chosen, whole)))


def show_schedule(view: ViewState, runs: list[RunCurves], choices: Choices) -> None:
    """When the checkpoints were saved."""
    ends = "; ".join(
        f"{title_of(run)}: {len(run.checkpoints)} checkpoints, {checkpoint_name(run.checkpoints, 0)} to "
        f"{checkpoint_name(run.checkpoints, len(run.checkpoints) - 1)}"
        for run in runs
    )
    parts.chart(schedule_figure(runs, choices.log), f"When the checkpoints were saved. {ends}", "schedule")
    st.caption(f"{ends}. On a logarithmic axis a checkpoint at 0 has no place.")


def show_numbers(view: ViewState, runs: list[RunCurves], choices: Choices) -> None:
    """Every checkpoint with all its numbers."""
    rows = words.table(runs, choices, [heads_of(view, run)[-1] for run in runs])
    st.dataframe(rows, hide_index=True, height=380, alt=f"{len(rows)} checkpoints with all their numbers")


TABS = {
    "heads": ("Every head", show_heads),
    "tokens": ("Token by token", show_tokens),
    "order": ("Order of events", show_order),
    "paths": ("Paths of losses", show_paths),
    "schedule": ("When it was saved", show_schedule),
    "table": ("All numbers", show_numbers),
    "runs": ("How it was made, other seeds", show_runs),
    "live": ("Train on stage", show_training),
}


def draw_export(view: ViewState, runs: list[RunCurves], choices: Choices, figure: go.Figure) -> None:
    """The export panel."""
    main, phases = main_run(view, runs), [phase_of(view, run) for run in runs]
    table = partial(words.table, runs, choices, [heads_of(view, run)[-1] for run in runs])
    payload, code = words.payload(runs, phases, choices), words.code(main, choices, source_named(main.name))
    export(view, Export("training-dynamics", figure, table, payload, code, opens_model=False))


def _text(view: ViewState, run: RunCurves, choices: Choices) -> Text | None:
    training = checkpoint_runs.run_of(source_named(run.name))
    inputs = training.inputs(choices.setting)
    if view["play"] == "repeat":
        n, queries = inputs.repeated.n, inputs.repeated.queries
        marks = Marks([(q, q - n + 1) for q in queries], "the token after its first occurrence")
        return Text(inputs.repeated.tokens[:1], [visible(word) for word in inputs.words], marks)
    read = read_text(view, run, view["prompt"], LONGEST)
    if read is None:
        return None
    if read.n_all > len(read.words):
        view.note(f"the prompt has {read.n_all} tokens: the first {len(read.words)} play")
    return Text(read.tokens, [visible(word) for word in read.words], None)
