"""One fair line for work, one job at a time, shared by all visitors: light work goes before heavy work.

Work runs in the queue's own threads, not in the thread of a page. Any click restarts a page; the new run asks for the
same work under the same key and finds it where it was, so nothing is lost. Work that nobody has watched for a moment
(closed tab, other prompt) is given up at its next progress report. One at a time is also what keeps torch fast on few
cores: eight sessions computing at once with two threads each take 25 s for what takes 2 s one after the other.

Two lanes, each first come, first served, each with a thread of its own: torch keeps hooks, gradients and its pool of
workers per thread, so a heavy job that pauses is not touched by the light one that runs meanwhile. It pauses at its
progress reports only, and must not hold a lock then that another job may want.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

LOG = logging.getLogger(__name__)
GRACE = 2.0  # seconds without a watcher before work is given up; a page that restarts is back within a fraction of it
BACK = 0.05  # seconds between two looks at who watches: a page that is being restarted comes back soon
LIGHT_SHARE = 3.0  # seconds that light work may take for every second of heavy work while both wait
MOST_AHEAD = 2.0  # seconds of light work, at most, before heavy work has its turn


class Cancelled(Exception):
    """Raised inside work, at its progress report, when the visitor cancelled it or nobody waits for it any more."""


class Job:
    """One piece of work, waiting, running or over. ``fraction`` is 0..1.

    ``light`` work is short and goes first. ``pause`` is called at every report, so that other work can have its turn.
    """

    def __init__(
        self,
        key: str,
        work: Callable[["Job"], Any],
        light: bool = False,
        pause: Callable[["Job"], None] = lambda _: None,
    ) -> None:
        self.key = key
        self.light = light
        self.fraction = 0.0
        self.stage = ""
        self.result: Any = None
        self.error: BaseException | None = None
        self.cancelled = False
        self.over = threading.Event()
        self._work = work
        self._pause = pause
        self._watchers = 0
        self._left = time.monotonic()
        self._grace = GRACE
        self._lock = threading.Lock()

    def report(self, fraction: float, stage: str = "") -> None:
        """Called by the work: how far it is. Raises ``Cancelled`` when it should stop."""
        self.fraction, self.stage = min(max(fraction, 0.0), 1.0), stage
        self._pause(self)
        if self.abandoned:
            raise Cancelled(self.key)

    def cancel(self) -> None:
        """Stop at the next report, or never start, unless another visitor waits for the same result."""
        self._grace = 0.0

    @property
    def watched(self) -> bool:
        """Whether some page is waiting for this now."""
        return self._watchers > 0

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for this: since ``GRACE`` seconds, or at all once it was cancelled."""
        with self._lock:
            return not self._watchers and time.monotonic() - self._left > self._grace

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Wait inside this block. A page run that dies in it (Streamlit raises a BaseException) leaves properly."""
        with self._lock:
            self._watchers += 1
        try:
            yield
        finally:
            with self._lock:
                self._watchers -= 1
                self._left = time.monotonic()

    def run(self) -> None:
        """Do the work in the calling thread; the outcome stands in ``result``, ``error`` or ``cancelled``."""
        work, self._work = self._work, None  # it may hold a whole model
        try:
            self.result = work(self)
        except Cancelled:
            self.cancelled = True
        except BaseException as error:  # noqa: BLE001 - the page that waits raises it again; the queue must live on
            self.error = error
        finally:
            self.over.set()


class Queue:
    """Jobs in two lanes; one computes at a time, in the thread of its lane.

    The threads stay: torch keeps a pool of workers and its memory per calling thread, and a new one for every job makes
    short jobs several times slower.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._lanes: dict[bool, list[Job]] = {True: [], False: []}  # light and heavy; the one that began first
        self._threads: dict[bool, threading.Thread] = {}
        self._turn: Job | None = None  # the one that computes
        self._began = 0.0  # when its turn did
        self._ahead = MOST_AHEAD  # seconds that light work may still take before heavy work
        self._lock = threading.Condition()

    def submit(self, key: str, work: Callable[[Job], Any], light: bool = False) -> Job:
        """The job of ``key``: the one that already waits or runs, else a new one at the end of its lane."""
        with self._lock:
            job = self.find(key)
            if job is None:
                job = Job(key, work, light, self._let_light_pass)
                self._lanes[light].append(job)
                if light not in self._threads:
                    name = f"lens-{self.name}-{'light' if light else 'heavy'}"
                    self._threads[light] = threading.Thread(target=self._serve, args=(light,), name=name, daemon=True)
                    self._threads[light].start()
                self._lock.notify_all()
            return job

    def find(self, key: str) -> Job | None:
        """The job of ``key`` that waits or runs now."""
        with self._lock:
            jobs = (job for lane in self._lanes.values() for job in lane)
            return next((job for job in jobs if job.key == key and not job.cancelled), None)

    def ahead(self, job: Job) -> int:
        """How many jobs come before this one; 0 when it computes, is next with nothing computing, or is over."""
        with self._lock:
            turn, lane = self._turn, self._lanes[job.light]
            if job is turn or job not in lane:
                return 0
            before = lane.index(job)
            if not job.light:
                return before + len(self._lanes[True])
            return before + (turn is not None and not turn.light)

    def _serve(self, light: bool) -> None:
        while True:
            job = self._next(light)
            job.run()
            if job.error is not None:
                LOG.info("%s: %s failed: %r", self.name, job.key, job.error)
            with self._lock:
                self._end_turn()
                self._lanes[light].remove(job)
            del job  # and with it its result, which would else stay until the next one comes

    def _next(self, light: bool) -> Job:
        """The first job of a lane that somebody waits for, when its turn has come: it is at the front of its lane."""
        lane = self._lanes[light]
        with self._lock:
            while True:
                for job in [job for job in lane if job.cancelled or job.abandoned]:
                    job.cancelled = True
                    job.over.set()
                    lane.remove(job)
                job = _first_watched(lane)
                if job is not None and self._may_begin(light):
                    lane.remove(job)
                    lane.insert(0, job)
                    self._begin_turn(job)
                    return job
                self._lock.wait(BACK if lane else None)

    def _let_light_pass(self, job: Job) -> None:
        """Called by heavy work between two of its steps: give up its turn while light work may go first."""
        with self._lock:
            if job is not self._turn or job.light or self._may_go_on():
                return
            self._end_turn()
            while not self._may_begin(light=False):
                self._lock.wait(BACK)
            self._begin_turn(job)

    def _may_begin(self, light: bool) -> bool:
        """Whether nothing computes and it is this lane's turn."""
        if self._turn is not None:
            return False
        return not self._may_go_on() or _first_watched(self._lanes[False]) is None if light else self._may_go_on()

    def _may_go_on(self) -> bool:
        """Whether it is the heavy lane's turn: no light work waits, or it had its share."""
        return self._ahead <= 0 or _first_watched(self._lanes[True]) is None

    def _begin_turn(self, job: Job) -> None:
        self._turn, self._began = job, time.perf_counter()

    def _end_turn(self) -> None:
        seconds = time.perf_counter() - self._began
        if not self._turn.light:
            self._ahead = min(MOST_AHEAD, self._ahead + LIGHT_SHARE * seconds)
        elif self._lanes[False]:
            self._ahead -= seconds
        self._turn = None
        self._lock.notify_all()


def _first_watched(lane: list[Job]) -> Job | None:
    """The first job that some page waits for now."""
    return next((job for job in lane if job.watched), None)
