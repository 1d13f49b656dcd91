"""How far a load or an analysis is: one kind of function that hears of it, and its parts."""

import sys
from collections.abc import Callable

Progress = Callable[[float, str], None]  # fraction done, 0 … 1, and what is being done; raising ends the work


def silent(fraction: float, stage: str) -> None:
    """Progress that nobody watches."""


def printed(fraction: float, stage: str) -> None:
    """Progress on one line of a terminal, beside what a command prints."""
    print(f"\r{fraction:4.0%} {stage:<70.70}", end="", file=sys.stderr, flush=True)  # noqa: T201 - a command line


def part(progress: Progress, start: float, end: float) -> Progress:
    """Progress of one stage that fills the stretch ``start`` … ``end`` of the whole, both 0 … 1."""
    return lambda fraction, stage: progress(start + (end - start) * fraction, stage)
