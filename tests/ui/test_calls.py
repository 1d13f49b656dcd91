"""``analyse`` and ``sweep`` inside a page: computed once, cancelled without loss, long work only after a click."""

import pytest

from lens.ui.calls import LIGHT
from lens.ui.threads import LARGE
from tests.ui import work
from tests.ui.conftest import markdown

ANALYSE = """
import streamlit as st
import torch
from lens.ui.calls import analyse
from lens.ui.frame import frame
from tests.ui.work import squares
with frame("Home", question="?") as view:
    out = analyse(squares, torch.arange(4.0), scale=SCALE)
    st.write(f"{type(out).__name__} {type(out.value).__name__} {float(out.mean)}")
"""
SWEEP = """
import streamlit as st
from lens.ui.calls import sweep
from lens.ui.frame import frame
from tests.ui.work import cell
with frame("Home", question="?") as view:
    out = sweep(cell, CELLS, scale=SCALE, estimate=ESTIMATE)
    st.write(f"done {sorted(out.done)} missing {out.missing}")
"""


@pytest.fixture(autouse=True)
def calls():
    work.CALLS.clear()
    return work.CALLS


def page(script: str, **values) -> str:
    for name, value in values.items():
        script = script.replace(name, repr(value))
    return script


def test_a_result_is_computed_once_for_all_visitors(app, calls):
    script = page(ANALYSE, SCALE=3.25)
    first, second = app(script).run(), app(script).run()
    assert not first.exception
    assert markdown(first) == markdown(second) == "Squares ndarray 11.375"
    assert len(calls) == 1


def test_a_cancelled_analysis_says_so_and_starts_again_on_a_click(app, calls):
    import torch

    from lens.ui.calls import call_key

    at = app(page(ANALYSE, SCALE=4.5))
    at.session_state["lens:cancelled"] = {call_key(work.squares, (torch.arange(4.0),), {"scale": 4.5})}
    at.run()
    assert "Cancelled" in markdown(at)
    assert calls == []
    at.button(key=next(b.key for b in at.button if b.label == "Compute")).click().run()
    assert markdown(at) == "Squares ndarray 15.75"
    assert len(calls) == 1


def test_a_sweep_computes_only_what_is_missing(app, calls):
    app(page(SWEEP, CELLS=[1, 2], SCALE=5.5, ESTIMATE=0.0)).run()
    at = app(page(SWEEP, CELLS=[1, 2, 3], SCALE=5.5, ESTIMATE=0.0)).run()
    assert markdown(at) == "done [1, 2, 3] missing ()"
    assert [call[1] for call in calls] == [1, 2, 3]


def test_long_work_waits_for_a_click_and_shows_what_there_is(app, calls):
    app(page(SWEEP, CELLS=[1], SCALE=6.5, ESTIMATE=0.0)).run()
    at = app(page(SWEEP, CELLS=[1, 2], SCALE=6.5, ESTIMATE=900.0)).run()
    assert "done [1] missing (2,)" in markdown(at)
    start = next(button for button in at.button if button.label == "Compute, about 450 s")
    start.click().run()
    assert markdown(at) == "done [1, 2] missing ()"


def test_progress_is_handed_to_the_analysis(app):
    at = app("""
import streamlit as st
from lens.ui.calls import analyse
from lens.ui.frame import frame
from tests.ui.work import with_progress
with frame("Home", question="?") as view:
    st.write(f"{analyse(with_progress, 5, progress=True)} steps")
""").run()
    assert markdown(at) == "5 steps"


def test_an_unexpected_error_is_a_sentence_and_a_report(app):
    at = app("""
from lens.ui.calls import analyse
from lens.ui.frame import frame
from tests.ui.work import failing
with frame("Home", question="?") as view:
    analyse(failing, 7)
""").run()
    assert not at.exception
    assert "unexpected RuntimeError" in at.error[0].value
    assert "broken at 7" in at.code[0].value


def test_what_took_long_before_waits_for_what_is_light():
    from lens.ui.calls import Call, costs

    call = Call("key", work.failing, (), {})
    assert call.expected(0.0) <= LIGHT, "no model: nothing says that it is long"
    assert call.expected(30.0) == 30.0, "the page's estimate, while nothing was measured"
    costs().note(call.kind, 8.0)
    assert call.expected(0.0) == 8.0
    costs().note(call.kind, 2.0)
    assert call.expected(30.0) == 5.0, "measured before estimated"
    costs().note(call.kind, 9.0)
    assert call.expected(0.0) == 9.0


def test_a_large_model_is_heavy_until_it_was_measured(tiny_gpt2):
    import torch

    from lens.ui.calls import Call

    large = torch.nn.Linear(LARGE, 1, bias=False)
    assert Call("key", work.cell, (1, large), {}).expected(0.0) > LIGHT
    assert Call("key", work.cell, (1, tiny_gpt2), {}).expected(0.0) <= LIGHT
    assert Call("key", work.cell, (1, large), {}).kind != Call("key", work.cell, (1, tiny_gpt2), {}).kind


def test_threads_follow_the_size_of_the_model_and_are_one_afterwards(monkeypatch):
    import torch

    from lens.ui import threads

    monkeypatch.setattr(threads, "n_cores", lambda: 2)
    with threads.threads_for(LARGE):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 1
    with threads.threads_for(LARGE - 1):
        assert torch.get_num_threads() == 1
    with pytest.raises(ValueError, match="fails"), threads.threads_for(LARGE):
        raise ValueError("fails")
    assert torch.get_num_threads() == 1


HUNGRY = """
import streamlit as st
from lens.ui.calls import analyse
from lens.ui.frame import frame
from tests.ui.work import hungry
with frame("Home", question="?") as view:
    st.write(f"{analyse(hungry, MOST)} at once")
"""


@pytest.mark.parametrize(("most", "says"), [(8, "8 at once"), (4, "4 at once")])
def test_where_memory_runs_out_the_page_computes_half_as_much_at_once(app, calls, most, says):
    at = app(page(HUNGRY, MOST=most)).run()
    assert not at.error
    assert says in markdown(at)
    assert [n for _, n in calls] == [8, 4][: 8 // most]


def test_where_memory_runs_out_twice_the_page_says_it_in_a_sentence_and_keeps_nothing(app, calls):
    at = app(page(HUNGRY, MOST=2)).run()
    (error,) = at.error
    assert error.value.startswith("There is not enough memory for this computation")
    assert "Report" not in [one.label for one in at.expander]
    at.run()
    assert [n for _, n in calls] == [8, 4, 8, 4]
