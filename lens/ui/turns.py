"""Pages take turns at drawing, so that what they wait for is computed.

Python runs one thread at a time and gives each a few milliseconds. An analysis of a small model is many operations of
microseconds, each of which has to get the interpreter back: beside thirty pages that draw it would get a thirtieth of
it. So only a few draw at once, first come, first served, and one that waits for an analysis lets the next one draw.
"""

import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

AT_ONCE = 2  # pages; one that is slow does not stop all others
SWITCH = 1e-3  # seconds that a thread keeps the interpreter while another waits for it; Python's own are 5e-3


class Turns:
    """At most ``n`` threads inside ``turn`` at once, in the order in which they came."""

    def __init__(self, n: int) -> None:
        self._free = n
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()
        self._mine = threading.local()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Draw in this block; a page that has its turn keeps it."""
        if self._has_turn():
            yield
            return
        self._take()
        try:
            yield
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
        with self._lock:
            if self._free:
                self._free -= 1
                mine = None
            else:
                mine = threading.Event()
                self._waiting.append(mine)
        if mine is not None:
            mine.wait()
        self._mine.turn = True

    def _give(self) -> None:
        self._mine.turn = False
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()  # the place goes to that thread
            else:
                self._free += 1


DRAWING = Turns(AT_ONCE)
sys.setswitchinterval(SWITCH)
