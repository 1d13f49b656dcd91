"""Which run and which checkpoint of it are open, what a click on a point opens, and the text that a run reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from lens.analysis.held_out import UNKNOWN
from lens.ui import checkpoint_runs, parts
from lens.ui.models import prepend_bos, source_named
from lens.ui.pages.training_dynamics.figure import title_of

if TYPE_CHECKING:
    from lens.analysis.training_run import Reading
    from lens.ui.pages.training_dynamics.run_curves import RunCurves
    from lens.ui.view import ViewState


def main_run(view: ViewState, runs: list[RunCurves]) -> RunCurves:
    """The view's model among those shown; after an early cancel, the first that has a checkpoint."""
    return next((run for run in runs if run.name == view["model"]), runs[0])


def open_point(view: ViewState, runs: list[RunCurves], point: tuple[int, ...]) -> None:
    """Open the checkpoint of a clicked point on all pages, and select its head if it is on the curve of one."""
    number, index, layer, head = point
    run = next(run for run in runs if run.number == number)
    if run.name != view["model"]:
        beside = {*view["beside"], view["model"]} - {run.name}
        view.set(model=run.name, layer=None, head=None, query=None, beside=tuple(sorted(beside)))
    view.set(revision=run.checkpoints.at(index).place)
    if layer >= 0:
        view.select(layer, head)


def open_index(view: ViewState, run: RunCurves) -> int:
    """Index of the checkpoint that is open, the last one where it is the final weights."""
    places = run.checkpoints.places
    return places.index(view["revision"]) if view["revision"] in places else len(places) - 1


def read_text(view: ViewState, run: RunCurves, text: str, longest: int) -> Reading | None:
    """The beginning of a text as the models of a run read it; None, with a sentence, where there is none to read."""
    training = checkpoint_runs.run_of(source_named(run.name))
    if not run.shape.has_tokenizer:
        parts.not_computed(f"{title_of(run)} has no tokenizer, so it cannot read a text.")
        return None
    if not text.strip():
        st.info("The prompt is empty. Type a text above.", icon=":material/edit:")
        return None
    read = training.read(text, prepend_bos(view), longest)
    if read.unknown > UNKNOWN:
        parts.not_computed(f"{title_of(run)} knows few words of this text. Type a prompt of words that it knows.")
        return None
    if read.notice:
        view.note(read.notice.removesuffix("."))
    return read
