"""Every head against every instrument: one table, the heads that meet a condition on it, and heads that are alike.

All functions take scores with tensors or with numpy arrays. Where a head has no number it is NaN.
"""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from lens.analysis.names import Head
from lens.analysis.score_results import HeadScore
from lens.analysis.score_summary import ranks

LONGEST = 300  # characters of a condition
LEVEL = 0.05  # of one instrument: how often the best of all heads exceeds its chance when no head does what it measures
UNRELATED = 1 / 3  # mean distance of two places that have nothing to do with each other
OPERATIONS: dict[type, Callable] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
GRAMMAR = "write names of instruments, layer, head, numbers, + - * /, < <= > >= == !=, and, or, not, abs(…), beyond(…)"


class Column(NamedTuple):
    """One instrument of all heads."""

    value: Float[np.ndarray, "layer head"]
    above: Bool[np.ndarray, "layer head"] | None  # beyond what chance gives the best of all heads; None: no verdict
    place: Float[np.ndarray, "layer head"]  # share of the other heads that it stands out from; 1: most of all


class Profiles(NamedTuple):
    """Some heads beside each other, as ``lens.figures.profiles`` draws them."""

    place: Float[np.ndarray, "head instrument"]
    value: Float[np.ndarray, "head instrument"]
    above: Bool[np.ndarray, "head instrument"]  # False also where there is no verdict


class Alike(NamedTuple):
    """A head beside another: the mean distance of their places, over the instruments that give both a number."""

    head: Head
    distance: float  # 0: the same place in every instrument
    n: int


class Beyond(NamedTuple):
    """How many tests a table holds, and which of them chance does not explain."""

    tests: int  # instruments that give a verdict
    finding: int  # of those, how many find any head
    by_chance: float  # how many would, on average, if no head did any of it
    most: Head | None  # the head that is beyond chance in most of them; None where none is
    names: tuple[str, ...]  # in these


def columns_of(scores: Mapping[str, HeadScore]) -> dict[str, Column]:
    """A column for each score, by name. ValueError for scores of different models."""
    shapes = {name: np.shape(score.score.mean) for name, score in scores.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"columns_of: scores of different shapes, {shapes}; measure all in one model.")
    return {name: _column(score) for name, score in scores.items()}


def _column(score: HeadScore) -> Column:
    placed = ranks(score).astype(np.float64)
    total = int((placed > 0).sum())
    place = np.where(placed > 0, (total - placed) / max(1, total - 1), np.nan)
    above = None if score.above is None else np.asarray(score.above)
    return Column(np.asarray(score.score.mean, np.float64), above, place)


def profiles_of(table: Mapping[str, Column], heads: Sequence[Head]) -> Profiles:
    """Some heads in all instruments."""
    columns = table.values()
    return Profiles(
        np.array([[column.place[head] for column in columns] for head in heads]),
        np.array([[column.value[head] for column in columns] for head in heads]),
        np.array([[column.above is not None and bool(column.above[head]) for column in columns] for head in heads]),
    )


def beyond_chance(table: Mapping[str, Column]) -> Beyond:
    """The tests of a table, counted: each finds some head in ``LEVEL`` of cases where there is nothing to find."""
    tested = {name: column.above for name, column in table.items() if column.above is not None}
    finding = [name for name, above in tested.items() if above.any()]
    if not finding:
        return Beyond(len(tested), 0, LEVEL * len(tested), None, ())
    counts = sum(tested[name].astype(int) for name in finding)
    most = Head(*map(int, np.unravel_index(counts.argmax(), counts.shape)))
    names = tuple(name for name in finding if tested[name][most])
    return Beyond(len(tested), len(finding), LEVEL * len(tested), most, names)


def alike(table: Mapping[str, Column], head: Head) -> list[Alike]:
    """All other heads, the most alike first: by the mean distance of places in all instruments.

    Places, not values, so that units do not matter. Two heads that have nothing to do with each other are ``UNRELATED``
    apart on average; instruments that measure nearly the same count twice. Heads without a common instrument are left
    out. KeyError for a head that the model does not have.
    """
    if not table:
        return []
    places = np.stack([column.place for column in table.values()])
    if not all(0 <= index < size for index, size in zip(head, places.shape[1:])):
        raise KeyError(f"alike: no head {head}; the table has {places.shape[1]} layers of {places.shape[2]} heads.")
    apart = np.abs(places - places[(slice(None), *head)][:, None, None])
    n = np.isfinite(apart).sum(0)
    mean = np.where(n > 0, np.nansum(apart, 0) / np.maximum(n, 1), np.inf)
    order = np.argsort(mean, axis=None, kind="stable")
    others = [Head(*map(int, np.unravel_index(at, mean.shape))) for at in order]
    return [Alike(one, float(mean[one]), int(n[one])) for one in others if one != tuple(head) and n[one]]


def matching(table: Mapping[str, Column], condition: str) -> Bool[np.ndarray, "layer head"]:
    """True for the heads that meet ``condition``, such as ``induction > 0.3 and (ov_copying < 0 or beyond(previous))``.

    A name is that instrument's number, ``layer`` and ``head`` are indices from 0, ``beyond(name)`` is whether the head
    is beyond chance in it, ``abs`` the size. A head matches only if it has every number that is named. Nothing else of
    Python is understood, and nothing of it is run. ValueError says what is wrong, and where.
    """
    if not table:
        raise ValueError(f"condition {condition!r}: the table has no column yet.")
    if len(condition) > LONGEST:
        raise ValueError(f"condition of {len(condition)} characters; at most {LONGEST}.")
    try:
        tree = ast.parse(condition.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"condition {condition!r} cannot be read: {GRAMMAR}.") from error
    reader = _Reader(table, condition)
    with np.errstate(all="ignore"):
        values = reader.read(tree)
    if values.dtype != bool:
        raise ValueError(f"condition {condition!r} is a number; compare it with another one, as in {condition} > 0.3.")
    return values & reader.known


class _Reader:
    """Reads one condition, piece by piece."""

    def __init__(self, table: Mapping[str, Column], condition: str):
        self.table, self.condition = table, condition
        self.shape = next(iter(table.values())).value.shape
        self.known = np.ones(self.shape, bool)  # heads that have every number so far

    def read(self, node: ast.AST) -> np.ndarray:
        """The numbers, or the truth, of a piece. [layer, head]"""
        match node:
            case ast.BoolOp(op=op, values=values):
                join = np.logical_and if isinstance(op, ast.And) else np.logical_or
                return join.reduce([self._truth(value) for value in values])
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ~self._truth(operand)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._number(operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATIONS:
                return OPERATIONS[type(op)](self._number(left), self._number(right))
            case ast.Compare(left=left, ops=ops, comparators=rest) if all(type(op) in OPERATIONS for op in ops):
                sides = [self._number(side) for side in (left, *rest)]
                return np.logical_and.reduce([OPERATIONS[type(op)](*pair) for op, pair in zip(ops, pairwise(sides))])
            case ast.Call(func=ast.Name(id="abs"), args=[inner], keywords=[]):
                return np.abs(self._number(inner))
            case ast.Call(func=ast.Name(id="beyond"), args=[ast.Name(id=name)], keywords=[]):
                return self._beyond(name)
            case ast.Name(id=name):
                return self._named(name)
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return np.full(self.shape, float(value) if abs(value) < 1e300 else np.inf)
        piece = ast.get_source_segment(self.condition.strip(), node) or self.condition
        raise ValueError(f"condition {self.condition!r}: {piece!r} is not understood; {GRAMMAR}.")

    def _number(self, node: ast.AST) -> np.ndarray:
        return self._is(node, number=True)

    def _truth(self, node: ast.AST) -> np.ndarray:
        return self._is(node, number=False)

    def _is(self, node: ast.AST, number: bool) -> np.ndarray:
        values = self.read(node)
        if (values.dtype == bool) is number:
            piece = ast.get_source_segment(self.condition.strip(), node) or self.condition
            wanted = "a number" if number else "a comparison, as in induction > 0.3"
            raise ValueError(f"condition {self.condition!r}: {piece!r} stands where {wanted} is wanted.")
        return values

    def _named(self, name: str) -> np.ndarray:
        if name in ("layer", "head"):
            return np.indices(self.shape)[("layer", "head").index(name)].astype(np.float64)
        values = self._column(name).value
        self.known &= np.isfinite(values)
        return values

    def _beyond(self, name: str) -> np.ndarray:
        column = self._column(name)
        if column.above is None:
            raise ValueError(
                f"condition {self.condition!r}: {name} gives no verdict here, so nothing is beyond chance."
            )
        self.known &= np.isfinite(column.value)
        return column.above

    def _column(self, name: str) -> Column:
        if name not in self.table:
            names = ", ".join(self.table)
            raise ValueError(f"condition {self.condition!r}: there is no column {name!r}; there are {names}.")
        return self.table[name]
