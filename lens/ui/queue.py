"""One fair line for heavy work: first come, first served, one at a time, shared by all visitors.

Work runs in the queue's own thread, not in the thread of a page. Any click restarts a page; the new run asks for the
same work under the same key and finds it where it was, so nothing is lost. Work that nobody has watched for a moment
(closed tab, other prompt) is given up at its next progress report. One at a time is also what keeps torch fast on few
cores: eight sessions computing at once with two threads each take 25 s for what takes 2 s one after the other.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

LOG = logging.getLogger(__name__)
GRACE = 2.0  # seconds without a watcher before work is given up; a page that restarts is back within a fraction of it


class Cancelled(Exception):
    """Raised inside work, at its progress report, when the visitor cancelled it or nobody waits for it any more."""


class Job:
    """One piece of work, waiting, running or over. ``fraction`` is 0..1, ``seconds`` is how long it ran."""

    def __init__(self, key: str, work: Callable[["Job"], Any]) -> None:
        self.key = key
        self.fraction = 0.0
        self.stage = ""
        self.result: Any = None
        self.error: BaseException | None = None
        self.cancelled = False
        self.seconds = 0.0
        self.over = threading.Event()
        self._work = work
        self._watchers = 0
        self._left = time.monotonic()
        self._grace = GRACE
        self._lock = threading.Lock()

    def report(self, fraction: float, stage: str = "") -> None:
        """Called by the work: how far it is. Raises ``Cancelled`` when it should stop."""
        self.fraction, self.stage = min(max(fraction, 0.0), 1.0), stage
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
        start = time.perf_counter()
        work, self._work = self._work, None  # it may hold a whole model
        try:
            self.result = work(self)
        except Cancelled:
            self.cancelled = True
        except BaseException as error:  # noqa: BLE001 - the page that waits raises it again; the queue must live on
            self.error = error
        finally:
            self.seconds = time.perf_counter() - start
            self.over.set()


class Queue:
    """Jobs in order of arrival, run one at a time by one thread.

    The thread stays: torch keeps a pool of workers and its memory per calling thread, and a new one for every job makes
    short jobs several times slower.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._jobs: list[Job] = []  # the running one first, then those that wait
        self._thread: threading.Thread | None = None
        self._lock = threading.Condition()

    def submit(self, key: str, work: Callable[[Job], Any]) -> Job:
        """The job of ``key``: the one that already waits or runs, else a new one at the end of the line."""
        with self._lock:
            for job in self._jobs:
                if job.key == key and not job.cancelled:
                    return job
            job = Job(key, work)
            self._jobs.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name=f"lens-{self.name}", daemon=True)
                self._thread.start()
            self._lock.notify()
            return job

    def find(self, key: str) -> Job | None:
        """The job of ``key`` that waits or runs now."""
        with self._lock:
            return next((job for job in self._jobs if job.key == key), None)

    def ahead(self, job: Job) -> int:
        """How many jobs come before this one; 0 when it runs, is next with nothing running, or is over."""
        with self._lock:
            return self._jobs.index(job) if job in self._jobs else 0

    def _serve(self) -> None:
        while True:
            job = self._next()
            job.run()
            if job.error is not None:
                LOG.info("%s: %s failed: %r", self.name, job.key, job.error)
            with self._lock:
                self._jobs.remove(job)
            del job  # and with it its result, which would else stay until the next one comes

    def _next(self) -> Job:
        """The first job that somebody waits for, moved to the front; waits until there is one."""
        with self._lock:
            while True:
                for job in [job for job in self._jobs if job.cancelled or job.abandoned]:
                    job.cancelled = True
                    job.over.set()
                    self._jobs.remove(job)
                for job in self._jobs:
                    if job.watched:
                        self._jobs.remove(job)
                        self._jobs.insert(0, job)
                        return job
                self._lock.wait(0.02 if self._jobs else None)  # a page that is being restarted comes back soon
