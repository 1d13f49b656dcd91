"""Kept results: what was put in comes out, damage is computed again, nothing depends on a stale key."""

import logging
import os

import numpy as np
import pytest

from lens import results
from lens.results import Result, load, remembered, result_key, save

MADE = Result(
    {"loss": np.linspace(0, 1, 7, dtype=np.float32), "ids": np.arange(6).reshape(2, 3)}, {"n": 16, "why": "ü"}
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
        result_key("scores", model="m", seed=0),
        result_key("scores", model="m", seed=1),
        result_key("losses", model="m", seed=0),
    }
    monkeypatch.setattr(results, "code_version", lambda: "another")
    keys.add(result_key("scores", model="m", seed=0))
    assert len(keys) == 4


def test_the_code_version_follows_the_analyses_and_not_the_pages(tmp_path, monkeypatch):
    for name in ("model.py", "analysis/x.py", "ui/page.py"):
        (tmp_path / "lens" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lens" / name).write_text("a = 1\n")
    monkeypatch.setattr(results, "PACKAGE", tmp_path / "lens")

    def version():
        return results.code_version.__wrapped__()

    before = version()
    (tmp_path / "lens/ui/page.py").write_text("a = 2\n")
    assert version() == before
    (tmp_path / "lens/analysis/x.py").write_text("a = 2\n")
    assert version() != before


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


def test_where_nothing_can_be_written_the_number_is_computed_and_the_log_says_so(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("LENS_CACHE", str(tmp_path / "file"))
    calls = []
    with caplog.at_level(logging.WARNING):
        same(remembered("a-1", counted(calls)), MADE)
    assert "Set LENS_CACHE" in caplog.text
