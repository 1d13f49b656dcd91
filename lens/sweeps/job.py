"""One job of a sweep: one checkpoint, its weights opened once, and everything that is asked of it."""

import logging
import os
import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import torch

from lens.analysis.checkpoint import Setting
from lens.analysis.training_run import MeasuredInstrument, Shape, TrainingRun
from lens.load.checkpoints import Checkpoints, checkpoint_name

LOG = logging.getLogger(__name__)
# What opening a file raises that is missing, damaged, of another structure or too large: that checkpoint is lost.
UNREADABLE = (OSError, ValueError, KeyError, RuntimeError, MemoryError)


class Unreadable(Exception):
    """The files of a checkpoint cannot be opened; the message is the first line of why."""


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
    """Measure one checkpoint, reading what is kept and keeping what is not. A checkpoint that fails is an outcome.

    So is one in which an error of Lens itself ends the work, since the others are to go on: its traceback is logged.
    """
    start = perf_counter()
    with marked(job) as before:
        try:
            outcome = _measure(job)
        except Unreadable as error:
            training_of.cache_clear()
            outcome = Outcome(job.index, {}, lost=f"The checkpoint at {job.title}: {error}")
        except (MemoryError, torch.OutOfMemoryError):
            training_of.cache_clear()
            outcome = Outcome(job.index, {}, lost=f"The checkpoint at {job.title}: too little memory to measure it")
        except Exception as error:
            LOG.exception("The checkpoint at %s: an error in Lens.", job.title)
            training_of.cache_clear()
            lost = f"The checkpoint at {job.title}: an error in Lens ({type(error).__name__}: {_first_line(error)})"
            outcome = Outcome(job.index, {}, lost=f"{lost}; the log has its traceback")
    return outcome._replace(seconds=perf_counter() - start, begun_by=before)


def is_measured(job: Job) -> bool:
    """Whether everything that a job asks lies on disk; not so for a checkpoint that cannot be read."""
    training = _training(job)
    try:
        with opening():
            if not training.knows(job.index, job.names, job.setting):
                return False
            _described(training, job)
    except Unreadable:
        training_of.cache_clear()  # its model may hold a part of the weights
        return False
    return _is_kept(training, job, _lacks(training, job))


def _is_kept(training: TrainingRun, job: Job, lacks: Collection[str]) -> bool:
    curves = not job.curves or training.is_kept(job.index, job.setting)
    able = [name for name in job.names if name not in lacks]
    return curves and all(training.has_instrument(job.index, name, job.setting) for name in able)


class Structure(NamedTuple):
    """What the models of a run are like, read from a checkpoint that is here."""

    shape: Shape
    able: list[str]  # of the instruments that are asked, those that such models have


def structure_of(job: Job) -> Structure | None:
    """None for a checkpoint that is not here, or cannot be read."""
    if not job.run.is_local(job.index):
        return None
    training = _training(job)
    try:
        with opening():
            shape = _described(training, job)
    except Unreadable:
        training_of.cache_clear()  # its model may hold a part of the weights
        return None
    lacks = _lacks(training, job)
    return Structure(shape, [name for name in job.names if name not in lacks])


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
    with opening():
        _described(training, job)
    why_not = _lacks(training, job)
    if not _is_kept(training, job, why_not):
        with opening():
            training.open(job.index)
    able = [name for name in job.names if name not in why_not]
    lacks = {name: f"not computed because {why}" for name, why in why_not.items()}
    curves_lost = training.measure(job.index, job.setting).lost if job.curves else ""
    measured = training.instruments(job.index, able, job.setting)
    return Outcome(job.index, measured, lacks, curves_lost=curves_lost, weights=training.content(job.index))


def _described(training: TrainingRun, job: Job) -> Shape:
    """What the run is like, its files read as far as no result on disk says it; the setting, too, must fit."""
    training.content(job.index)
    shape = training.shape()
    training.inputs(job.setting)
    if not training.has_terms(job.names, job.setting):
        training.open(job.index)
    return shape


def _lacks(training: TrainingRun, job: Job) -> dict[str, str]:
    """Instruments that the models of the run cannot have, each with the reason, as a half sentence."""
    why_not = {name: training.terms(name, job.setting).why_not for name in job.names}
    return {name: why for name, why in why_not.items() if why}


@contextmanager
def opening() -> Iterator[None]:
    """Around what reads the files of a checkpoint, and nothing that is computed from its weights."""
    try:
        yield
    except UNREADABLE as error:
        raise Unreadable(_first_line(error)) from error


def _first_line(error: BaseException) -> str:
    said = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    lines = said.strip().splitlines() or [type(error).__name__]
    return lines[0]


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
