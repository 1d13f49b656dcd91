"""One job of a sweep: one checkpoint, its weights opened once, and everything that is asked of it."""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from lens.analysis.checkpoint import Setting
from lens.analysis.training_run import MeasuredInstrument, Shape, TrainingRun
from lens.load.checkpoints import Checkpoints, checkpoint_name

# Whatever a file that is missing, damaged, of another structure or too large makes of a job: that checkpoint is lost.
FAILURES = (OSError, ValueError, KeyError, RuntimeError, MemoryError)


class Job(NamedTuple):
    """What a worker is asked; it is small, and read wherever the worker is."""

    run: Checkpoints
    index: int
    names: tuple[str, ...]  # of instruments
    setting: Setting
    curves: bool  # whether also what the curves of a run are made of: scores and losses on repeats and texts
    marks: Path  # a folder in which a job that has begun leaves its mark until it ends

    @property
    def title(self) -> str:
        """The checkpoint, in words."""
        return checkpoint_name(self.run, self.index)


class Outcome(NamedTuple):
    """What came of one checkpoint."""

    index: int
    measured: Mapping[str, MeasuredInstrument]  # by instrument
    lacks: Mapping[str, str] = {}  # instruments that models of this run cannot have, each with the reason
    lost: str = ""  # why nothing is known of this checkpoint, a sentence
    curves_lost: str = ""  # why there is no point of the curves, a sentence
    weights: str = ""  # a hash of the checkpoint's files; "" where they could not be read
    seconds: float = 0.0
    begun_by: str = ""  # the worker that began this job before, and is gone; "" if none did

    @property
    def reasons(self) -> tuple[str, ...]:
        """What is missing of this checkpoint, each sentence once."""
        each = [self.lost, self.curves_lost, *(one.lost for one in self.measured.values())]
        return tuple(dict.fromkeys(filter(None, each)))


def run_job(job: Job) -> Outcome:
    """Measure one checkpoint, reading what is kept and keeping what is not. A checkpoint that fails is an outcome."""
    start = perf_counter()
    with marked(job) as before:
        try:
            outcome = _measure(job)
        except FAILURES as error:
            training_of.cache_clear()
            outcome = Outcome(job.index, {}, lost=_sentence(job, error))
    return outcome._replace(seconds=perf_counter() - start, begun_by=before)


def is_measured(job: Job) -> bool:
    """Whether everything that a job asks lies on disk; not so for a checkpoint that cannot be read."""
    try:
        training = _training(job)
        if not training.knows(job.index, job.names, job.setting):
            return False
        able = [name for name in job.names if not training.terms(name, job.setting).why_not]
        curves = not job.curves or training.is_kept(job.index, job.setting)
        return curves and all(training.has_instrument(job.index, name, job.setting) for name in able)
    except FAILURES:
        return False


class Structure(NamedTuple):
    """What the models of a run are like, read from a checkpoint that is here."""

    shape: Shape
    able: list[str]  # of the instruments that are asked, those that such models have


def structure_of(job: Job) -> Structure | None:
    """None for a checkpoint that is not here, or cannot be read."""
    if not job.run.is_local(job.index):
        return None
    try:
        training = _training(job)
        able = [name for name in job.names if not training.terms(name, job.setting).why_not]
        return Structure(training.shape(), able)
    except FAILURES:
        return None


@lru_cache(maxsize=1)
def training_of(run: Checkpoints) -> TrainingRun:
    """The run, one for all jobs of a process: its one model takes the weights of each checkpoint in turn."""
    return TrainingRun(run)


def begun_by(job: Job) -> str:
    """The worker that has begun a job and not ended it; "" for none."""
    with suppress(OSError):
        return _mark_of(job).read_text("utf-8")
    return ""


def end(job: Job) -> None:
    """Take away the mark of a job."""
    with suppress(OSError):
        _mark_of(job).unlink(missing_ok=True)


def _mark_of(job: Job) -> Path:
    return job.marks / str(job.index)


def _training(job: Job) -> TrainingRun:
    training = training_of(job.run)
    training.first = job.index  # the others need not be readable, or here
    return training


def _measure(job: Job) -> Outcome:
    training = _training(job)
    training.shape()  # a page that opens the run asks for it first
    lacks = {name: training.terms(name, job.setting).why_not for name in job.names}
    lacks = {name: f"not computed because {why}" for name, why in lacks.items() if why}
    curves_lost = training.measure(job.index, job.setting).lost if job.curves else ""
    measured = training.instruments(job.index, [name for name in job.names if name not in lacks], job.setting)
    return Outcome(job.index, measured, lacks, curves_lost=curves_lost, weights=training.content(job.index))


def _sentence(job: Job, error: BaseException) -> str:
    said = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    lines = said.strip().splitlines() or [type(error).__name__]
    return f"The checkpoint at {job.title}: {lines[0]}"


@contextmanager
def marked(job: Job) -> Iterator[str]:
    """A file that names the worker while a job runs; yields who began it before and left the file."""
    before, mark = begun_by(job), _mark_of(job)
    with suppress(OSError):  # a full disk does not keep a job from its work
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(f"{socket.gethostname()}:{os.getpid()}", "utf-8")
    try:
        yield before
    finally:
        end(job)
