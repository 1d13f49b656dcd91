"""A Dask cluster of two workers on this machine gives the numbers of this process."""

import pandas as pd
from distributed import LocalCluster

from lens.analysis.checkpoint import Setting
from lens.sweeps.sweep import sweep
from lens.sweeps.workers import Workers

SETTING = Setting(n=12, seqs=16, seed=3, texts=2)


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
