"""The instruments on this head beside the same head of another model or checkpoint; of other shapes, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lens.analysis.compare import paired_difference, per_layer
from lens.analysis.instruments.registry import instrument
from lens.analysis.instruments.sample import repeats as repeats_sample
from lens.analysis.score_summary import standing
from lens.analysis.stats import Estimate
from lens.arrays import as_tensor
from lens.ui.calls import analyse
from lens.ui.shared import instruments, repeats, score_words
from lens.ui.shared.compare import pairs
from lens.ui.shared.compare.section import compare
from lens.ui.shared.instrument_list import grouped
from lens.ui.shared.score_board import repeats_python
from lens.ui.store import to_torch

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from lens.analysis.names import Head
    from lens.analysis.score_results import HeadScore
    from lens.hooked import HookedTransformer
    from lens.ui.shared.chain.link import Case
    from lens.ui.shared.compare.pairs import Pair
    from lens.ui.shared.compare.section import Sides
    from lens.ui.view import ViewState

DEFINITION = "Every instrument that is measured above, on head {} of both."
OF_LAYERS = (
    "Head {} has no counterpart in a model of another shape. So of every instrument in the unit of probability the "
    f"largest number of each layer is compared. {pairs.MORE_HEADS}"
)
OTHER_TOKENS = "no interval of the difference: the two read different tokens, or gave no number on some"
OF_LARGEST = "no interval of a difference of two largest numbers: which head is the largest is of chance as well"
PAIRED = "{}; what is measured on something else has none"
CODE = """import numpy as np

from lens.analysis.compare import per_layer
from lens.analysis.instruments.measure import measure_named
{imports}
names = {names}
scores = measure_named(model, names, {samples})
values = np.array([{value} for name in names])"""
OF_HEAD, OF_LAYER = "scores[name].score.mean[{}, {}]", "per_layer(scores[name].score.mean)[:, 0]"


class Measured(NamedTuple):
    """The scores of all heads by instrument, and the repeats that they were measured on."""

    sample: repeats.Sample
    scores: Mapping[str, HeadScore]


def draw(case: Case, place: DeltaGenerator, scores: Mapping[str, HeadScore]) -> None:
    """The section."""
    first, how = Measured(case.sample, scores), (case.model, tuple(scores))
    numbers, seconds = partial(_measured, *how), partial(_seconds, *how)
    pairs_of = partial(_pairs, case.head)
    compare(case.view, case.model, place, first, numbers, pairs_of, reads_prompt=False, seconds=seconds)


def _further(first: HookedTransformer, names: tuple[str, ...], model: HookedTransformer) -> list[str]:
    """What repeats alone do not give: of a model of another shape no head is compared, so nothing."""
    same = (first.cfg.n_layers, first.cfg.n_heads) == (model.cfg.n_layers, model.cfg.n_heads)
    possible = [name for name in names if not instrument(name).needs.lacks_in(model)]
    return [name for name in possible if same and instrument(name).pattern is None]


def _seconds(first: HookedTransformer, names: tuple[str, ...], view: ViewState, model: HookedTransformer) -> float:
    """Without the repeats, which ask by themselves."""
    chosen = repeats.settings(view, model)
    samples = [repeats_sample(to_torch(repeats.tokens(model, chosen)))]
    later = [instrument(name) for name in _further(first, names, model)]
    waits = [instruments.seconds(model, of, samples) for of in later if not instruments.is_measured(model, of, samples)]
    return sum(waits)


def _measured(first: HookedTransformer, names: tuple[str, ...], view: ViewState, model: HookedTransformer) -> Measured:
    """The same instruments of the second side."""
    sample = repeats.sample(model, repeats.settings(view, model))
    samples, scores = [repeats_sample(to_torch(sample.repeated))], dict(sample.scores.scores)
    for name in _further(first, names, model):
        scores |= instruments.measured(model, instrument(name), samples).scores
    return Measured(sample, scores)


def _pairs(head: Head, sides: Sides, first: Measured, second: Measured) -> list[Pair]:
    both = (first, second)
    if not sides.same_shape:
        return [_by_layer(head, both)]
    names = [_names(head, side) for side in both]
    codes = _codes(both, names, OF_HEAD.format(*head))
    quantity = pairs.Quantity("instrument", "", DEFINITION.format(head), *codes)
    numbers = ({instrument(of).title: _number(side.scores[of], head) for of in some} for side, some in zip(both, names))
    difference = _difference(head, names, both)
    note = OTHER_TOKENS if difference is None else PAIRED.format(difference.note)
    return [pairs.listed(quantity, *numbers, note=note, estimate=difference, by_number=True)]


def _names(head: Head, side: Measured) -> list[str]:
    """The instruments that have a number of the head, links in their order."""
    scores = side.scores
    return [of.name for of in grouped() if of.name in scores and np.isfinite(scores[of.name].score.mean[head])]


def _number(score: HeadScore, head: Head) -> pairs.Number:
    facts = standing(score, head)
    return pairs.Number(facts.value, score.kind.unit, score_words.interval(facts).strip())


def _difference(head: Head, names: list[list[str]], both: tuple[Measured, Measured]) -> Estimate | None:
    """Of the first side's numbers, those that both have of each of the same sequences; NaN for the others.

    None where there are none.
    """
    if not np.array_equal(*(side.sample.repeated.tokens for side in both)):
        return None
    rows, n = {}, both[0].sample.settings.seqs
    for place, name in enumerate(names[0]):
        if name in names[1] and "repeats" in instrument(name).needs.samples:
            values = [np.asarray(side.scores[name].per_sequence)[:, *head] for side in both]
            if all(len(of) == n > 1 and np.isfinite(of).all() for of in values):
                rows[place] = values
    if not rows:
        return None
    of = analyse(paired_difference, *(as_tensor(np.stack(values, 1)) for values in zip(*rows.values())))
    ends = [None if values is None else np.full(len(names[0]), np.nan) for values in of[:3]]
    for values, some in zip(ends, of[:3]):
        if values is not None:
            values[list(rows)] = some
    return Estimate(*ends, of.n, of.note)


def _by_layer(head: Head, both: tuple[Measured, Measured]) -> Pair:
    """The largest of each layer by instrument."""
    names = [name for name, score in both[0].sample.scores.scores.items() if score.kind.unit == "probability"]
    names = [name for name in names if name in both[1].scores]
    tables = [np.stack([per_layer(side.scores[name].score.mean)[:, 0] for name in names], 1) for side in both]
    codes = (f"{code}.T" for code in _codes(both, [names, names], OF_LAYER))
    quantity = pairs.Quantity("largest of a layer", "probability", OF_LAYERS.format(head), *codes)
    rows, columns = pairs.layers(*map(len, tables)), pairs.each("instrument", [instrument(of).title for of in names])
    return pairs.table(quantity, *tables, rows, columns, note=OF_LARGEST)


def _codes(both: tuple[Measured, Measured], names: list[list[str]], value: str) -> list[str]:
    pythons = (repeats_python(side.sample.settings)._asdict() for side in both)
    return [CODE.format(names=some, value=value, **python) for some, python in zip(names, pythons)]
