"""A real server and several visitors at once: what they see is what one alone sees, and a closed tab's work stops."""

import asyncio
import time
from pathlib import Path

import pytest

from tests.benchmarks.bench_load import alone, places, visit
from tests.browser.conftest import ROOT, streamlit_server
from tests.visitors import Place, differences, visitor

VISITORS, VIEWS = 6, 4  # of each visitor
LEAVES = 0.2  # of the views: the tab is closed in the middle
STEPS = 1000  # of the slow work: twenty seconds, were nobody to stop it
HERE = Place("", ())
APP = """
from lens.ui.calls import analyse
from lens.ui.frame import frame
from tests.ui.work import slow
with frame("Home", question="?") as view:
    import streamlit as st
    st.markdown(f"{analyse(slow, PATH, STEPS, progress=True)} steps")
"""


@pytest.fixture
def slow_app(tmp_path):
    """``slow_app(steps)``: the script of an app that writes each step of its work into ``tmp_path / "steps"``."""

    def write(steps: int) -> Path:
        (tmp_path / "pages").mkdir()
        (tmp_path / "pages" / "method.py").write_text("", encoding="utf-8")
        script = tmp_path / "app.py"
        path = str(tmp_path / "steps")
        script.write_text(APP.replace("PATH", repr(path)).replace("STEPS", str(steps)), encoding="utf-8")
        return script

    return write


def written(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


async def begun(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not written(path):
        assert time.monotonic() < deadline, "the work never began"
        await asyncio.sleep(0.02)


def test_visitors_at_once_see_what_one_alone_sees(tmp_path):
    pages = ("model", "tokens", "predictions", "attention", "head_scores", "composition", "ablation", "patching")
    mix = places(seed=1, pages=pages, each=2)
    with streamlit_server(ROOT / "app.py", {"LENS_CACHE": str(tmp_path / "many")}) as url:
        load = asyncio.run(visit(url, mix, visitors=VISITORS, views=VIEWS, seed=1, leaves=LEAVES))
    assert load.failures == []
    assert [view.errors for view in load.views] == [()] * len(load.views)
    assert len(load.views) + len(load.closed) == VISITORS * VIEWS
    assert load.closed, "nobody left in the middle of work"
    with streamlit_server(ROOT / "app.py", {"LENS_CACHE": str(tmp_path / "alone")}) as url:
        reference = asyncio.run(alone(url, list(dict.fromkeys(view.place for view in load.views))))
    assert all(view.texts for view in reference.values())
    assert [differences(view, reference[view.place]) for view in load.views] == [[]] * len(load.views)


def test_the_work_of_a_closed_tab_stops(slow_app, tmp_path):
    async def leave(url: str) -> None:
        async with visitor(url) as tab:
            await tab.ask(HERE)
            await begun(tmp_path / "steps")

    with streamlit_server(slow_app(STEPS), {}) as url:
        asyncio.run(leave(url))
        before = -1
        while before != written(tmp_path / "steps"):
            before = written(tmp_path / "steps")
            time.sleep(1)
    assert 0 < before < STEPS


def test_one_run_for_all_who_ask_the_same_even_when_the_first_one_leaves(slow_app, tmp_path):
    async def both(url: str) -> tuple[str, ...]:
        async with visitor(url) as second:
            async with visitor(url) as first:
                await first.ask(HERE)
                await begun(tmp_path / "steps")
                waiting = asyncio.create_task(second.view(HERE))
                await asyncio.sleep(0.5)
            return (await waiting).texts

    with streamlit_server(slow_app(150), {}) as url:
        texts = asyncio.run(both(url))
    assert "150 steps" in texts
    assert written(tmp_path / "steps") == 150
