"""Telling the caller how far a load is."""

from collections.abc import Callable

Progress = Callable[[float, str], None]  # fraction done, 0 … 1, and what is being done


def silent(fraction: float, stage: str) -> None:
    """Progress that nobody watches."""


def part(progress: Progress, start: float, end: float) -> Progress:
    """Progress of one stage that fills the stretch ``start`` … ``end`` of the whole."""
    return lambda fraction, stage: progress(start + (end - start) * fraction, stage)
