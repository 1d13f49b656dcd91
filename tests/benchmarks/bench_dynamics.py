"""Seconds for all curves of all shipped models, cold and from disk: python -m tests.benchmarks.bench_dynamics"""

import os
import tempfile
import time

import torch

from lens.analysis.dynamics import dynamics
from lens.analysis.training_run import TrainingRun
from lens.load.catalogue import entries
from lens.load.checkpoints import checkpoints
from lens.load.files import CONFIG


def curves(names: list[str]) -> tuple[float, float, int]:
    """Wall seconds, processor seconds and checkpoints of one pass over all runs, each opened anew."""
    wall, cpu, count = time.perf_counter(), time.process_time(), 0
    for name in names:
        count += len(dynamics(TrainingRun(checkpoints(name))).indices)
    return time.perf_counter() - wall, time.process_time() - cpu, count


def main() -> None:
    names = [entry.alias for entry in entries() if entry.shipped and (entry.path / CONFIG).is_file()]
    print(f"{', '.join(names)}; {torch.get_num_threads()} threads; load {os.getloadavg()[0]:.1f}")
    print(f"{'':>10} {'wall s':>8} {'cpu s':>8} {'checkpoints':>12}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LENS_CACHE"] = folder
        for what in ("cold", "from disk"):
            wall, cpu, count = curves(names)
            print(f"{what:>10} {wall:8.2f} {cpu:8.2f} {count:12d}")


if __name__ == "__main__":
    main()
