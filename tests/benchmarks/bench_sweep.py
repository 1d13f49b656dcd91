"""Two local workers against one in a sweep, each with an empty store: python -m tests.benchmarks.bench_sweep [log:12]

Beside the clock on the wall, which on a busy machine says what the others did, the processor time: that of one process
against that of the busier of two workers, with their start and without. That is the ratio on two idle cores.
"""

import os
import sys
import tempfile
import time

import psutil

from lens.analysis.instruments.registry import INSTRUMENTS
from lens.sweeps.sweep import sweep

MODEL = "lens-3l"
NAMES = [one.name for one in INSTRUMENTS]


def worker_seconds() -> list[float]:
    """Processor seconds of each worker so far; they stay after a sweep."""
    children = psutil.Process().children()
    times = [child.cpu_times() for child in children if "loky" in " ".join(child.cmdline())]
    return sorted((one.user + one.system for one in times), reverse=True)[:2]


def measured(workers: int, which: str) -> tuple[float, float]:
    """Wall and processor seconds of one sweep of every instrument, nothing of it kept before."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LENS_CACHE"] = folder
        wall, cpu = time.perf_counter(), time.process_time()
        made = sweep(MODEL, NAMES, which, workers=workers)
        assert not made.lost, made.lost
        return time.perf_counter() - wall, time.process_time() - cpu


def main(which: str = "log:12") -> None:
    print(f"{MODEL}, {which}, {len(NAMES)} instruments; {os.cpu_count()} cores; load {os.getloadavg()[0]:.1f}")
    measured(1, "last")  # imports
    wall, cpu = measured(1, which)
    print(f"one process: {wall:.1f} s on the wall, {cpu:.1f} s of processor")
    two_wall, parent = measured(2, which)
    busier, other = worker_seconds()
    print(
        f"two workers: {two_wall:.1f} s on the wall, {busier:.1f} and {other:.1f} s of processor, {parent:.1f} s here"
    )
    print(f"ratio: {wall / two_wall:.2f} on the wall, {cpu / (parent + busier):.2f} of processor; {load()}")


def load() -> str:
    return f"load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main(*sys.argv[1:])
