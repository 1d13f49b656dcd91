"""The Training dynamics page, drawn: curves that open a checkpoint, the head that plays, tables and export."""

from functools import partial
from typing import Any, NamedTuple

import streamlit as st

from lens.figures.cells import Marks
from lens.figures.playing import Course, playing
from lens.figures.training import clicked
from lens.tokens import visible
from lens.ui import checkpoint_runs, parts
from lens.ui.badge import note_model
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.models import prepend_bos, source_named
from lens.ui.pages.training_dynamics import PLAYS, words
from lens.ui.pages.training_dynamics.controls import Look, checkpoint_name
from lens.ui.pages.training_dynamics.curves import (
    at,
    curve_of,
    figure_of,
    heads_of,
    phase_of,
    schedule_figure,
    shared_axis,
    title_of,
)
from lens.ui.pages.training_dynamics.read import LONGEST, Shown, patterns
from lens.ui.pages.training_dynamics.shipped_runs import show_runs
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

    tokens: Any  # [1, pos]
    labels: list[str]
    marks: Marks | None


def fit(view: ViewState, run: Any) -> None:
    """Layer, head and pins kept inside the view's model; the status line names it and the open checkpoint."""
    shape, places = run.shape(), run.checkpoints.places
    opened = checkpoint_name(run.checkpoints, places.index(view["revision"])) if view["revision"] else ""
    note_model(Opened(shape.name, opened, shape.device, shape.dtype))
    view.fit(shape.n_layers, shape.n_heads)


def show_filling(place: Any, view: ViewState, look: Look, shown: list[Shown]) -> None:
    """The curves of the checkpoints that are done so far."""
    figure = figure_of(view, shown, look)  # outside of the place: what is computed draws a bar
    with place:
        parts.chart(figure, "The curves of the checkpoints so far")


def show_curves(place: Any, view: ViewState, shown: list[Shown], look: Look) -> tuple[Any, tuple[str, ...]]:
    """The curves; a click on a point opens its checkpoint on all pages. Returns the figure and what to see in it."""
    figure, notices = figure_of(view, shown, look), _notices(view, shown, look)
    with place.container():
        parts.chart(figure, words.alt(shown, " ".join(notices)), CHART, partial(_open, view, shown), read=clicked)
    return figure, notices


def show_play(view: ViewState, shown: list[Shown], look: Look) -> None:
    """The current head of the view's model, checkpoint by checkpoint; what is chosen of it stands below the picture."""
    one = main_run(view, shown)
    head = heads_of(view, one)[-1]
    picture = st.container()
    with st.container(horizontal=True, vertical_alignment="bottom", key="play-controls"):
        segmented(view, "play", tuple(PLAYS), "Head reads", PLAY_HELP, format_func=PLAYS.get)
        if one.name == view["model"]:
            heads.pin_button(view, head, "dynamics:pin")
    text = _text(view, one, look)
    if text is None:
        return
    found = patterns(view, one, text.tokens, head)
    curve, x = curve_of(one, head, look), shared_axis([one])
    labels = [f"{index}: {checkpoint_name(one.found, index)}" for index in one.indices]
    course = Course(at(one, x, one.indices), curve.effect.mean, labels, x.title, "score − control", look.log, look.born)
    start = one.indices.index(i) if (i := _open_index(view, one)) in one.indices else len(labels) - 1
    import numpy as np

    figure = playing(
        np.stack([found[index] for index in one.indices]),
        text.labels,
        course,
        title=f"Head {head} of {title_of(one)}",
        at=start,
        marks=text.marks,
    )
    said = words.birth_words(one, head, look)
    with picture:
        parts.chart(figure, alt=words.frames_alt(one, head, said), key="dynamics:play")
    st.caption(f"{said} The first key is hidden. One colour scale for all checkpoints.")


def explain_curves(view: ViewState, shown: list[Shown], look: Look, notices: tuple[str, ...]) -> None:
    """What to notice, what not to conclude, how it was measured on which models, the formula and the rules."""
    models = [("Model", f"{one.shape.name}. {one.shape.note} {one.shape.bos}".replace("  ", " ")) for one in shown]
    one = look.instrument
    about = ((one.title, f"{one.definition} Null: {one.null}. {one.misreading}"),)
    explanation = Explanation(
        notices,
        words.MISREADING,
        asides=about if any(each.instrument is not None for each in shown) else (),
        measured=(("Checkpoints and sample", words.measured(shown, look)), *models),
        formula=words.FORMULA,
        where=words.definitions(),
    )
    explain(view, None, explanation)


def _notices(view: ViewState, shown: list[Shown], look: Look) -> tuple[str, ...]:
    """What to see in the curves, and in those of the chosen instrument."""
    chosen = " ".join(filter(None, (words.instrument_notice(one, look) for one in shown)))
    whole = words.notice(shown, [phase_of(view, one) for one in shown])
    return tuple(filter(None, (chosen, whole)))


def show_schedule(view: ViewState, shown: list[Shown], look: Look) -> None:
    """When the checkpoints were saved."""
    ends = "; ".join(
        f"{title_of(one)}: {len(one.found)} checkpoints, {checkpoint_name(one.found, 0)} to "
        f"{checkpoint_name(one.found, len(one.found) - 1)}"
        for one in shown
    )
    parts.chart(schedule_figure(shown, look.log), f"When the checkpoints were saved. {ends}", "schedule")
    st.caption(f"{ends}. On a logarithmic axis a checkpoint at 0 has no place.")


def show_numbers(view: ViewState, shown: list[Shown], look: Look) -> None:
    """Every checkpoint with all its numbers."""
    rows = words.table(shown, look, [heads_of(view, one)[-1] for one in shown])
    st.dataframe(rows, hide_index=True, height=380, alt=f"{len(rows)} checkpoints with all their numbers")


TABS = {
    "schedule": ("When it was saved", show_schedule),
    "table": ("All numbers", show_numbers),
    "runs": ("How it was made, other seeds", show_runs),
}


def take_away(view: ViewState, shown: list[Shown], look: Look, figure: Any) -> None:
    """The export panel."""
    heads = [heads_of(view, one)[-1] for one in shown]
    phases = [phase_of(view, one) for one in shown]
    main = main_run(view, shown)
    code = words.code(main, look, source_named(main.name))
    made = partial(words.table, shown, look, heads)
    taken = Export("training-dynamics", figure, made, words.payload(shown, phases, look), code, opens_model=False)
    export(view, taken)


def main_run(view: ViewState, shown: list[Shown]) -> Shown:
    """The view's model among those shown; after an early cancel, the first that has a checkpoint."""
    return next((one for one in shown if one.name == view["model"]), shown[0])


def _open(view: ViewState, shown: list[Shown], point: tuple[int, ...]) -> None:
    """Open the checkpoint of a clicked point on all pages, and select its head if it is on the curve of one."""
    number, index, layer, head = point
    one = next(one for one in shown if one.run == number)
    if one.name != view["model"]:
        beside = {*view["beside"], view["model"]} - {one.name}
        view.set(model=one.name, layer=None, head=None, query=None, beside=tuple(sorted(beside)))
    view.set(revision=one.found.at(index).place)
    if layer >= 0:
        view.select(layer, head)


def _open_index(view: ViewState, one: Shown) -> int:
    """Index of the checkpoint that is open, the last one where it is the final weights."""
    places = one.found.places
    return places.index(view["revision"]) if view["revision"] in places else len(places) - 1


def _text(view: ViewState, one: Shown, look: Look) -> Text | None:
    run = checkpoint_runs.run_of(source_named(one.name))
    inputs = run.inputs(look.setting)
    if view["play"] == "repeat":
        n, queries = inputs.repeated.n, inputs.repeated.queries
        marks = Marks([(q, q - n + 1) for q in queries], "the token after its first occurrence")
        return Text(inputs.repeated.tokens[:1], [visible(one) for one in inputs.words], marks)
    if inputs.texts is None:
        parts.not_computed(f"{title_of(one)} has no tokenizer, so it cannot read a prompt.")
        return None
    if not view["prompt"].strip():
        st.info("The prompt is empty. Type a text above.", icon=":material/edit:")
        return None
    read = run.read(view["prompt"], prepend_bos(view), LONGEST)
    if read.n_all > len(read.words):
        view.note(f"the prompt has {read.n_all} tokens: the first {len(read.words)} play")
    if read.notice:
        view.note(read.notice.removesuffix("."))
    return Text(read.tokens, [visible(word) for word in read.words], None)
