"""The line for heavy work: order, restarts, errors, cancelling."""

import threading
import time

import pytest

from lens.ui import queue as queue_module
from lens.ui.queue import Cancelled, Queue


class Page(threading.Thread):
    """A page run that waits for one job."""

    def __init__(self, queue, key, work, light=False, wide=True):
        super().__init__(daemon=True)
        self.job = queue.submit(key, work, light, wide)
        self.leave = threading.Event()
        self.start()
        deadline = time.monotonic() + 5
        while not self.job.watched and not self.job.over.is_set() and time.monotonic() < deadline:
            time.sleep(0.001)

    def run(self):
        with self.job.watch():
            while not self.job.over.wait(0.005) and not self.leave.is_set():
                pass


@pytest.fixture
def gate():
    """Work that runs until it is let go, so that a test decides what waits behind it."""
    return threading.Event()


def hold(gate):
    def work(job):
        while not gate.wait(0.005):
            job.report(0.5, "holding")
        return "held"

    return work


def test_first_come_first_served_one_at_a_time(gate):
    queue, order, inside = Queue("t"), [], []

    def work(number):
        def run(job):
            inside.append(number)
            assert inside == [number], "two jobs at once"
            time.sleep(0.002)
            inside.remove(number)
            order.append(number)
            return number

        return run

    pages = [Page(queue, "hold", hold(gate))] + [Page(queue, str(n), work(n)) for n in range(8)]
    assert [queue.ahead(page.job) for page in pages] == list(range(9))
    gate.set()
    assert all(page.job.over.wait(5) for page in pages)
    assert order == list(range(8))
    assert [page.job.result for page in pages] == ["held", *range(8)]


def test_eight_pages_that_ask_for_the_same_share_one_run(gate):
    queue, runs = Queue("t"), []

    def work(job):
        runs.append(1)
        return "once"

    first = Page(queue, "hold", hold(gate))
    pages = [Page(queue, "same", work) for _ in range(8)]
    gate.set()
    assert first.job.over.wait(5)
    assert all(page.job.over.wait(5) and page.job.result == "once" for page in pages)
    assert len(runs) == 1


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(1), KeyboardInterrupt()])
def test_an_error_reaches_the_page_and_the_line_goes_on(error):
    queue = Queue("t")

    def fail(job):
        raise error

    failed = Page(queue, "fail", fail)
    assert failed.job.over.wait(5)
    assert failed.job.error is error
    after = Page(queue, "after", lambda job: "fine")
    assert after.job.over.wait(5)
    assert after.job.result == "fine"


def test_a_page_that_restarts_finds_its_work_where_it_was(gate):
    queue = Queue("t")
    first = Page(queue, "work", hold(gate))
    first.leave.set()
    first.join(5)
    second = Page(queue, "work", hold(gate))
    assert second.job is first.job
    gate.set()
    assert second.job.over.wait(5)
    assert second.job.result == "held"


def test_work_that_nobody_waits_for_is_given_up(gate, monkeypatch):
    monkeypatch.setattr(queue_module, "GRACE", 0.05)
    queue = Queue("t")
    gone = Page(queue, "gone", hold(gate))
    behind = Page(queue, "behind", lambda job: "ran")
    gone.leave.set()
    assert behind.job.over.wait(5)
    assert behind.job.result == "ran"
    assert gone.job.cancelled
    assert not gate.is_set()


def test_cancel_stops_at_once_and_the_next_one_runs(gate, monkeypatch):
    monkeypatch.setattr(queue_module, "GRACE", 1000)  # it is the cancel that frees the line, not that nobody watches
    queue = Queue("t")
    page = Page(queue, "work", hold(gate))
    behind = Page(queue, "behind", lambda job: "ran")
    page.job.cancel()
    page.leave.set()
    assert behind.job.over.wait(30)
    assert page.job.cancelled
    assert page.job.result is None


def test_cancel_before_its_turn_means_it_never_runs(gate):
    queue, ran = Queue("t"), []
    first = Page(queue, "hold", hold(gate))
    waiting = Page(queue, "waiting", lambda job: ran.append(1))
    last = Page(queue, "last", lambda job: "ran")
    waiting.job.cancel()
    waiting.leave.set()
    waiting.join(5)
    gate.set()
    assert first.job.over.wait(5)
    assert last.job.over.wait(5)
    assert waiting.job.over.wait(5)
    assert waiting.job.cancelled
    assert ran == []


def test_cancelling_does_not_take_the_work_from_another_visitor(gate):
    queue = Queue("t")
    mine, theirs = Page(queue, "same", hold(gate)), Page(queue, "same", hold(gate))
    mine.job.cancel()
    mine.leave.set()
    mine.join(5)
    time.sleep(0.05)
    assert not theirs.job.cancelled
    gate.set()
    assert theirs.job.over.wait(5)
    assert theirs.job.result == "held"


def test_a_dying_page_run_leaves_its_watch():
    queue, gate = Queue("t"), threading.Event()
    job = queue.submit("work", hold(gate))

    class Dying(BaseException):
        pass

    def page_run():
        with job.watch():
            assert job.watched
            raise Dying

    with pytest.raises(Dying):
        page_run()
    assert not job.watched
    gate.set()


def test_report_raises_cancelled_only_when_nobody_waits(gate):
    queue = Queue("t")
    page = Page(queue, "work", hold(gate))
    page.job.report(0.25, "a quarter")
    page.job.cancel()
    page.job.report(7.0)
    assert page.job.fraction == 1.0
    page.leave.set()
    page.join(5)
    time.sleep(0.01)
    with pytest.raises(Cancelled):
        page.job.report(0.5)


def steps(log, name, n):
    """Work that says after each step that it took one, so that a test sees in which order steps were taken."""

    def work(job):
        for step in range(n):
            log.append(f"{name}{step}")
            time.sleep(0.01)
            job.report((step + 1) / n)
        return name

    return work


def test_light_work_goes_before_heavy_work_that_came_first(gate):
    queue, order = Queue("t"), []
    held = Page(queue, "hold", hold(gate))
    heavy = Page(queue, "heavy", lambda job: order.append("heavy"))
    light = [Page(queue, f"light{n}", lambda job, n=n: order.append(f"light{n}"), light=True) for n in range(2)]
    assert all(page.job.over.wait(5) for page in light), "heavy work pauses for light work at its reports"
    assert not held.job.over.is_set()
    gate.set()
    assert heavy.job.over.wait(5)
    assert order == ["light0", "light1", "heavy"]


def test_heavy_work_pauses_and_goes_on_where_it_was():
    queue, log = Queue("t"), []
    begun, go_on = threading.Event(), threading.Event()

    def work(job):
        log.append("first half")
        begun.set()
        assert go_on.wait(5)
        job.report(0.5)
        log.append("second half")
        return "heavy"

    heavy = Page(queue, "heavy", work)
    assert begun.wait(5)
    light = Page(queue, "light", lambda job: log.append("light"), light=True)
    assert queue.ahead(heavy.job) == 0
    assert queue.ahead(light.job) == 1
    go_on.set()
    assert heavy.job.over.wait(5)
    assert light.job.over.is_set()
    assert log == ["first half", "light", "second half"]
    assert heavy.job.result == "heavy"


def test_the_lanes_never_compute_at_once_and_heavy_work_has_its_share():
    queue, log = Queue("t"), []
    heavy = Page(queue, "heavy", steps(log, "h", 20))
    light, number = [], 0
    while not heavy.job.over.is_set():
        light = [page for page in light if not page.job.over.is_set()]
        while len(light) < 3:  # there is always light work that waits
            light.append(Page(queue, f"light{number}", steps(log, f"l{number}:", 10), light=True))
            number += 1
        time.sleep(0.001)
    assert all(page.job.over.wait(5) for page in light)
    assert [entry for entry in log if entry.startswith("h")] == [f"h{n}" for n in range(20)]
    for job in range(number):  # the steps of a light job stand together: nothing came in between
        first = log.index(f"l{job}:0")
        assert log[first : first + 10] == [f"l{job}:{step}" for step in range(10)]


def test_place_in_line_counts_what_will_go_first(gate):
    queue, stop = Queue("t"), threading.Event()

    def busy(job):
        gate.set()
        assert stop.wait(5)

    running = Page(queue, "running", busy, light=True)
    assert gate.wait(5)
    heavy = Page(queue, "heavy", lambda job: None)
    light = [Page(queue, f"light{n}", lambda job: None, light=True) for n in range(3)]
    assert [queue.ahead(page.job) for page in (running, *light, heavy)] == [0, 1, 2, 3, 4]
    stop.set()
    assert heavy.job.over.wait(5)


def test_paused_work_that_nobody_waits_for_ends(monkeypatch):
    monkeypatch.setattr(queue_module, "GRACE", 0.05)
    queue, begun, stop = Queue("t"), threading.Event(), threading.Event()
    heavy = Page(queue, "heavy", steps([], "h", 1000))

    def busy(job):
        begun.set()
        assert stop.wait(5)

    light = Page(queue, "light", busy, light=True)
    assert begun.wait(5)
    heavy.leave.set()
    heavy.join(5)
    time.sleep(0.1)
    stop.set()
    assert light.job.over.wait(5)
    assert heavy.job.over.wait(5)
    assert heavy.job.cancelled


def test_hooks_and_gradients_of_paused_work_do_not_reach_the_work_that_runs_meanwhile(tiny_gpt2):
    import torch

    queue, tokens, begun, go_on = Queue("t"), torch.tensor([[0, 5, 6, 7]]), threading.Event(), threading.Event()
    plain = tiny_gpt2(tokens)

    def heavy(job):
        with torch.no_grad(), tiny_gpt2.hooks(fwd_hooks=[("hook_embed", lambda value, hook: value * 0)]):
            begun.set()
            assert go_on.wait(5)
            job.report(0.5)
            return tiny_gpt2(tokens)

    paused = Page(queue, "heavy", heavy)
    assert begun.wait(5)
    light = Page(queue, "light", lambda job: (tiny_gpt2(tokens), torch.is_grad_enabled()), light=True)
    go_on.set()
    assert paused.job.over.wait(30)
    logits, grad = light.job.result
    assert torch.equal(logits, plain)
    assert grad
    assert not torch.equal(paused.job.result, plain)


class TestCores:
    """Two cores: narrow work side by side, wide work alone."""

    @staticmethod
    def together(n):
        """Work that ends only when ``n`` jobs are inside it at once."""
        meeting = threading.Barrier(n)
        return lambda job: meeting.wait(5)

    @pytest.mark.parametrize("light", [(False, False), (True, False), (True, True)])
    def test_narrow_jobs_of_any_lane_compute_at_once(self, light):
        queue, work = Queue("t", cores=2), self.together(2)
        pages = [Page(queue, str(n), work, each, wide=False) for n, each in enumerate(light)]
        assert all(page.job.over.wait(5) for page in pages)
        assert sorted(page.job.result for page in pages) == [0, 1]

    def test_no_more_than_there_are_cores(self):
        queue, inside, most, lock = Queue("t", cores=2), set(), [], threading.Lock()

        def work(job):
            with lock:
                inside.add(job)
                most.append(len(inside))
            time.sleep(0.01)
            with lock:
                inside.remove(job)

        pages = [Page(queue, str(n), work, light=n % 2 == 0, wide=False) for n in range(8)]
        assert all(page.job.over.wait(5) for page in pages)
        assert max(most) <= 2

    @pytest.mark.parametrize("light", [True, False])
    def test_a_wide_job_is_alone_and_narrow_ones_behind_it_do_not_overtake(self, light, gate):
        queue, order = Queue("t", cores=2), []

        def work(name):
            def run(job):
                order.append(f"{name} begins")
                time.sleep(0.01)
                order.append(f"{name} ends")

            return run

        first = Page(queue, "first", hold(gate), light, wide=False)
        pages = [Page(queue, name, work(name), light, wide=name == "wide") for name in ("wide", "b")]
        assert [queue.ahead(page.job) for page in (first, *pages)] == [0, 0, 1]
        gate.set()
        assert all(page.job.over.wait(5) for page in pages)
        assert order == ["wide begins", "wide ends", "b begins", "b ends"]

    def test_heavy_work_that_pauses_comes_back_before_heavy_work_that_has_not_begun(self, gate):
        queue, order, paused = Queue("t", cores=2), [], threading.Event()

        def heavy(job):
            while not gate.wait(0.002):
                job.report(0.5)
            order.append("begun")

        def light(job):
            paused.set()
            gate.set()
            order.append("light")

        first = Page(queue, "heavy", heavy, wide=True)
        pages = [Page(queue, "later", lambda job: order.append("later")), Page(queue, "light", light, light=True)]
        assert all(page.job.over.wait(5) for page in (first, *pages))
        assert order == ["light", "begun", "later"]

    def test_work_that_computes_is_not_taken_away_by_the_other_thread_of_its_lane(self, gate, monkeypatch):
        monkeypatch.setattr(queue_module, "GRACE", 0.02)
        queue = Queue("t", cores=2)
        begun = threading.Event()
        left = Page(queue, "left", lambda job: begun.set() or gate.wait(5), wide=False)
        assert begun.wait(5)
        left.leave.set()
        left.join(5)
        other = Page(queue, "other", lambda job: "fine", wide=False)
        assert other.job.over.wait(5)
        time.sleep(3 * queue_module.BACK)
        assert not left.job.over.is_set()
        gate.set()
        assert left.job.over.wait(5)
        assert left.job.result is True


def test_the_wait_is_what_is_left_of_those_before(gate):
    queue = Queue("t")
    running = Page(queue, "a", hold(gate))
    running.job.seconds = 20.0
    deadline = time.monotonic() + 5
    while running.job.fraction < 0.5 and time.monotonic() < deadline:
        time.sleep(0.001)
    waiting = [queue.submit(key, hold(gate), seconds=seconds) for key, seconds in (("b", 4.0), ("c", 0.0), ("d", 1.0))]
    assert [queue.seconds_ahead(job) for job in (running.job, *waiting)] == [0.0, 10.0, 14.0, 14.0]
    gate.set()
    running.join(5)
    assert queue.seconds_ahead(running.job) == 0.0
