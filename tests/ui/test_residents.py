"""Models in memory: the bound, the order in which they go, and that nothing keeps one that was let go."""

import gc
import threading
import weakref

import pytest
import torch

from lens.analysis.counts import size
from lens.load import ram
from lens.ui.garbage import set_aside, tidy
from lens.ui.memory import memory_html
from lens.ui.queue import Queue
from lens.ui.residents import Resident, Residents, weight_bytes
from tests.helpers import hf_gpt2, in_lens


def model(**changes):
    return in_lens(hf_gpt2(**changes))


ONE = weight_bytes(model())


def filled(budget, *names):
    kept = Residents(budget)
    for name in names:
        kept.fill(kept.holder(name, name), model())
    return kept


def names(kept):
    return [one.name for one in kept.resident()]


def test_the_least_recently_used_goes_first():
    kept = filled(int(2.5 * ONE), "a", "b")
    kept.holder("a", "a")
    kept.fill(kept.holder("c", "c"), model())
    assert names(kept) == ["c", "a"]
    assert kept.total == 2 * ONE
    assert kept.holder("b", "b").model is None


def test_the_newest_stays_even_if_it_is_too_large():
    assert names(filled(10, "a", "b")) == ["b"]


def test_room_is_made_before_a_load_and_never_takes_the_last_model():
    kept = filled(3 * ONE, "a", "b", "c")
    kept.make_room(ONE)
    assert names(kept) == ["c", "b"]
    kept.make_room(100 * ONE)
    assert names(kept) == ["c"]


def test_a_dropped_model_lives_as_long_as_a_page_holds_it():
    kept = filled(10 * ONE, "a")
    base = kept.holder("a", "a").model
    seen = weakref.ref(base)
    kept.drop("a")
    assert kept.total == 0
    assert base.W_E.shape[0] == 113  # a page that still runs keeps it
    del base
    gc.collect()
    assert seen() is None


def test_a_finished_job_holds_no_model():
    """The queue's thread would else keep the last model that it loaded until the next one comes."""
    queue, made = Queue("test"), model()
    seen = weakref.ref(made)
    job = queue.submit("a", lambda job, made=made: made.W_E.shape)
    with job.watch():
        assert job.over.wait(10)
    del made
    gc.collect()
    assert seen() is None


def test_many_threads_at_once_end_in_order():
    kept, base = filled(int(2.5 * ONE), "x"), model()

    def visit(number):
        for step in range(20):
            name = f"{(number + step) % 4}"
            kept.fill(kept.holder(name, name), base)
            kept.make_room(0)

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert 1 <= len(kept.resident()) <= 4


@pytest.mark.parametrize(
    ("text", "n_bytes"), [("6GB", 6e9), ("1.5 gb", 1.5e9), ("800M", 8e8), ("2000000", 2e6), ("3 kb", 3e3)]
)
def test_the_budget_as_it_is_written(text, n_bytes, monkeypatch):
    monkeypatch.setenv("LENS_MODEL_MEMORY", text)
    assert ram.budget_bytes() == n_bytes
    assert ram.budget_bytes(torch.device("cuda")) == n_bytes


@pytest.mark.parametrize("text", ["much", "-1GB", "6 PB", "GB"])
def test_a_budget_that_is_none(text, monkeypatch):
    monkeypatch.setenv("LENS_MODEL_MEMORY", text)
    with pytest.raises(ValueError, match="Write it like 6GB"):
        ram.budget_bytes()


def test_without_a_setting_it_is_half_of_what_is_free(monkeypatch, tmp_path):
    monkeypatch.delenv("LENS_MODEL_MEMORY", raising=False)
    monkeypatch.setattr(ram, "CONTAINER", tmp_path)
    for limit, most in (("max\n", 10**15), ("2000000\n", 750_000)):
        (tmp_path / "memory.max").write_text(limit)
        (tmp_path / "memory.current").write_text("500000\n")
        assert 0 < ram.budget_bytes() <= most
    assert ram.budget_bytes() == 750_000
    assert ram.machine_memory() == (2_000_000, 1_500_000)


def test_the_bar_is_escaped_and_never_wider_than_the_budget():
    text = memory_html([Resident("k", "<b>", 3 * 10**9), Resident("l", "l", 10**9)], 2 * 10**9)
    assert "&lt;b&gt; 3.0 GB" in text
    assert "4.0 GB of 2.0 GB" in text
    assert 'width:75.00%"></i><i style="width:25.00%' in text
    assert "no model is open" in memory_html([], 10**9)
    assert size(538_000_000) == "538 MB"


def test_what_was_set_aside_comes_back_when_a_model_goes():
    kept = filled(10 * ONE, "a")
    base = kept.holder("a", "a").model
    base.itself = [base]  # a cycle, which only a collection finds
    gone = weakref.ref(base)
    set_aside()
    assert gc.get_freeze_count() > 10_000  # later collections need not look through torch
    del base
    kept.drop("a")
    gc.collect()
    assert gone() is not None
    set_aside()
    tidy()
    assert gone() is None
    assert gc.get_freeze_count() > 10_000


def test_the_weights_are_measured_once_for_all_views():
    kept = filled(10 * ONE, "a")
    base = kept.holder("a", "a").model
    calls = []
    state_dict = base.state_dict
    base.state_dict = lambda: calls.append(1) or state_dict()
    assert kept.total == kept.total == ONE
    assert len(calls) == 1
