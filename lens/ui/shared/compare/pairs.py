"""What stands beside what: two arrays of numbers whose cells stand for the same, by kind of result.

    heads(quantity, first, second)                    a number per layer and head
    edges(quantity, first, second)                    a number per pair of heads, an earlier and a later one
    table(quantity, first, second, rows, columns)     any two axes: [row, position], [query, key]
    names(quantity, first, second)                    named parts as bars
    bars(quantity, first, second, along)              the same for layers or rows
    tokens(quantity, first, second, along)            a number per token, on the text
    listed(quantity, first, second, units)            numbers of different units, as a list

Each gives a ``Pair``, which ``draw.py`` draws, ``words.py`` puts into sentences and ``section.py`` gives away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pandas as pd

from lens.analysis.compare import (
    Aligned,
    Match,
    aligned,
    alike,
    between_layers,
    by_depth,
    by_name,
    by_text,
    layer_depths,
    per_layer,
    token_pieces,
)
from lens.figures.theme import number

if TYPE_CHECKING:
    from lens.analysis.stats import Estimate
    from lens.hooked import HookedTransformer
    from lens.ui.models import Prompt

Kind = Literal["heads", "edges", "table", "bars", "strip", "list"]
OF_A_LAYER = ("the largest", "the mean")
ONE_TEXT = "One text: no interval."
BY_TEXT = "Tokens that cover the same text in the same place stand beside each other."
BY_DEPTH = "Beside each layer or row of the deeper model stands the one of the other that is nearest in relative depth."
EXACT = "no interval: the weights alone give both, nothing was sampled"
MOST = 64  # tokens along an axis: a cell has its words in its hover label
BARS = 24  # named parts that are drawn
RANK = "rank from 1"  # the unit of numbers that are whole
MORE_HEADS = "Of more heads the largest is larger by chance alone."


class Quantity(NamedTuple):
    """What the numbers are. ``code``: Python that makes ``values``, an array, of ``model`` and ``tokens``."""

    name: str
    unit: str
    definition: str
    code: str
    second_code: str = ""  # the same for the second side, where its sample is made in another way
    signed: bool = False


class Along(NamedTuple):
    """One axis: what it is called, the labels of the pairs, which items they are, and the Python that matches them."""

    name: str  # "layer"
    labels: Sequence[str]
    match: Match
    things: str  # what is counted where something is left out: "tokens"
    code: str  # an expression of a Match
    not_drawn: int = 0  # pairs that have counterparts and are too many to draw
    how: str = ""  # by what they are matched, a sentence; "" where each stands for the one of its own place
    drawn: str = "first"  # which those are that are drawn, where not all are


class Pair(NamedTuple):
    """Numbers of both, cell by cell. ``note``: the interval of the difference, or why there is none."""

    kind: Kind
    quantity: Quantity
    numbers: Aligned
    axes: tuple[Along, ...]
    note: str = ONE_TEXT
    estimate: Estimate | None = None  # of the difference, with its intervals
    aside: str = ""  # what the match means, where it is not plain
    notes: tuple[Sequence[Sequence[str]], ...] = ()  # of the first and the second: more of each cell, in words
    prepare: str = ""  # Python that changes ``first`` and ``second`` before they are aligned
    upwards: bool = False  # whether the first row is drawn lowest
    by_number: bool = False  # whether heads of one number stand beside each other
    units: tuple[str, ...] = ()  # of each number, where they differ; the notes are then intervals
    given: str = ""  # Python before all else: imports, and what both sides read
    finish: str = ""  # Python after all else, of the ``cell`` that differs most

    def name(self, cell: Sequence[int]) -> str:
        """A cell in words."""
        labels = [axis.labels[place] for axis, place in zip(self.axes, cell)]
        if self.kind == "heads":
            return f"head {'.'.join(labels)}"
        if self.kind == "edges":
            return "{}.{} → {}.{}".format(*labels)
        return labels[0] if len(labels) == 1 else " · ".join(f"{a.name} {b}" for a, b in zip(self.axes, labels))

    def written(self, place: int, value: float) -> str:
        """Number ``place`` of a list, or its difference, for reading."""
        return f"{value:,.0f}".replace("-", "−") if self.units[place] == RANK else number(value)

    def frame(self) -> pd.DataFrame:
        """One row per cell: first, second, difference, with its interval where there is one."""
        places = np.indices(self.numbers.first.shape).reshape(len(self.axes), -1)
        columns = {axis.name: np.array(axis.labels, object)[place] for axis, place in zip(self.axes, places)}
        columns |= {"unit": self.units} if self.units else {}
        columns |= {name: getattr(self.numbers, name).ravel() for name in ("first", "second", "difference")}
        if self.estimate is not None and self.estimate.low is not None:
            columns |= {"low": np.ravel(self.estimate.low), "high": np.ravel(self.estimate.high)}
        rows = pd.DataFrame(columns)
        return rows.dropna(subset=["first", "second"], how="all", ignore_index=True) if self.kind == "edges" else rows


def heads(
    quantity: Quantity,
    first: np.ndarray,
    second: np.ndarray,
    *,
    note: str = ONE_TEXT,
    estimate: Estimate | None = None,
) -> Pair:
    """A number per [layer, head]: head by head where both models have the same shape.

    Heads of models of other shapes have no counterpart: then the largest and the mean of each layer, by relative depth.
    ``estimate``: ``paired_difference``, where both were measured on the same samples.
    """
    if np.shape(first) == np.shape(second):
        n_layers, n_heads = np.shape(first)
        axes = (layers(n_layers, n_layers), each("head", list(map(str, range(n_heads)))))
        numbers = aligned(first, second, [axis.match for axis in axes])
        return Pair("heads", quantity, numbers, axes, note, estimate, by_number=True)
    rows = layers(len(first), len(second))
    columns = Along("of its heads", OF_A_LAYER, alike(len(OF_A_LAYER)), "numbers", f"alike({len(OF_A_LAYER)})")
    numbers = aligned(per_layer(first), per_layer(second), [rows.match, columns.match])
    aside = (
        f"{_shape(first)} beside {_shape(second)}. Heads of models of different shape have no counterpart, so that "
        f"each layer's largest and mean are compared. {MORE_HEADS}"
    )
    prepare = "first, second = per_layer(first), per_layer(second)\n"
    return Pair("table", quantity, numbers, (rows, columns), note, None, aside, prepare=prepare)


def edges(quantity: Quantity, first: np.ndarray, second: np.ndarray, *, note: str = ONE_TEXT) -> Pair:
    """A number per [sender's layer, head, receiver's layer, head]: pair by pair where both models have the same shape.

    Else the largest between each two layers, by relative depth.
    """
    if np.shape(first) == np.shape(second):
        n_layers, n_heads = np.shape(first)[:2]
        names = {"sender's layer": n_layers, "sender": n_heads, "receiver's layer": n_layers, "receiver": n_heads}
        axes = tuple(each(name, list(map(str, range(n)))) for name, n in names.items())
        numbers = aligned(first, second, [axis.match for axis in axes])
        return Pair("edges", quantity, numbers, axes, note, by_number=True)
    axes = [layers(len(first), len(second), f"{side}'s layer") for side in ("sender", "receiver")]
    pair = table(quantity, between_layers(first), between_layers(second), *axes, note=note)
    aside = (
        f"{_shape(first)} beside {_shape(second)}. Heads of models of different shape have no counterpart, so that the "
        f"largest number between each two layers is compared. {MORE_HEADS}"
    )
    return pair._replace(aside=aside, prepare="first, second = between_layers(first), between_layers(second)\n")


def table(
    quantity: Quantity,
    first: np.ndarray,
    second: np.ndarray,
    rows: Along,
    columns: Along,
    *,
    notes: tuple[Sequence[Sequence[str]], ...] = (),
    upwards: bool = False,
    note: str = ONE_TEXT,
    by_number: bool = False,
) -> Pair:
    """A number for every row and column. ``notes``: [row][column] of the first and of the second, for hover labels.

    ``by_number``: whether rows or columns are heads.
    """
    numbers = aligned(first, second, [rows.match, columns.match])
    places = [(rows.match.first, columns.match.first), (rows.match.second, columns.match.second)]
    some = tuple([[of[i][j] for j in at[1]] for i in at[0]] for of, at in zip(notes, places))
    return Pair("table", quantity, numbers, (rows, columns), note, notes=some, upwards=upwards, by_number=by_number)


def names(
    quantity: Quantity,
    first: Mapping[str, float],
    second: Mapping[str, float],
    *,
    note: str = ONE_TEXT,
    estimate: Estimate | None = None,
    most: int = BARS,
    by_number: bool = False,
) -> Pair:
    """A number for each named part, the ``most`` largest; parts that only one of them has are left out.

    ``estimate``: of the difference of all parts of the first, where the second has the same. ``by_number``: whether
    some parts are heads.
    """
    keys, values = [list(first), list(second)], [np.array(list(of.values()), float) for of in (first, second)]
    every = by_name(*keys)
    match, code = every, f"alike({len(keys[0])})" if keys[0] == keys[1] else f"by_name({keys[0]!r}, {keys[1]!r})"
    if len(every.first) > most:
        match, code = every.largest(*values, most), f"{code}.largest(first, second, {most})"
    labels, rest = [keys[0][place] for place in match.first], len(every.first) - len(match.first)
    along = Along("part", labels, match, "parts", code, rest, drawn="largest")
    some = None if estimate is None else _at(estimate, match.first)
    return Pair("bars", quantity, aligned(*values, [match]), (along,), note, some, by_number=by_number)


def bars(
    quantity: Quantity,
    first: np.ndarray,
    second: np.ndarray,
    along: Along,
    *,
    note: str = ONE_TEXT,
    estimate: Estimate | None = None,
) -> Pair:
    """A number for each part of an axis that both have, such as ``rows`` or ``layers``; ``estimate``: pair by pair."""
    return Pair("bars", quantity, aligned(first, second, [along.match]), (along,), note, estimate)


class Number(NamedTuple):
    """One of several numbers in different units. ``interval``: in words, "" where there is none."""

    value: float
    unit: str
    interval: str = ""


def listed(
    quantity: Quantity,
    first: Mapping[str, Number],
    second: Mapping[str, Number],
    *,
    note: str = ONE_TEXT,
    estimate: Estimate | None = None,
    by_number: bool = False,
) -> Pair:
    """Numbers by name that no scale holds together, under one another with their units; others as in ``names``.

    Where a number has no interval, the ends in ``estimate`` are NaN.
    """
    values = ({name: number.value for name, number in of.items()} for of in (first, second))
    pair = names(quantity, *values, note=note, estimate=estimate, most=len(first), by_number=by_number)
    (along,) = pair.axes
    notes = tuple([[of[name].interval] for name in along.labels] for of in (first, second))
    along = along._replace(name=quantity.name, things="numbers")
    units = tuple(first[name].unit for name in along.labels)
    return pair._replace(kind="list", axes=(along,), notes=notes, units=units)


def tokens(quantity: Quantity, first: np.ndarray, second: np.ndarray, along: Along, *, note: str = ONE_TEXT) -> Pair:
    """A number for each token. ``along``: ``text``."""
    return Pair("strip", quantity, aligned(first, second, [along.match]), (along,), note)


def text(name: str, models: Sequence[HookedTransformer], prompts: Sequence[Prompt], most: int = MOST) -> Along:
    """Tokens of both prompts that cover the same text in the same place, called ``name``: "position", "query".

    The first ``most`` of them.
    """
    pieces = [token_pieces(model, prompt.tokens[0]) for model, prompt in zip(models, prompts)]
    every = by_text(*pieces)
    match = every.head(most)
    labels = [f"{place}: {prompts[0].labels[place]}" for place in match.first]
    lengths = [prompt.tokens.shape[1] for prompt in prompts]
    each = ", ".join(f"token_pieces({of}_model, {of}_tokens[0, :{n}])" for of, n in zip(("first", "second"), lengths))
    code, rest = f"by_text({each}).head({most})", len(every.first) - len(match.first)
    return Along(name, labels, match, "tokens", code, rest, "" if every.is_identity else BY_TEXT)


def places(name: str, labels: Sequence[str], most: int = MOST) -> Along:
    """Places that both sides have alike, such as those of random sequences of one length; ``labels`` of the first."""
    n = len(labels)
    named = [f"{place}: {label}" for place, label in enumerate(labels[:most])]
    return Along(name, named, alike(n).head(most), name + "s", f"alike({n}).head({most})", max(0, n - most))


def layers(n_first: int, n_second: int, name: str = "layer") -> Along:
    """Layers by relative depth, called ``name``: "sender layer"."""
    match = by_depth(layer_depths(n_first), layer_depths(n_second))
    code = f"by_depth(layer_depths({n_first}), layer_depths({n_second}))"
    labels = _both(match, range(n_first), range(n_second))
    return Along(name, labels, match, f"{name}s", code, how="" if match.is_identity else BY_DEPTH)


def rows(name: str, labels: Sequence[Sequence[str]], depths: Sequence[Sequence[float]]) -> Along:
    """Rows of a table by relative depth: labels and depths of the first and of the second, 0 … 1."""
    match = by_depth(*depths)
    written = ", ".join(str([round(float(depth), 9) for depth in of]) for of in depths)
    how = "" if match.is_identity else BY_DEPTH
    return Along(name, _both(match, *labels), match, name + "s", f"by_depth({written})", how=how)


def each(name: str, labels: Sequence[str]) -> Along:
    """Rows or columns that both sides have alike."""
    return Along(name, list(labels), alike(len(labels)), f"{name}s", f"alike({len(labels)})")


def _at(estimate: Estimate, places: np.ndarray) -> Estimate:
    ends = (None if of is None else of[places] for of in (estimate.mean, estimate.low, estimate.high))
    mean, low, high = ends
    return estimate._replace(mean=mean, low=low, high=high)


def _both(match: Match, first: Sequence, second: Sequence) -> list[str]:
    pairs = [(str(first[a]), str(second[b])) for a, b in zip(match.first, match.second)]
    return [a if match.is_identity or (a == b and not a.isdigit()) else f"{a} | {b}" for a, b in pairs]


def _shape(values: np.ndarray) -> str:
    n_layers, n_heads = np.shape(values)[:2]
    return f"{n_layers} layer{'s' * (n_layers > 1)} of {n_heads} heads"
