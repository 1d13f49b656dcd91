"""Pairs of models that visitors train: one training of each for all who ask, in the queue, drawn while it runs."""

import time
from collections.abc import Callable
from typing import Any

import streamlit as st

from lens.figures.recent import Recent
from lens.load.staged import STEPS, Staged, writable_store
from lens.train.staged import Curves, SideBySide, curves_of
from lens.ui.calls import REDRAW, compute_queue
from lens.ui.limits import limits
from lens.ui.queue import Job
from lens.ui.threads import threads_for
from lens.ui.turns import DRAWING
from lens.ui.waiting import AGREED, CANCELLED, Bar, offer, remembered, wait

UNFINISHED = 4  # trainings that were stopped and can go on, in memory
SECONDS = 12.0  # of 400 steps, on one core
SHARE = 0.3  # of the time, at most, goes into drawing: a training is asked for in order to be seen
ALL_STEPS = (200, 400, 800, 1600)


@st.cache_resource(show_spinner=False)
def unfinished() -> Recent[Staged, SideBySide]:
    """The trainings of the whole process that have begun and may go on, those touched last."""
    return Recent(UNFINISHED, UNFINISHED, lambda _: 1)


def steps_offered() -> tuple[str, ...]:
    """How long a visitor may train, in steps."""
    return tuple(str(steps) for steps in ALL_STEPS if steps <= limits().staged_steps)


def train_pair(staged: Staged, draw: Callable[[Curves], None]) -> Curves | None:
    """The curves of a pair: from disk, or trained now, once this visitor has asked for it by a click.

    ``draw`` shows what there is while it trains, and what a cancelled training has left. None where there is nothing.
    """
    if staged.is_here:
        return curves_of(staged)
    key = f"staged-{staged.seed}-{staged.steps}"
    if key in remembered(AGREED) - remembered(CANCELLED):
        _train(staged, key, draw)
    if staged.is_here:
        return curves_of(staged)
    run = unfinished().get(staged)
    if run is None or run.step == 0:
        seconds = SECONDS * staged.steps / STEPS
        offer(key, f"Not trained on this machine yet: {staged.steps} steps.", f"Train both, about {seconds:.0f} s")
        return None
    offer(key, f"Stopped at step {run.step} of {staged.steps}: what was trained is kept.", "Continue")
    draw(run.curves())
    return None


class FillingBar(Bar):
    """A bar above figures that are drawn again while the work adds to them."""

    def __init__(self, slot: Any, key: str, words: str, fill: Callable[[], None]) -> None:
        super().__init__(slot, key, words)
        self._fill, self._due = fill, 0.0

    def draw(self, job: Job, ahead: int, seconds: float = 0.0) -> None:
        """One more look at the job, and at what it has made."""
        super().draw(job, ahead, seconds)
        if ahead or job.over.is_set() or time.perf_counter() < self._due:
            return
        with DRAWING.turn():
            start = time.perf_counter()
            self._fill()
            end = time.perf_counter()
        self._due = end + max(REDRAW, (end - start) / SHARE)


def _train(staged: Staged, key: str, draw: Callable[[Curves], None]) -> None:
    def work(job: Job) -> None:
        writable_store()  # asked before the work, not after it
        with threads_for(0):
            run = unfinished().get(staged) or unfinished().put(staged, SideBySide(staged))
            for step in run.steps():
                job.report(step / staged.steps, f"step {step} of {staged.steps}")
            run.save()

    points = 0

    def fill() -> None:
        nonlocal points
        run = unfinished().get(staged)
        curves = None if run is None else run.curves()
        if curves is not None and len(curves.of[2].steps) > points:
            points = len(curves.of[2].steps)
            draw(curves)

    slot = st.empty()
    bar = FillingBar(slot, key, "Training both models", fill)
    while True:  # again only if another visitor cancelled the job in the moment we joined it
        seconds = SECONDS * staged.steps / STEPS
        job = compute_queue().submit(key, work, wide=False, seconds=seconds)
        wait(compute_queue(), job, bar)
        if job.error is not None:
            raise job.error
        if not job.cancelled:
            break
    slot.empty()
