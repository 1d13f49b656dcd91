"""What a visitor sees while work is under way: progress, place in the queue, Cancel, and what a cancel leaves."""

import time
from typing import Any

import streamlit as st

from lens.ui.queue import Job, Queue
from lens.ui.turns import DRAWING

CANCELLED = "lens:cancelled"  # keys this visitor has cancelled and not asked for again
AGREED = "lens:agreed"  # keys of long work and downloads this visitor has started with a click
ASK = 2.0  # estimated seconds above which one of many works on a page waits for a click
SHOW_AFTER, CANCEL_AFTER = 0.4, 2.0  # seconds of waiting before the bar and before the button
REDRAW = 0.3  # seconds between two drawings: everyone who waits draws on the cores that compute


class Bar:
    """Progress and Cancel in one line, drawn only when the wait is long enough to be noticed.

    ``part`` is where the current job begins in the whole and its share, both 0..1.
    """

    def __init__(self, slot: Any, key: str, words: str) -> None:
        self.part = (0.0, 1.0)
        self._slot, self._key, self._words = slot, key, words
        self._start = time.perf_counter()
        self._drawn = 0.0
        self._last = (0.0, "")
        self._bar: Any = None
        self._button: Any = None
        self._job: Job | None = None

    def draw(self, job: Job, ahead: int, seconds: float = 0.0) -> None:
        """One more look at the job: ``ahead`` others come first, and take about ``seconds``."""
        waited = time.perf_counter() - self._start
        if waited < SHOW_AFTER or waited - self._drawn < REDRAW:
            return
        self._drawn = waited
        self._job = job
        if self._bar is None:
            row = self._slot.container(key=f"bar:{self._key}")
            self._bar, self._button = row.empty(), row.empty()
        if waited > CANCEL_AFTER and self._button is not None:
            text = "Stop this. What is finished is kept."
            self._button.button("Cancel", key=f"cancel:{self._key}", help=text, on_click=self._cancel)
            self._button = None
        fraction = self.part[0] + self.part[1] * job.fraction
        place = place_words(ahead, seconds) if ahead else ": ".join(filter(None, (self._words, job.stage)))
        now = (round(min(fraction, 1.0), 2), f"{place} · {waited:.0f} s")
        if now != self._last:  # once a second at least, which is also when a closed tab is noticed
            self._bar.progress(*now)
        self._last = now

    def _cancel(self) -> None:
        self._job.cancel()
        remembered(CANCELLED).add(self._key)


def place_words(ahead: int, seconds: float) -> str:
    """The place in the queue, and in about how many seconds it is one's turn, where that is known."""
    about = f", your turn in about {max(1, round(seconds)):,} s" if seconds else ""
    return f"In the queue, {ahead} before you{about}"


def wait(queue: Queue, job: Job, bar: Bar) -> None:
    """Watch ``job`` until it is over, drawing where it is; ends early when Streamlit ends this run of the page."""
    with job.watch(), DRAWING.let_others():
        while not job.over.wait(0.15):
            bar.draw(job, queue.ahead(job), queue.seconds_ahead(job))
        bar.draw(job, 0)


def remembered(name: str) -> set[str]:
    """The set of keys this visitor has in ``CANCELLED`` or ``AGREED``."""
    return st.session_state.setdefault(name, set())


def offer(key: str, sentence: str, label: str) -> None:
    """A sentence and the button that starts the work named ``key`` (again)."""
    with st.container(border=True, key=f"offer:{key}"):
        st.markdown(sentence)
        st.button(label, key=f"start:{key}", type="primary", on_click=agree, args=(key,))


def started(key: str, seconds: float, sentence: str, done: bool = False) -> bool:
    """Whether work that is one of many on a page is short, asked for, or ``done``; else its button is drawn."""
    if seconds <= ASK or done or key in remembered(AGREED):
        return True
    offer(key, sentence, f"Compute, about {seconds:,.0f} s")
    return False


def agree(key: str) -> None:
    """This visitor wants the work named ``key``."""
    remembered(CANCELLED).discard(key)
    remembered(AGREED).add(key)
