"""Pages take turns at drawing, so that what they wait for is computed.

Python runs one thread at a time and gives each a few milliseconds. An analysis of a small model is many operations of
microseconds, each of which has to get the interpreter back: beside thirty pages that draw it would get a thirtieth of
it. So only a few draw at once, and one that waits for an analysis lets the next one draw.

A page that is quick to draw waits less: each is due when it came plus a multiple of what it took to draw before, and
the one that is due first is next. So none waits for ever.
"""

import heapq
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

AT_ONCE = 2  # pages; one that is slow does not stop all others
PATIENCE = 20.0  # seconds of waiting that a second of drawing is worth
SWITCH = 1e-3  # seconds that a thread keeps the interpreter while another waits for it; Python's own are 5e-3


class Turns:
    """At most ``n`` threads inside ``turn`` at once."""

    def __init__(self, n: int) -> None:
        self._free = n
        self._waiting: list[tuple[float, int, threading.Event]] = []  # a heap: when due, which came, its place is free
        self._seconds: dict[str, float] = {}  # of processor time that each page took to draw last
        self._numbers = count()
        self._lock = threading.Lock()
        self._mine = threading.local()

    @contextmanager
    def turn(self, page: str = "") -> Iterator[None]:
        """Draw ``page`` in this block, or a part of the one that this thread draws; one that has its turn keeps it."""
        if self._has_turn():
            yield
            return
        if page:
            self._mine.page = page
        start = time.thread_time()
        self._take()
        try:
            yield
            if page:
                self._seconds[page] = time.thread_time() - start
        finally:
            if self._has_turn():
                self._give()

    @contextmanager
    def let_others(self) -> Iterator[None]:
        """Wait in this block for what is computed elsewhere; a page that ends in it takes no further turn."""
        had = self._has_turn()
        if had:
            self._give()
        yield
        if had:
            self._take()

    def _has_turn(self) -> bool:
        return getattr(self._mine, "turn", False)

    def _take(self) -> None:
        due = time.monotonic() + PATIENCE * self._seconds.get(getattr(self._mine, "page", ""), 0.0)
        place = threading.Event()
        with self._lock:
            if self._free:
                self._free -= 1
                place.set()
            else:
                heapq.heappush(self._waiting, (due, next(self._numbers), place))
        place.wait()
        self._mine.turn = True

    def _give(self) -> None:
        self._mine.turn = False
        with self._lock:
            if self._waiting:
                heapq.heappop(self._waiting)[-1].set()  # the place goes to that thread
            else:
                self._free += 1


DRAWING = Turns(AT_ONCE)
sys.setswitchinterval(SWITCH)
