"""Instruments at the checkpoints of a training run: planned, measured by any number of workers, and a table."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from lens.analysis.checkpoint import Setting
from lens.analysis.dynamics import coarse_first
from lens.analysis.instruments.registry import instruments_named
from lens.load.checkpoints import Checkpoints, checkpoint_name, checkpoints
from lens.load.digests import cache_root
from lens.load.download import time_left
from lens.load.hub import NoNetwork
from lens.progress import Progress, silent
from lens.sweeps.chosen import chosen_checkpoints
from lens.sweeps.downloads import Fetch, Forget, delete_commit, fetched_ahead, from_hub
from lens.sweeps.job import Job, Outcome, is_measured, run_job, structure_of, training_of
from lens.sweeps.plan import Plan, Sizes, hub_bytes, result_bytes, seconds_of
from lens.sweeps.table import as_frame
from lens.sweeps.workers import Workers, outcomes

if TYPE_CHECKING:
    import pandas as pd

LOG = logging.getLogger(__name__)


class Request(NamedTuple):
    """What is asked: everything of ``jobs``, by these workers. ``keep``: downloads on the disk at any time."""

    run: Checkpoints
    names: tuple[str, ...]
    setting: Setting
    curves: bool
    workers: Workers
    keep: int | None
    jobs: tuple[Job, ...]  # in the order in which they are begun: a sweep that is stopped has the shape of the whole


class Sweep(NamedTuple):
    """What came of it, by checkpoint, ascending."""

    run: Checkpoints
    names: tuple[str, ...]
    setting: Setting
    outcomes: tuple[Outcome, ...]

    @property
    def lost(self) -> tuple[str, ...]:
        """What is missing and should be there, a sentence each; a sweep with none is whole."""
        return tuple(sentence for outcome in self.outcomes for sentence in outcome.reasons)

    @property
    def lacks(self) -> dict[str, str]:
        """Instruments that the models of this run cannot have, each with the reason."""
        return {name: why for outcome in self.outcomes for name, why in outcome.lacks.items()}

    def frame(self) -> pd.DataFrame:
        """See :func:`lens.sweeps.table.as_frame`."""
        return as_frame(self.run, self.names, self.setting, self.outcomes)


def sweep(
    model: str | Checkpoints,
    instruments: Sequence[str],
    which: str = "all",
    setting: Setting | None = None,
    *,
    workers: Workers | int = 1,
    keep: int | None = None,
    curves: bool = True,
    progress: Progress = silent,
) -> Sweep:
    """Measure instruments at checkpoints; what was measured before, here or on the app's page, is read from disk.

    ``which``: see :data:`lens.sweeps.chosen.FORMS`. ``workers``: 1 is this process, more are local processes, or a
    :class:`Workers` with the address of a cluster; workers and the app share results where they share the folder
    $LENS_CACHE. ``keep``: how many downloaded checkpoints are on the disk at any time, all by default. ``curves``: also
    the losses and scores that the page draws. A checkpoint that fails is in ``lost``. ``progress`` may raise to stop.
    """
    return measure(request(model, instruments, which, setting, workers, keep, curves), progress)


def request(
    model: str | Checkpoints,
    instruments: Sequence[str],
    which: str = "all",
    setting: Setting | None = None,
    workers: Workers | int = 1,
    keep: int | None = None,
    curves: bool = True,
) -> Request:
    """What :func:`sweep` is asked; ValueError or KeyError for what does not exist or go together."""
    workers = Workers(workers) if isinstance(workers, int) else workers
    names = tuple(one.name for one in instruments_named(list(dict.fromkeys(instruments))))
    _check(names, workers, keep)
    run = checkpoints(model) if isinstance(model, str) else model
    indices, setting = chosen_checkpoints(run, which), setting or Setting()
    marks = cache_root() / "sweeps" / uuid4().hex
    order = [indices[place] for place in coarse_first(len(indices))]
    jobs = tuple(Job(run, index, names, setting, curves, marks) for index in order)
    return Request(run, names, setting, curves, workers, keep, jobs)


def _check(names: Sequence[str], workers: Workers, keep: int | None) -> None:
    if not names:
        raise ValueError("A sweep measures at least one instrument; none is named.")
    if workers.count < 1:
        raise ValueError(f"{workers.count} workers; it takes at least 1.")
    if keep is not None and keep < 1:
        raise ValueError(f"keep={keep}; at least 1 downloaded checkpoint must be on the disk to be read.")
    if keep is not None and not workers.here:
        raise ValueError(f"keep={keep} is about this machine's disk; the workers of {workers.backend} have their own.")
    if workers.backend == "dask" and not workers.cluster:
        raise ValueError("The backend dask needs the address of its scheduler, such as tcp://host:8786.")
    if workers.cluster and workers.here:
        raise ValueError(f"A cluster is given ({workers.cluster}) and no backend; say dask or ray.")


def plan(asked: Request, sizes: Sizes = hub_bytes) -> Plan:
    """What is left to do and what it takes."""
    todo = [job for job in asked.jobs if not is_measured(job)]
    away = [job.index for job in todo if not asked.run.is_local(job.index)]
    seconds = results = memory = None
    n_workers = asked.workers.count if asked.workers.here else None
    structure = next(filter(None, map(structure_of, asked.jobs)), None)
    if structure is not None:
        shape, names = structure
        seconds = len(todo) * seconds_of(training_of(asked.run), names, asked.setting, asked.curves) / (n_workers or 1)
        results = len(todo) * result_bytes(shape, names, asked.setting, asked.curves)
        if n_workers is not None:
            memory = 4 * shape.n_params * min(n_workers, len(todo))
    measured = len(asked.jobs) - len(todo)
    download = _download(asked.run, away, sizes)
    return Plan(len(asked.jobs), measured, n_workers, seconds, results, memory, len(away), download, asked.keep)


def _download(run: Checkpoints, away: Sequence[int], sizes: Sizes) -> int | None:
    """Bytes of all, by the first: the checkpoints of one run are of one size."""
    try:
        return len(away) * sizes(run, away[0]) if away else 0
    except NoNetwork:
        return None


def measure(
    asked: Request, progress: Progress = silent, fetch: Fetch | None = None, forget: Forget | None = None
) -> Sweep:
    """Do what is asked. ``fetch`` and ``forget`` bring checkpoints here and delete them: by default, of the Hub."""
    done: dict[int, Outcome] = {}
    start, total = perf_counter(), len(asked.jobs)
    kept = {job.index: job for job in asked.jobs if is_measured(job)}
    todo = [job for job in asked.jobs if job.index not in kept]

    def downloading(_fraction: float, stage: str) -> None:
        progress(len(done) / total, stage)

    run = asked.run
    forget = forget or (lambda commit: _delete(run, commit))
    measuring = _measured(asked, todo, fetch or from_hub(run), forget, downloading)
    try:
        progress(0.0, f"0 of {total} checkpoints")
        done |= {index: run_job(job) for index, job in kept.items()}
        for outcome in measuring:
            done[outcome.index] = outcome
            for sentence in outcome.reasons:
                LOG.warning("%s", sentence)
            left = (perf_counter() - start) / (len(done) - len(kept)) * (total - len(done))
            name = checkpoint_name(run, outcome.index)
            progress(len(done) / total, f"{len(done)} of {total} checkpoints, {name}; {time_left(left)} left")
    finally:
        measuring.close()
        training_of.cache_clear()
        shutil.rmtree(asked.jobs[0].marks, ignore_errors=True)
    return Sweep(run, asked.names, asked.setting, tuple(done[index] for index in sorted(done)))


def _measured(
    asked: Request, todo: Sequence[Job], fetch: Fetch, forget: Forget, progress: Progress
) -> Iterator[Outcome]:
    """Checkpoints that are here, then those that are not, while the next of them come."""
    workers = asked.workers
    if workers.count > 1 or not workers.here:
        training_of.cache_clear()  # the model with which the plan was made: others compute now
    if not workers.here:  # of a cluster each worker brings what it needs to where it is
        yield from outcomes(todo, workers)
        return
    away = {job.index: job for job in todo if not asked.run.is_local(job.index)}
    yield from outcomes([job for job in todo if job.index not in away], workers)
    for group in fetched_ahead(list(away), workers.count, fetch, forget, asked.keep, progress):
        for one in group:
            if one.lost:
                lost = f"The checkpoint at {away[one.index].title} is not here: {one.lost}"
                yield Outcome(one.index, {}, lost=lost)
        yield from outcomes([away[one.index] for one in group if not one.lost], workers)


def _delete(run: Checkpoints, commit: str) -> None:
    delete_commit(run.entry.hub_id, commit)
