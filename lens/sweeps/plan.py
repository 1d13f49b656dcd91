"""What a sweep takes before it begins: time, disk, memory and download, as far as they can be known."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from lens.analysis.checkpoint import SPEED, Setting, measured_together
from lens.analysis.counts import counted, size
from lens.analysis.training_run import Shape, TrainingRun
from lens.load import hub
from lens.load.checkpoints import Checkpoints
from lens.load.digests import cache_root
from lens.load.download import time_left
from lens.load.files import wanted
from lens.load.ram import machine_memory

READ = 3e8  # bytes a second of weights that are read and hashed
BYTES = 4  # of a number
Sizes = Callable[[Checkpoints, int], int]  # bytes that one checkpoint is to download; NoNetwork, ValueError


class Plan(NamedTuple):
    """Bytes and seconds; None for what is not known beforehand."""

    checkpoints: int
    measured: int  # of them on disk, and only read
    workers: int | None  # None: those of a cluster, however many
    seconds: float | None  # None: no checkpoint is here yet whose structure could be read
    results: int | None  # bytes that are kept
    memory: int | None  # of the weights of all workers; those of a cluster are not counted
    away: int  # checkpoints to download
    download: int | None  # bytes of all of them; None: the Hub does not say
    keep: int | None  # of them that are on the disk at any time

    def sentences(self, name: str) -> list[str]:
        """The plan, as it is printed."""
        todo = self.checkpoints - self.measured
        lines = [f"{name}: {counted(self.checkpoints, 'checkpoint')}, {self.measured} of them measured already."]
        if todo:
            lines += [self._time(), self._disk(), *self._memory()]
        if self.away:
            lines.append(self._download())
        return lines

    def _time(self) -> str:
        if self.seconds is None:
            return "Time: not known before the first checkpoint is here."
        workers = "for one worker" if self.workers is None else f"with {counted(self.workers, 'worker')}"
        return f"Time: about {time_left(self.seconds)} {workers}, by a rough estimate."

    def _disk(self) -> str:
        kept = (
            "not known before the first checkpoint is here" if self.results is None else f"about {size(self.results)}"
        )
        return f"Disk: results {kept}; {size(free_bytes(cache_root()))} are free in {cache_root()}."

    def _memory(self) -> list[str]:
        if self.memory is None:
            return []
        free = machine_memory().available
        short = " That is more than there is: take fewer workers." if self.memory > free else ""
        return [f"Memory: {size(self.memory)} for weights; {size(free)} are free.{short}"]

    def _download(self) -> str:
        bytes_each = "of a size that the Hub does not say now"
        if self.download is not None:
            bytes_each = f"about {size(self.download)} in all"
        stay = self.away if self.keep is None else min(self.keep, self.away)
        return f"Download: {counted(self.away, 'checkpoint')}, {bytes_each}; at most {stay} at a time stay on the disk."


def free_bytes(folder: Path) -> int:
    """Free on the disk on which ``folder`` lies or will lie."""
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free


def seconds_of(training: TrainingRun, names: Sequence[str], setting: Setting, curves: bool) -> float:
    """Seconds of one checkpoint for one worker: read it, then what each group of instruments takes, and the curves."""
    shape = training.shape()
    tokens = _curve_tokens(shape, setting) if curves else 0
    operations = 0
    for group in measured_together(names):
        terms = training.terms(group[0], setting)
        tokens, operations = tokens + terms.tokens, operations + terms.operations
    return BYTES * shape.n_params / READ + (2 * shape.n_params * tokens + operations) / SPEED


def _curve_tokens(shape: Shape, setting: Setting) -> int:
    return 2 * setting.seqs * (2 * setting.n + 1) + setting.texts * shape.n_ctx


def result_bytes(shape: Shape, names: Sequence[str], setting: Setting, curves: bool) -> int:
    """Bytes that are kept of one checkpoint."""
    heads = shape.n_layers * shape.n_heads
    numbers = 5 * heads * len(names)
    if curves:
        numbers += 4 * setting.seqs * heads + setting.texts * shape.n_ctx
    return BYTES * numbers + 1000 * (len(names) + 2 * curves)


def hub_bytes(run: Checkpoints, index: int) -> int:
    """Bytes that one checkpoint is to download, asked of the Hub. NoNetwork, or a ValueError, says why it cannot."""
    place = run.at(index).place
    revision, weights = (place, None) if run.where == "revisions" else (None, place)
    sizes = hub.listing(run.entry.hub_id, revision).sizes
    return sum(sizes[name] or 0 for name in wanted(sizes, weights))
