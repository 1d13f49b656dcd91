"""What is said of two results side by side: where they differ most, how much was compared, what was not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lens.analysis.compare import largest
from lens.analysis.verdicts import rounding_of, which_differ_from_zero
from lens.arrays import as_tensor
from lens.figures.theme import number
from lens.ui.shared.wording import interval

if TYPE_CHECKING:
    from lens.ui.shared.compare.pairs import Along, Pair

TWO_MODELS = (
    "Two models differ in much at once: what they were trained on, how long, how large they are, how they cut text. A "
    "difference between them says that they differ, not what makes it."
)
TWO_TIMES = (
    "A part that has changed between two checkpoints need not be what changed the model: all its inputs were trained "
    "meanwhile as well."
)
TWO_TEXTS = (
    "Two texts differ in more than the words you changed: every later token was read after other ones. One pair of "
    "texts shows one difference; another pair may show the opposite."
)
SAME = "This is the same model and prompt: the difference is 0 by definition."
NOT_READ = "What is compared here does not depend on a prompt, so that the second prompt is left out."
SAME_RUN_ONLY = (
    "Both have the same shape, but were trained apart: a head of one and the head of the same number in the other are "
    "not the same head."
)

NAMED = 6  # numbers of a list that are named


def notice(pair: Pair, names: tuple[str, str]) -> str:
    """Where the two differ most, and over how many cells."""
    if pair.kind == "list":
        return _of_a_list(pair, names)
    numbers, what = pair.numbers, pair.quantity.name
    known = ~np.isnan(numbers.difference)
    n, cells = int(known.sum()), _cells(pair)
    if not n:
        return f"{what[:1].upper()}{what[1:]}: nothing of {names[0]} has a counterpart in {names[1]}."
    cell = largest(numbers.difference)
    if cell is None:
        return f"{what[:1].upper()}{what[1:]}: no difference in any of {n} {cells}."
    unit = "" if pair.quantity.unit in ("", "probability") else f" {pair.quantity.unit}"
    first, second, change = (number(of[cell]) for of in (numbers.first, numbers.second, numbers.difference))
    sign = "+" if numbers.difference[cell] > 0 else ""
    mean = number(float(np.abs(numbers.difference[known]).mean()))
    text = (
        f"{what[:1].upper()}{what[1:]} differs most at {pair.name(cell)}: {first} in {names[0]}, {second} in "
        f"{names[1]} ({sign}{change}{unit}){_ends(pair, cell)}. The mean size of the difference over {n} {cells} is "
        f"{mean}{unit}."
    )
    return f"{text} {verdict(pair)}".strip()


def _ends(pair: Pair, cell: tuple[int, ...]) -> str:
    """The interval of one cell's difference; "" where there is none."""
    of = pair.estimate
    return "" if of is None or of.low is None else interval(float(of.low[cell]), float(of.high[cell]))


def verdict(pair: Pair) -> str:
    """For how many cells the sample tells the two apart; "" where it cannot tell of any."""
    where = _differ(pair)
    if where is None:
        return ""
    n, total = int(where.sum()), int(np.isfinite(np.asarray(pair.estimate.low)).sum())
    return f"The interval of the difference leaves out 0 for {n or 'none'} of {total} {_cells(pair)}."


def _differ(pair: Pair) -> np.ndarray | None:
    if pair.estimate is None:
        return None
    where = which_differ_from_zero(pair.estimate, rounding_of(*map(as_tensor, pair.numbers)))
    return None if where is None else np.asarray(where)


def _of_a_list(pair: Pair, names: tuple[str, str]) -> str:
    """Which of numbers in different units the sample tells apart: no size of a difference holds for all of them."""
    n, where = pair.numbers.first.size, _differ(pair)
    if not n:
        return f"Nothing of {names[0]} has a counterpart in {names[1]}."
    if where is None:
        said = _beside(pair, range(min(n, NAMED)))
        none = f"{n} numbers are compared; none of their differences has an interval."
        return f"{none} {names[0]} | {names[1]}: {said}{_and_more(n)}."
    sure = np.abs(pair.numbers.difference) / np.asarray(pair.estimate.high - pair.estimate.low, float)
    best = [place for place in np.argsort(-np.nan_to_num(sure), kind="stable") if where[place]]
    said = _beside(pair, best[:NAMED])
    listed = f" Surest ({names[0]} | {names[1]}): {said}{_and_more(len(best))}." if said else ""
    return f"{n} numbers are compared. {verdict(pair).removesuffix('.')} that have one.{listed}"


def _beside(pair: Pair, places: Sequence[int]) -> str:
    """Some numbers of a list by name: first | second."""
    labels, (first, second) = pair.axes[0].labels, pair.numbers
    return "; ".join(
        f"{labels[at]} {' | '.join(pair.written(at, float(of[at])) for of in (first, second))}" for at in places
    )


def _and_more(n: int) -> str:
    return f"; and {n - NAMED} more" if n > NAMED else ""


def left_out(pair: Pair, names: tuple[str, str]) -> str:
    """What was not compared, counted on both sides; "" where everything was."""
    return " ".join(filter(None, dict.fromkeys(_left_out(axis, names) for axis in pair.axes)))


def _left_out(axis: Along, names: tuple[str, str]) -> str:
    match, parts = axis.match, []
    counts = [n - axis.not_drawn for n in match.left_out]
    for missing, n, name in zip(counts, (match.n_first, match.n_second), names):
        if missing:
            parts.append(f"{missing} of {n} {axis.things} of {name}")
    has, is_ = ("have", "are") if sum(counts) > 1 else ("has", "is")
    text = f"{' and '.join(parts)} {has} no counterpart and {is_} left out." if parts else ""
    if axis.not_drawn:
        kept = f"The {axis.drawn} {len(axis.labels)} {axis.things} that both have are compared"
        text += f" {kept}, {axis.not_drawn} are not."
    return text.strip()


def _cells(pair: Pair) -> str:
    if pair.kind == "heads":
        return "heads"
    return {"edges": "pairs of heads", "bars": "parts", "strip": "tokens", "list": "numbers"}.get(pair.kind, "cells")
