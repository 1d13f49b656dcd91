"""A training run that is watched: what has come, what is being written, and who may watch."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lens.given import forget, give
from lens.load.arriving import Arrived, Finished
from lens.ui.calls import result_store
from lens.ui.pages.training_dynamics.watching import words
from tests.analysis.runs import write_run
from tests.ui.conftest import app_page, fine

SMALL = {"n": "8", "seqs": "2", "texts": "1", "watch": "on"}


@pytest.fixture
def run(tmp_path, monkeypatch) -> Iterator[Path]:
    """An empty folder that ``lens.watch`` was given."""
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.setenv("LENS_CACHE", str(tmp_path / "cache"))
    result_store.clear()
    assert give(folder, "mine") == "mine"
    yield folder
    forget()


def test_the_page_takes_each_checkpoint_when_it_is_whole(run, tmp_path, tokenizer):
    source = write_run(tmp_path / "source", tokenizer, steps=(0, 10), n_layer=1)
    at = app_page("training_dynamics", model="local:mine", **SMALL).run()
    assert "mine: 0 checkpoints." in fine(at)
    assert "No whole checkpoint is here yet" in fine(at)
    shutil.copytree(source / "checkpoint-0", run / "checkpoint-0")
    late = run / "checkpoint-10"
    late.mkdir()
    shutil.copy(source / "checkpoint-10" / "config.json", late)
    data = (source / "checkpoint-10" / "model.safetensors").read_bytes()
    (late / "model.safetensors").write_bytes(data[:-100])
    shown = fine(at.run())
    assert "mine: 1 checkpoint, the last, checkpoint-0, came at " in shown
    assert "Not whole yet, so left out: checkpoint-10." in shown
    assert "Checkpoints: mine 1 of 1" in shown
    (late / "model.safetensors").write_bytes(data)
    shown = fine(at.run())
    assert "Not whole yet" not in shown
    assert "Checkpoints: mine 2 of 2" in shown


def test_strangers_watch_nothing(run, monkeypatch):
    monkeypatch.setenv("LENS_HOSTED", "1")
    at = app_page("training_dynamics", model="local:mine", **SMALL).run()
    shown = fine(at)
    assert "local model of another session" in shown
    assert "is no folder opened on this machine: it is not watched" in shown
    assert "Watching" not in shown


def test_what_is_said_of_a_folder():
    text = words("mine", Arrived(("checkpoint-5", "checkpoint-10"), ("checkpoint-15",), Finished("checkpoint-10", 0.0)))
    assert text.startswith("mine: 2 checkpoints, the last, checkpoint-10, came at ")
    assert "Not whole yet, so left out: checkpoint-15. Looked at " in text
