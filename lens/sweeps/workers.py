"""Where the jobs of a sweep run: in this process, in local processes, or on a cluster that is there already.

A cluster is an address: Dask by joblib, Ray by its own tasks. A worker that is killed takes nothing with it but the job
it was on, which is run again.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError

from lens.load.digests import cache_root
from lens.sweeps.job import Job, Outcome, begun_by, end, run_job

LOG = logging.getLogger(__name__)
RETRIES = 3  # of a job whose worker is gone, by Ray; Dask's scheduler has a setting of its own for it, 3 by default
STARTS = 3  # workers in a row that end before they begin a job: then something is wrong with all of them
Work = Callable[[Job], Outcome]


class Workers(NamedTuple):
    """``backend`` "": this process for one worker, local processes (loky) for more. ``cluster``: its address."""

    count: int = 1
    backend: str = ""
    cluster: str = ""

    @property
    def here(self) -> bool:
        """Whether they are processes of this machine, which see its files."""
        return self.backend in ("", "loky")


class _Lost(Exception):
    """A worker ended before its job did."""


def outcomes(jobs: Sequence[Job], workers: Workers, work: Work = run_job) -> Iterator[Outcome]:
    """What comes of every job, as it comes.

    When a worker is lost, the jobs that had begun are run again, one at a time, so that one that ends its worker each
    time is known: it is an outcome that is lost, and the others go on. ChildProcessError if none begins.
    """
    todo = {job.index: job for job in jobs}
    starts = 0
    with _configured(workers):
        while todo:
            try:
                for outcome in _parallel(list(todo.values()), workers, work):
                    job, starts = todo.pop(outcome.index), 0
                    if outcome.begun_by:
                        LOG.warning("%s was begun by %s, which is gone, and run again.", job.title, outcome.begun_by)
                    yield outcome
            except _Lost as error:
                begun = {job: name for job in todo.values() if (name := begun_by(job))}
                starts = 0 if begun else starts + 1
                if starts == STARTS:
                    raise ChildProcessError(
                        f"{STARTS} workers in a row ended before they began a job ({error}). Is there memory for "
                        f"{workers.count} of them? Try fewer."
                    ) from error
                _warn(begun, error)
                for job, name in begun.items():
                    del todo[job.index]
                    yield _alone(job, workers, work)._replace(begun_by=name)


def _warn(begun: Mapping[Job, str], error: Exception) -> None:
    names = ", ".join(f"{job.title} ({worker})" for job, worker in begun.items()) or "none had begun"
    LOG.warning("A worker ended before its job did; run again, one at a time: %s. %s", names, error)


def _alone(job: Job, workers: Workers, work: Work) -> Outcome:
    """A job that was on a lost worker, or beside one, by itself."""
    end(job)
    try:
        (outcome,) = _parallel([job], workers, work)
    except _Lost:
        end(job)
        lost = f"The checkpoint at {job.title}: its worker was killed twice; there may not be memory enough for it"
        LOG.warning("%s.", lost)
        return Outcome(job.index, {}, lost=lost)
    return outcome


def _parallel(jobs: Sequence[Job], workers: Workers, work: Work) -> Iterator[Outcome]:
    lost = _lost_worker(workers)
    try:
        if workers.backend == "ray":
            yield from _on_ray(jobs, work)
        else:
            yield from Parallel(batch_size=1, return_as="generator_unordered")(delayed(work)(job) for job in jobs)
    except lost as error:
        raise _Lost(" ".join(str(error).split())) from error


def _on_ray(jobs: Sequence[Job], work: Work) -> Iterator[Outcome]:
    """Each job as a task: joblib's backend for Ray gives nothing before all are done, and hangs on kills."""
    import ray

    task = ray.remote(max_retries=RETRIES)(work)
    running = [task.remote(job) for job in jobs]
    while running:
        (done,), running = ray.wait(running)
        yield ray.get(done)


def _lost_worker(workers: Workers) -> tuple[type[Exception], ...]:
    """What the backend raises for a worker that is gone, and for nothing else."""
    if workers.backend == "dask":
        from distributed import KilledWorker

        return (KilledWorker,)
    if workers.backend == "ray":
        from ray.exceptions import NodeDiedError, OutOfMemoryError, WorkerCrashedError

        return (WorkerCrashedError, OutOfMemoryError, NodeDiedError)  # none of them is another's kind
    return (TerminatedWorkerError,)


@contextmanager
def _configured(workers: Workers) -> Iterator[None]:
    """joblib set to these workers. ImportError and OSError say what is missing."""
    if workers.backend == "dask":
        from distributed import Client

        with Client(workers.cluster, set_as_default=False) as client:
            with parallel_config("dask", client=client, n_jobs=-1):
                yield
    elif workers.backend == "ray":
        import ray

        with ray.init(address=workers.cluster or "auto"):
            yield
    elif workers.count > 1 and workers.here:
        store = {"initializer": _keep_in, "initargs": (str(cache_root()),)}
        with parallel_config("loky", n_jobs=workers.count, **store):
            yield
    else:
        with parallel_config(workers.backend or "sequential", n_jobs=workers.count):
            yield


def _keep_in(root: str) -> None:
    """Local processes live on after a sweep: each sweep says anew where results are kept."""
    os.environ["LENS_CACHE"] = root
