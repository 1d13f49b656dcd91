"""Measured scores as rows, one for each head and instrument: for tables and files."""

from typing import Any

from torch import Tensor

from lens.analysis.names import Head
from lens.analysis.score_results import HeadScore, HeadScores
from lens.analysis.score_summary import ranks


def rows(scores: HeadScores) -> list[dict[str, Any]]:
    """Every number of every head with its interval, null and verdict; None where there is none.

    ``null`` is the mean of what the number is compared with, ``difference`` the number minus it, paired; ``above``:
    whether the head exceeds chance; ``rank``: its place among heads, 1 stands out most.
    """
    found = []
    for name, score in scores.scores.items():
        n_layers, n_heads = score.score.mean.shape
        places = [Head(layer, head) for layer in range(n_layers) for head in range(n_heads)]
        placed = ranks(score)
        found += [_row(name, score, place, int(placed[place])) for place in places]
    return found


def _row(name: str, score: HeadScore, at: Head, rank: int) -> dict[str, Any]:
    return {
        "instrument": name,
        "head": str(at),
        "layer": at.layer,
        "index": at.head,
        "value": _number(score.score.mean, at),
        "low": _number(score.score.low, at),
        "high": _number(score.score.high, at),
        "null": _number(score.null_mean, at),
        "difference": None if score.effect is None else _number(score.effect.mean, at),
        "threshold": score.threshold,
        "above": None if score.above is None else bool(score.above[at]),
        "rank": rank or None,
        "unit": score.kind.unit,
        "n": score.score.n,
    }


def _number(values: Tensor | None, at: Head) -> float | None:
    """None for NaN, too: a head that has no such number."""
    value = None if values is None else float(values[at])
    return value if value is not None and value == value else None
