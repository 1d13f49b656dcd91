"""Pages that draw by turns: how many, in which order, and that none loses its place or keeps it."""

import threading
import time

import pytest

from lens.ui.turns import PATIENCE, Turns


class Drawing(threading.Thread):
    """A page that draws until it may stop."""

    def __init__(self, turns, begun, name=""):
        super().__init__(daemon=True)
        self.stop, self._turns, self._begun, self._page = threading.Event(), turns, begun, name
        self.start()

    def run(self):
        with self._turns.turn(self._page):
            self._begun.append(self)
            self.stop.wait(5)


def until(condition):
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert condition()


def test_so_many_at_once_in_the_order_in_which_they_came():
    turns, begun, pages = Turns(2), [], []
    for n in range(5):
        pages.append(Drawing(turns, begun))
        until(lambda n=n: len(begun) + len(turns._waiting) == n + 1)
    assert begun == pages[:2]
    for done in range(3):
        pages[done].stop.set()
        until(lambda done=done: len(begun) == done + 3)
    assert begun == pages
    for page in pages:
        page.stop.set()
        page.join(5)
    assert turns._free == 2


def test_a_page_that_waits_for_an_analysis_lets_another_draw():
    turns, begun = Turns(1), []
    with turns.turn():
        with turns.let_others():
            other = Drawing(turns, begun)
            until(lambda: begun == [other])
            other.stop.set()
            other.join(5)
        third = Drawing(turns, begun)
        until(lambda: len(turns._waiting) == 1)
        assert begun == [other]
    until(lambda: begun == [other, third])
    third.stop.set()


class Over(BaseException):
    """As Streamlit ends a run of a page."""


@pytest.mark.parametrize("waiting", [True, False])
def test_a_page_that_ends_anywhere_keeps_no_place(waiting):
    turns = Turns(1)

    def page():
        with turns.turn():
            if waiting:
                with turns.let_others():
                    raise Over
            raise Over

    with pytest.raises(Over):
        page()
    assert turns._free == 1


def test_outside_of_a_turn_nothing_is_given_away():
    turns = Turns(1)
    with turns.let_others():
        pass
    assert turns._free == 1


def test_a_page_that_has_its_turn_keeps_it():
    turns = Turns(1)
    with turns.turn():
        with turns.turn():
            assert turns._free == 0
        assert turns._free == 0
        with turns.let_others():
            with turns.turn():
                assert turns._free == 0
            assert turns._free == 1
    assert turns._free == 1


def test_a_page_that_was_quick_to_draw_goes_before_one_that_was_slow_and_came_a_moment_earlier():
    turns, begun = Turns(1), []
    with turns.turn("slow"):
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass
    with turns.turn("quick"):
        pass
    with turns.turn():
        slow = Drawing(turns, begun, "slow")
        until(lambda: len(turns._waiting) == 1)
        quick = Drawing(turns, begun, "quick")
        until(lambda: len(turns._waiting) == 2)
        time.sleep(PATIENCE * 0.06)
        late = Drawing(turns, begun, "quick")
        until(lambda: len(turns._waiting) == 3)
    for page in (quick, slow, late):
        until(lambda page=page: begun[-1:] == [page])
        page.stop.set()
    assert begun == [quick, slow, late]
