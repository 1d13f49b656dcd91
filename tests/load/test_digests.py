"""Hashes that are remembered: the same as reading the file, whatever was done to it in between."""

import hashlib
import os
import time

import pytest

from lens.load import digests as module
from lens.load.digests import RECORD, cache_root, digest, digests, sha256


@pytest.fixture
def reads(monkeypatch):
    """The files that were really read."""
    found = []
    monkeypatch.setattr(module, "sha256", lambda path: found.append(path.name) or sha256(path))
    return found


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    return path


def test_it_is_the_hash_of_the_content(file):
    assert digest(file) == hashlib.sha256(b"one").hexdigest()


def test_a_settled_file_is_read_once(file, reads, monkeypatch):
    monkeypatch.setattr(module, "SETTLED", -1.0)
    assert digest(file) == digest(file) == sha256(file)
    assert reads == ["weights"]


def test_a_file_that_has_just_changed_is_read_every_time(file, reads):
    assert digest(file) == digest(file)
    assert reads == ["weights", "weights"]


def test_a_change_that_keeps_size_and_time_of_writing_is_seen(file, reads, monkeypatch):
    monkeypatch.setattr(module, "SETTLED", -1.0)
    before = file.stat()
    digest(file)
    time.sleep(0.02)  # a tick of the file system's clock
    file.write_bytes(b"two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert digest(file) == hashlib.sha256(b"two").hexdigest()


def test_several_files_keep_their_order_and_only_new_ones_are_read(tmp_path, reads, monkeypatch):
    monkeypatch.setattr(module, "SETTLED", -1.0)
    files = [tmp_path / name for name in "abc"]
    for path in files:
        path.write_text(path.name)
    digest(files[1])
    assert digests(files) == [sha256(path) for path in files]
    assert sorted(reads) == ["a", "b", "c"]


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b"[]", b'{"x": 1}'])
def test_a_damaged_record_costs_a_hash_and_no_more(file, monkeypatch, damage):
    monkeypatch.setattr(module, "SETTLED", -1.0)
    digest(file)
    (cache_root() / RECORD).write_bytes(damage)
    assert digest(file) == sha256(file)
    assert digest(file) == sha256(file)


def test_files_that_have_gone_are_forgotten(tmp_path, file, monkeypatch):
    monkeypatch.setattr(module, "SETTLED", -1.0)
    gone = tmp_path / "gone"
    gone.write_text("x")
    digest(gone)
    gone.unlink()
    digest(file)
    assert list(module._read()) == [str(file)]
    with pytest.raises(FileNotFoundError, match="gone"):
        digest(gone)


def test_a_cache_that_cannot_be_written_costs_a_hash(file, tmp_path, reads, monkeypatch):
    monkeypatch.setattr(module, "SETTLED", -1.0)
    monkeypatch.setenv("LENS_CACHE", str(tmp_path / "weights"))  # a file
    assert digest(file) == digest(file) == sha256(file)
    assert reads == ["weights", "weights"]
