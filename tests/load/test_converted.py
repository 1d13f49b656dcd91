"""The converted copy: made once, checked at every load, whole or not there at all."""

import json
import os
import subprocess
import sys
import time

import pytest

from lens.load import read
from lens.load.converted import MANIFEST, STALE, cache_folder, is_whole
from tests.load.models import same_state, write_gguf
from tests.load.test_gguf import left_behind, model

CONVERT = """
import sys; from pathlib import Path; from lens.load.converted import converted_copy
from lens.load.digests import digest
path = Path(sys.argv[1]); print(converted_copy(path, digest(path)))
"""


@pytest.fixture
def hf():
    return model()


@pytest.fixture
def path(hf, tmp_path):
    return write_gguf(tmp_path / "m.gguf", hf)


def only_copy():
    (name,) = left_behind()
    return cache_folder() / name


def test_second_load_converts_nothing(hf, path, stages):
    read(str(path))
    before = {file.name: file.stat().st_mtime_ns for file in only_copy().iterdir()}
    same_state(read(str(path), progress=stages).state, hf)
    assert {file.name: file.stat().st_mtime_ns for file in only_copy().iterdir()} == before
    assert stages.texts == ["Checking the converted copy", "Reading config", "Reading weights"]


def test_progress_of_the_first_load(path, stages):
    read(str(path), progress=stages)
    assert stages.fractions == sorted(stages.fractions)
    assert stages.fractions[-1] == 1
    assert "Converting weights (first time only)" in stages.texts


def test_the_copy_is_an_ordinary_folder(hf, path, monkeypatch):
    monkeypatch.setattr("lens.load.converted.SHARD_BYTES", 50_000)
    read(str(path))
    folder = only_copy()
    assert len(list(folder.glob("*.safetensors"))) > 3
    assert all(file.stat().st_size < 90_000 for file in folder.glob("*.safetensors"))  # the embedding alone is 67 kB
    same_state(read(str(folder)).state, hf)
    source = json.loads((folder / MANIFEST).read_text())["source"]
    assert source["name"] == "m.gguf"


def test_another_file_of_the_same_name_is_another_copy(hf, path):
    read(str(path))
    other = model(rope_theta=77.0)
    path.unlink()
    assert read(str(write_gguf(path, other))).cfg.rotary_base == 77
    assert len(left_behind()) == 2


@pytest.mark.parametrize("name", ["model-00001.safetensors", "tokenizer.json", "config.json", MANIFEST])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_copy_is_made_again_and_says_so(hf, path, stages, name, damage):
    read(str(path))
    file = only_copy() / name
    raw = bytearray(file.read_bytes())
    raw[-9] ^= 1
    if damage == "flip":
        file.write_bytes(raw)
    elif damage == "cut":
        file.write_bytes(raw[:-20])
    else:
        file.unlink()
    if name == MANIFEST and damage == "flip":
        assert not is_whole(only_copy()) or json.loads(file.read_text())  # a byte of a note is no damage to the model
        return
    same_state(read(str(path), progress=stages).state, hf)
    assert "The converted copy is damaged; converting again" in stages.texts
    assert is_whole(only_copy())


class Cancelled(BaseException):
    """Streamlit stops a run by raising a BaseException out of whatever it is doing."""


@pytest.mark.parametrize("stage", ["Reading m.gguf", "Converting weights (first time only)"])
def test_a_cancelled_conversion_leaves_nothing(hf, path, stage):
    def cancel(fraction, text):
        if text == stage:
            raise Cancelled

    with pytest.raises(Cancelled):
        read(str(path), progress=cancel)
    assert left_behind() == []
    same_state(read(str(path)).state, hf)


def test_two_processes_at_once(hf, path):
    command = [sys.executable, "-c", CONVERT, str(path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in "ab"]
    results = [(*process.communicate(timeout=60), process.returncode) for process in processes]
    assert [code for _, _, code in results] == [0, 0], results
    assert {out.strip() for out, _, _ in results} == {str(only_copy())}
    same_state(read(str(path)).state, hf)


def test_the_slower_of_two_accepts_the_copy_of_the_faster(hf, path):
    """While this load converts, another one finishes the same copy."""
    started = []

    def other_is_faster(fraction, text):
        if text == "Reading m.gguf" and not started:
            started.append(True)
            read(str(path))

    same_state(read(str(path), progress=other_is_faster).state, hf)
    assert is_whole(only_copy())


def test_folders_of_dead_processes_are_swept_up(path):
    old, new = (cache_folder() / f"unfinished-{name}" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
    long_ago = time.time() - 2 * STALE
    os.utime(old, (long_ago, long_ago))
    read(str(path))
    assert not old.exists()
    assert new.exists()


def test_a_full_disk(path):
    """Files may not grow past 20 kB in this process: an OSError that says so, and nothing left."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
    run = subprocess.run(
        [sys.executable, "-c", limit + CONVERT, str(path)], capture_output=True, text=True, check=False
    )
    assert "OSError: The converted copy could not be written" in run.stderr
    assert left_behind() == []


def test_a_cache_that_cannot_be_written(path, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("LENS_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match="LENS_CACHE"):
        read(str(path))
