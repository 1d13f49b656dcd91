"""How far a load or an analysis is: one kind of function that hears of it, and its parts."""

from collections.abc import Callable

Progress = Callable[[float, str], None]  # fraction done, 0 … 1, and what is being done; raising ends the work


def silent(fraction: float, stage: str) -> None:
    """Progress that nobody watches."""


def part(progress: Progress, start: float, end: float) -> Progress:
    """Progress of one stage that fills the stretch ``start`` … ``end`` of the whole, both 0 … 1."""
    return lambda fraction, stage: progress(start + (end - start) * fraction, stage)
