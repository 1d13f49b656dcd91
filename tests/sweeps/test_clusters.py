"""Clusters whose workers are killed, half a minute each: the job is run again elsewhere, and the log names it.

Ray is no requirement of the tests: ``pip install ray`` first.
"""

import logging
from contextlib import contextmanager

import pytest

from lens.analysis.checkpoint import Setting
from lens.sweeps.sweep import request
from lens.sweeps.workers import Workers, outcomes
from tests.sweeps.killed import ALWAYS, ONCE, killed

SETTING = Setting(n=12, seqs=16, seed=3, texts=2)


@contextmanager
def dask():
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield Workers(backend="dask", cluster=cluster.scheduler_address)


@contextmanager
def ray():
    yield Workers(backend="ray", cluster="local")


@pytest.mark.cluster
@pytest.mark.parametrize("cluster", [dask, ray])
def test_a_worker_that_is_killed_loses_no_job(run, cluster, caplog):
    with cluster() as workers:
        asked = request(run, ["sink"], f"0,{ONCE},2", SETTING, workers, curves=False)
        marks = asked.jobs[0].marks
        marks.mkdir(parents=True)
        (marks / f"been-{ALWAYS}").touch()  # nobody waits for it: only one worker is killed
        with caplog.at_level(logging.WARNING):
            found = {one.index: one for one in outcomes(asked.jobs, workers, killed)}
    assert sorted(found) == [0, ONCE, 2]
    assert not any(one.lost for one in found.values())
    assert f"step 10 was begun by {found[ONCE].begun_by}, which is gone, and run again." in caplog.text
