"""The kept scorecard: the same rows as measured, measured once, by this code only, and again when asked."""

import time

import pytest

from lens.analysis.selftest import examine, kept
from lens.analysis.selftest.kept import examined
from lens.results import sources

NAME = "planted-decoy"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LENS_CACHE", str(tmp_path))
    return tmp_path / "results"


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    made: list[str] = []

    def counted(name: str, n_seqs: int, seed: int):
        made.append(name)
        return examine(name, n_seqs, seed)

    monkeypatch.setattr(kept, "examine", counted)
    return made


def test_what_is_kept_is_what_was_measured(calls, folder):
    start = time.time()
    first, again = examined(NAME, 16, 3), examined(NAME, 16, 3)
    assert calls == [NAME]
    assert first == again
    assert first.rows == examine(NAME, 16, 3)
    assert start <= first.measured <= time.time()
    later = examined(NAME, 16, 3, since=time.time())
    assert calls == [NAME, NAME]
    assert later.rows == first.rows
    assert later.measured > first.measured
    assert examined(NAME, 16, 3) == later  # the newer one stays
    assert examined(NAME, 16, 4).rows != first.rows
    assert len(list(folder.iterdir())) == 2


def test_a_change_of_any_code_that_takes_part_is_another_key():
    files = {path.as_posix().rpartition("/lens/")[2] for path in sources(kept.__name__)}
    parts = ("analysis/selftest/instruments.py", "analysis/instruments/induction.py", "analysis/ov_copying.py",
             "planted/plants.py", "attention.py", "analysis/interventions/engine.py", "analysis/stats.py")  # fmt: skip
    assert files >= set(parts)
    assert not any(file.startswith(("ui/", "figures/")) for file in files)
