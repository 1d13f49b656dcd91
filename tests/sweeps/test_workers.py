"""Local processes and clusters: the same numbers, and a worker that is killed takes nothing with it."""

import logging
import os
import signal
import time

import pandas as pd
from distributed import LocalCluster

from lens.analysis.checkpoint import Setting
from lens.sweeps.job import marked, run_job
from lens.sweeps.sweep import Sweep, request, sweep
from lens.sweeps.workers import Workers, outcomes

SETTING = Setting(n=12, seqs=16, seed=3, texts=2)
ONCE, ALWAYS = 1, 3  # checkpoints at which a worker is killed


def killed(job):
    """The job, in a process that is killed as by a system without memory: at one checkpoint once, at another always."""
    been = job.marks / f"been-{job.index}"
    if job.index == ALWAYS or (job.index == ONCE and not been.exists()):
        with marked(job):
            been.touch()
            while not all((job.marks / f"been-{index}").exists() for index in (ONCE, ALWAYS)):
                time.sleep(0.01)  # both are on workers when the first is killed
            os.kill(os.getpid(), signal.SIGKILL)
    return run_job(job)


def test_a_worker_that_is_killed_takes_nothing_with_it(run, caplog):
    want = sweep(run, ["sink"], "0,1", SETTING, curves=False).frame()
    asked = request(run, ["sink"], f"0,{ONCE},{ALWAYS}", SETTING, 2, curves=False)
    jobs = sorted(asked.jobs, key=lambda job: job.index == 0)  # the two that kill come first
    with caplog.at_level(logging.WARNING):
        found = {one.index: one for one in outcomes(jobs, asked.workers, killed)}
    assert sorted(found) == [0, ONCE, ALWAYS]
    made = Sweep(run, asked.names, SETTING, (found[0], found[ONCE]))
    pd.testing.assert_frame_equal(made.frame(), want, atol=1e-6)
    assert str(os.getpid()) not in found[ONCE].begun_by != ""
    assert found[ALWAYS].lost.startswith("The checkpoint at step 100: its worker was killed twice")
    assert "run again, one at a time: step 10 (" in caplog.text or "step 10 (" in caplog.text
    assert "SIGKILL" in caplog.text


def test_a_dask_cluster_gives_the_same_numbers(run):
    want = sweep(run, ["sink"], "0,1,2", SETTING, curves=False)
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        dask = Workers(backend="dask", cluster=cluster.scheduler_address)
        again = sweep(run, ["sink"], "0,1,2", SETTING, workers=dask, curves=False)
        fresh = sweep(run, ["sink"], "2,3,4", SETTING._replace(seed=4), workers=dask, curves=False)
    pd.testing.assert_frame_equal(again.frame(), want.frame())
    assert fresh.lost == ()
    here = sweep(run, ["sink"], "2,3,4", SETTING._replace(seed=4), curves=False)
    pd.testing.assert_frame_equal(fresh.frame(), here.frame())
