"""One fair line for work, shared by all visitors: light work goes before heavy work.

Work runs in the queue's own threads, not in the thread of a page. Any click restarts a page; the new run asks for the
same work under the same key and finds it where it was, so nothing is lost. Work that nobody has watched for a moment
(closed tab, other prompt) is given up at its next progress report.

A wide job computes with all cores, so it is alone: eight sessions computing at once with two threads each take 25 s for
what takes 2 s one after the other. Narrow ones compute with one core each, as many at once as there are cores.

Two lanes, each first come, first served, with threads of their own: torch keeps hooks, gradients and its pool of
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

    ``light`` work is short and goes first; ``wide`` work leaves no core to others. ``pause`` is called at every report,
    so that other work can have its turn. ``seconds`` are those it will take, 0 where nobody knows.
    """

    def __init__(
        self,
        key: str,
        work: Callable[["Job"], Any],
        light: bool = False,
        wide: bool = True,
        pause: Callable[["Job"], None] = lambda _: None,
        seconds: float = 0.0,
    ) -> None:
        self.key = key
        self.seconds = seconds
        self.light = light
        self.wide = wide
        self.fraction = 0.0
        self.stage = ""
        self.result: Any = None
        self.error: BaseException | None = None
        self.cancelled = False
        self.begun = False
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
    """Jobs in two lanes. One wide job computes at a time, or up to ``cores`` narrow ones, in threads of their lanes.

    The threads stay: torch keeps a pool of workers and its memory per calling thread, and a new one for every job makes
    short jobs several times slower.
    """

    def __init__(self, name: str, cores: int = 1) -> None:
        self.name = name
        self.cores = cores
        self._lanes: dict[bool, list[Job]] = {True: [], False: []}  # light and heavy; those that began first
        self._threads: dict[bool, list[threading.Thread]] = {True: [], False: []}
        self._turns: dict[Job, float] = {}  # those that compute, and when their turns began
        self._ahead = MOST_AHEAD  # seconds that light work may still take before heavy work
        self._lock = threading.Condition()

    def submit(
        self, key: str, work: Callable[[Job], Any], light: bool = False, wide: bool = True, seconds: float = 0.0
    ) -> Job:
        """The job of ``key``: the one that already waits or runs, else a new one at the end of its lane."""
        with self._lock:
            job = self.find(key)
            if job is None:
                job = Job(key, work, light, wide, self._let_light_pass, seconds)
                self._lanes[light].append(job)
                if len(self._threads[light]) < min(len(self._lanes[light]), self.cores):
                    name = f"lens-{self.name}-{'light' if light else 'heavy'}"
                    thread = threading.Thread(target=self._serve, args=(light,), name=name, daemon=True)
                    self._threads[light].append(thread)
                    thread.start()
                self._lock.notify_all()
            return job

    def find(self, key: str) -> Job | None:
        """The job of ``key`` that waits or runs now."""
        with self._lock:
            jobs = (job for lane in self._lanes.values() for job in lane)
            return next((job for job in jobs if job.key == key and not job.cancelled), None)

    def ahead(self, job: Job) -> int:
        """How many jobs come before this one; 0 when it computes, is next with a core free, or is over."""
        with self._lock:
            return max(0, len(self._before(job)) - (self.cores - 1))

    def seconds_ahead(self, job: Job) -> float:
        """Seconds until the turn of a job comes, about: what is left of those before it, by what they were expected to
        take. Work of which nobody knew that counts nothing.
        """
        with self._lock:
            left = sum(other.seconds * (1 - other.fraction) for other in self._before(job))
            return left / self.cores if self.ahead(job) else 0.0

    def _before(self, job: Job) -> list[Job]:
        """The jobs that compute or come before this one, if it waits."""
        lane = self._lanes[job.light]
        if job in self._turns or job not in lane:
            return []
        others = [other for other in self._turns if not other.light] if job.light else self._lanes[True]
        return [*others, *lane[: lane.index(job)]]

    def _serve(self, light: bool) -> None:
        while True:
            job = self._next(light)
            job.run()
            if job.error is not None:
                LOG.info("%s: %s failed: %r", self.name, job.key, job.error)
            with self._lock:
                self._end_turn(job)
                self._lanes[light].remove(job)
            del job  # and with it its result, which would else stay until the next one comes

    def _next(self, light: bool) -> Job:
        """The first job of a lane that somebody waits for, when its turn has come: it is at the front of its lane."""
        lane = self._lanes[light]
        with self._lock:
            while True:
                for job in [job for job in lane if not job.begun and (job.cancelled or job.abandoned)]:
                    job.cancelled = True
                    job.over.set()
                    lane.remove(job)
                job = self._first_waiting(light)
                if job is not None and not job.begun and self._may_begin(job):  # one that pauses comes first
                    job.begun = True
                    lane.remove(job)
                    lane.insert(0, job)
                    self._begin_turn(job)
                    return job
                self._lock.wait(BACK if lane else None)

    def _let_light_pass(self, job: Job) -> None:
        """Called by heavy work between two of its steps: give up its turn while light work may go first."""
        with self._lock:
            light = self._first_waiting(light=True)
            if job not in self._turns or job.light or self._may_go_on() or self._has_place(light):
                return
            self._end_turn(job)
            while not self._may_begin(job):
                self._lock.wait(BACK)
            self._begin_turn(job)

    def _first_waiting(self, light: bool) -> Job | None:
        """The first job of a lane that some page waits for and that does not compute now."""
        return next((job for job in self._lanes[light] if job.watched and job not in self._turns), None)

    def _has_place(self, job: Job) -> bool:
        """Whether there are cores for it."""
        if job.wide or any(other.wide for other in self._turns):
            return not self._turns
        return len(self._turns) < self.cores

    def _may_begin(self, job: Job) -> bool:
        """Whether there is a place for it and it is its lane's turn."""
        if not self._has_place(job):
            return False
        if job.light:
            return not self._may_go_on() or self._first_waiting(light=False) is None
        return self._may_go_on()

    def _may_go_on(self) -> bool:
        """Whether it is the heavy lane's turn: no light work waits, or it had its share."""
        return self._ahead <= 0 or self._first_waiting(light=True) is None

    def _begin_turn(self, job: Job) -> None:
        self._turns[job] = time.perf_counter()

    def _end_turn(self, job: Job) -> None:
        seconds = time.perf_counter() - self._turns.pop(job)
        if not job.light:
            self._ahead = min(MOST_AHEAD, self._ahead + LIGHT_SHARE * seconds)
        elif any(other not in self._turns for other in self._lanes[False]):
            self._ahead -= seconds
        self._lock.notify_all()
