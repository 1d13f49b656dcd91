"""``python -m lens.selftest``: every instrument on the planted models. Exit code 1 if one of them is wrong."""

import argparse
import sys
from time import perf_counter

DESCRIPTION = "Run every instrument of Lens on models with planted circuits, and compare with what was planted."


def main(arguments: list[str] | None = None) -> int:
    """Print the scorecard; 0 if all rows are as planted, else 1."""
    parser = argparse.ArgumentParser(prog="python -m lens.selftest", description=DESCRIPTION)
    parser.add_argument("--sequences", type=int, default=16, help="random sequences of each length (default: 16)")
    parser.add_argument("--seed", type=int, default=0, help="of the random tokens (default: 0)")
    chosen = parser.parse_args(arguments)
    if chosen.sequences < 1:
        parser.error(f"--sequences {chosen.sequences}: at least 1 is needed, 16 for intervals")
    start = perf_counter()
    import torch

    from lens.analysis.selftest import card, run

    torch.set_num_threads(1)  # the models are small: more threads only wait for each other
    rows = run(n_seqs=chosen.sequences, seed=chosen.seed)
    print(card.table(rows))  # noqa: T201 - a command line
    print(f"\n{card.summary(rows)} {perf_counter() - start:.1f} s.")  # noqa: T201
    return int(any(not row.ok for row in rows))


if __name__ == "__main__":
    sys.exit(main())
