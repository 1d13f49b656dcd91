"""Kept results: what was put in comes out, damage is computed again, nothing depends on a stale key."""

import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lens import results
from lens.results import Result, load, remembered, result_key, save
from tests.imports import import_graph

MADE = Result(
    {
        "loss": np.linspace(0, 1, 7, dtype=np.float32),
        "ids": np.arange(6).reshape(2, 3).T,
        "threshold": np.array(0.5),
    },
    {"n": 16, "why": "ü"},
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LENS_CACHE", str(tmp_path))
    return tmp_path / "results"


def same(one, other):
    assert one.facts == other.facts
    assert one.arrays.keys() == other.arrays.keys()
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, other.arrays[name])
        assert array.dtype == other.arrays[name].dtype


def counted(calls):
    def compute():
        calls.append(1)
        return MADE

    return compute


def test_a_result_is_computed_once(folder):
    calls = []
    same(remembered("a-1", counted(calls)), MADE)
    same(remembered("a-1", counted(calls)), MADE)
    assert len(calls) == 1
    assert [path.name for path in folder.iterdir()] == ["a-1"]


@pytest.mark.parametrize("where", [0, 40, -1])
def test_one_flipped_byte_is_computed_again(folder, where, caplog):
    save("a-1", MADE)
    data = bytearray((folder / "a-1").read_bytes())
    data[where] ^= 1
    (folder / "a-1").write_bytes(data)
    calls = []
    with caplog.at_level(logging.WARNING):
        same(remembered("a-1", counted(calls)), MADE)
    assert len(calls) == 1
    assert "damaged" in caplog.text
    same(load("a-1"), MADE)


@pytest.mark.parametrize("content", [b"", b"x" * 10, b"x" * 5000])
def test_a_cut_or_foreign_file_is_computed_again(folder, content):
    save("a-1", MADE)
    (folder / "a-1").write_bytes(content)
    assert load("a-1") is None
    assert not (folder / "a-1").exists()


def test_a_key_names_everything(monkeypatch):
    keys = {
        result_key("scores", "lens.results", model="m", seed=0),
        result_key("scores", "lens.results", model="m", seed=1),
        result_key("losses", "lens.results", model="m", seed=0),
    }
    monkeypatch.setattr(results, "code_version", lambda module: "another")
    keys.add(result_key("scores", "lens.results", model="m", seed=0))
    assert len(keys) == 4


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package in which ``analysis.x`` computes with ``model`` and ``load.hub``, and others do not take part."""
    files = {
        "__init__.py": "",
        "model.py": "import lens.hooks\n",
        "hooks.py": "a = 1\n",
        "load/__init__.py": "",
        "load/hub.py": "def f():\n    from lens.files import (\n        one,\n        other,\n    )\n",
        "files.py": "one = other = 1\n",
        "analysis/__init__.py": "",
        "analysis/x.py": "from lens.model import f\nfrom lens.load import hub\n",
        "analysis/y.py": "from lens.model import f\n",
        "ui/page.py": "from lens.analysis import x\n",
        "train/run.py": "from lens.analysis import x\n",
    }
    for name, text in files.items():
        (tmp_path / "lens" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lens" / name).write_text(text)
    monkeypatch.setattr(results, "PACKAGE", tmp_path / "lens")
    return tmp_path / "lens"


def test_the_code_version_follows_what_computes_and_nothing_else(package):
    def version():
        return results.code_version.__wrapped__("lens.analysis.x")

    files = sorted(path.relative_to(package).as_posix() for path in package.rglob("*.py"))
    followed = []
    for name in files:
        text, before = (package / name).read_text(), version()
        (package / name).write_text(text + "b = 2\n")
        followed += [name] if version() != before else []
        (package / name).write_text(text)
        assert version() == before
    assert sorted(set(files) - set(followed)) == ["analysis/y.py", "train/run.py", "ui/page.py"]


def test_a_training_runs_results_follow_the_model_and_the_scores_but_not_the_training_code():
    files = {path.relative_to(results.PACKAGE).as_posix() for path in results.sources("lens.analysis.training_run")}
    assert {"model.py", "load/folder.py", "families/gpt2.py", "analysis/checkpoint.py"} <= files
    assert not {name for name in files if name.startswith(("train/", "ui/", "figures/", "compat/"))}
    graph, reached, todo = import_graph(types=False), set(), ["lens.analysis.training_run"]
    while todo:
        module = todo.pop()
        todo += graph[module] - reached
        reached.add(module)
    named = {results.PACKAGE / name for name in files}
    assert {Path(sys.modules[name].__file__) for name in reached & sys.modules.keys()} <= named


def test_the_longest_unused_go_first(folder, monkeypatch):
    save("old", MADE)
    save("used", MADE)
    size = (folder / "old").stat().st_size
    for age, name in ((100, "old"), (200, "used")):
        then = (folder / name).stat().st_mtime - age
        os.utime(folder / name, (then, then))
    load("used")
    monkeypatch.setattr(results, "MOST_BYTES", int(2.5 * size))
    save("new", MADE)
    assert sorted(path.name for path in folder.iterdir()) == ["new", "used"]


def test_many_write_and_make_room_at_once_and_lose_nothing(folder, monkeypatch):
    save("a-0", MADE)
    monkeypatch.setattr(results, "MOST_BYTES", 3 * (folder / "a-0").stat().st_size)
    with ThreadPoolExecutor(8) as pool:  # each deletes what the others are about to ask about
        list(pool.map(lambda number: save(f"a-{number}", MADE), range(200)))
    left = sorted(path.name for path in folder.iterdir())
    assert left
    assert not [name for name in left if name.startswith("unfinished-")]
    for name in left:
        same(load(name), MADE)


def test_a_damaged_file_that_was_replaced_meanwhile_is_not_deleted(folder):
    save("a-1", MADE)
    damaged = (folder / "a-1").stat().st_ino
    keep = folder / "other"
    os.link(folder / "a-1", keep)  # so that its inode is not used again
    save("a-1", MADE)
    results._delete(folder / "a-1", damaged)
    same(load("a-1"), MADE)


def test_where_nothing_can_be_written_the_number_is_computed_and_the_log_says_so(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("LENS_CACHE", str(tmp_path / "file"))
    calls = []
    with caplog.at_level(logging.WARNING):
        same(remembered("a-1", counted(calls)), MADE)
    assert "Set LENS_CACHE" in caplog.text


def test_a_single_number_comes_back_as_one():
    made = Result({"threshold": np.asarray(np.float32(0.25)), "turned": MADE.arrays["ids"].T}, {})
    save("a-1", made)
    found = load("a-1")
    assert found.arrays["threshold"].shape == ()
    same(found, made)
