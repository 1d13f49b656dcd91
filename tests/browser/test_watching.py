"""``lens.watch`` in a real browser: the page follows a training by itself, which no test without a browser sees."""

import shutil

from playwright.sync_api import expect

import lens
from tests.analysis.runs import write_run
from tests.browser.conftest import at_rest, query
from tests.helpers import byte_tokenizer


def test_a_checkpoint_that_comes_is_drawn_without_a_click(tmp_path, page, monkeypatch):
    monkeypatch.setenv("LENS_CACHE", str(tmp_path / "cache"))
    source = write_run(tmp_path / "source", byte_tokenizer(), steps=(0, 10), n_layer=1)
    run = tmp_path / "mine"
    shutil.copytree(source / "checkpoint-0", run / "checkpoint-0")
    watching = lens.watch(run, browser=False)
    try:
        page.goto(watching.url)
        expect(page.get_by_text("mine: 1 checkpoint, the last, checkpoint-0, came at")).to_be_visible()
        at_rest(page)
        assert query(page) == {"model": ["local:mine"], "watch": ["on"]}
        shutil.copytree(source / "checkpoint-10", run / "checkpoint-10")
        expect(page.get_by_text("mine: 2 checkpoints, the last, checkpoint-10")).to_be_visible()
        at_rest(page)
        expect(page.get_by_text("mine: phase change")).to_be_visible()
    finally:
        page.close()
        watching.stop()
