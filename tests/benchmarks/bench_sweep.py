"""Two local workers against one in a sweep, each with an empty store: python -m tests.benchmarks.bench_sweep"""

import os
import sys
import tempfile
import time

from lens.analysis.instruments.registry import INSTRUMENTS
from lens.sweeps.sweep import sweep

MODEL = "lens-3l"


def seconds(workers: int, which: str) -> float:
    """Wall seconds of one sweep of every instrument, nothing of it kept before."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LENS_CACHE"] = folder
        start = time.perf_counter()
        made = sweep(MODEL, [one.name for one in INSTRUMENTS], which, workers=workers)
        assert not made.lost, made.lost
        return time.perf_counter() - start


def main(which: str = "log:12") -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(f"{MODEL}, {which}, {len(INSTRUMENTS)} instruments; {os.cpu_count()} cores; load {os.getloadavg()[0]:.1f}")
    seconds(1, "last")  # imports
    one, cold = seconds(1, which), seconds(2, which)
    warm = seconds(2, which)
    print(f"one worker {one:.1f} s; two {cold:.1f} s with their start, ratio {one / cold:.2f}")
    print(f"two that have started {warm:.1f} s, ratio {one / warm:.2f}; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
