"""Local processes: a worker that is killed takes nothing with it."""

import logging
import sys
from types import ModuleType

import pandas as pd
import pytest

from lens.analysis.checkpoint import Setting
from lens.sweeps.job import run_job
from lens.sweeps.sweep import request
from lens.sweeps.table import as_frame
from lens.sweeps.workers import Workers, _Lost, _parallel, outcomes
from tests.sweeps.killed import ALWAYS, ONCE, killed

SETTING = Setting(n=12, seqs=16, seed=3, texts=2)


def test_a_worker_that_is_killed_takes_nothing_with_it(run, caplog):
    asked = request(run, ["sink"], f"{ONCE},{ALWAYS}", SETTING, 2, curves=False)
    with caplog.at_level(logging.WARNING):
        found = {one.index: one for one in outcomes(asked.jobs, asked.workers, killed)}
    want = run_job(asked.jobs[0]._replace(index=ONCE))
    made, again = (as_frame(run, asked.names, SETTING, [one]) for one in (found.pop(ONCE), want))
    pd.testing.assert_frame_equal(made, again)
    (lost,) = found.values()
    assert lost.index == ALWAYS
    assert lost.lost.startswith("The checkpoint at step 100: its worker was killed twice; ")
    (first, last) = [record.getMessage() for record in caplog.records if record.name == "lens.sweeps.workers"]
    assert "run again, one at a time: " in first
    assert "step 10 (" in first
    assert "SIGKILL" in first
    assert last == f"{lost.lost}."


@pytest.mark.parametrize("name", ["WorkerCrashedError", "OutOfMemoryError", "NodeDiedError"])
def test_every_way_in_which_ray_loses_a_worker_is_known(monkeypatch, name):
    kinds = {kind: type(kind, (Exception,), {}) for kind in ("WorkerCrashedError", "OutOfMemoryError", "NodeDiedError")}
    ray, exceptions = ModuleType("ray"), ModuleType("ray.exceptions")
    vars(exceptions).update(kinds)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.exceptions", exceptions)

    def gone(max_retries):
        raise kinds[name]("the node is gone")

    ray.remote = gone
    with pytest.raises(_Lost, match="the node is gone"):
        list(_parallel([], Workers(backend="ray"), run_job))
