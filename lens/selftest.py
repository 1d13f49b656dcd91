"""``python -m lens.selftest``: every instrument on the planted models. Exit code 1 if one of them is wrong."""

import argparse
import sys
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lens.analysis.selftest.result import Row

DESCRIPTION = "Run every instrument of Lens on models with planted circuits, and compare with what was planted."


def main(arguments: list[str] | None = None) -> int:
    """Print the scorecard; 0 if all rows are as planted, else 1."""
    parser = argparse.ArgumentParser(prog="python -m lens.selftest", description=DESCRIPTION)
    parser.add_argument("--sequences", type=int, default=16, help="random sequences of each length (default: 16)")
    parser.add_argument("--seed", type=int, default=0, help="of the random tokens (default: 0)")
    parser.add_argument("--models", nargs="+", metavar="NAME", help="planted models (default: all of them)")
    chosen = parser.parse_args(arguments)
    start = perf_counter()
    import torch

    from lens.analysis.selftest import run
    from lens.analysis.verdicts import too_few
    from lens.planted.plants import NAMES

    if too_few(chosen.sequences):
        parser.error(f"--sequences {chosen.sequences}: {too_few(chosen.sequences)}")

    models = chosen.models or list(NAMES)
    if unknown := [name for name in models if name not in NAMES]:
        parser.error(f"--models {' '.join(unknown)}: no planted model; give some of {', '.join(NAMES)}")

    torch.set_num_threads(1)  # the models are small: more threads only wait for each other
    rows = run(models, n_seqs=chosen.sequences, seed=chosen.seed)
    return report(rows, perf_counter() - start)


def report(rows: "Sequence[Row]", seconds: float) -> int:
    """Print the rows and what they say as a whole; the exit code."""
    from lens.analysis.selftest import card

    print(f"{card.table(rows)}\n\n{card.summary(rows)}\n{seconds:.1f} s.")  # noqa: T201 - a command line
    return int(any(not row.ok for row in rows))


if __name__ == "__main__":
    sys.exit(main())
