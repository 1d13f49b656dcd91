"""Sink rate: how often the first token takes much of a query's attention."""

from typing import TYPE_CHECKING

from lens.analysis.instruments.first import RESTING
from lens.analysis.instruments.instrument import COMPARED, PATTERN_SAMPLES, Instrument, Needs, OfPattern

if TYPE_CHECKING:
    from torch import Tensor

    from lens.analysis.instruments.layout import Layout, Pattern

MUCH = 0.3  # of a query's attention


def _value(pattern: "Pattern", at: "Layout") -> "Tensor":
    return at.average((pattern.to_first(at) > MUCH).to(pattern.values.dtype))


SINK = Instrument(
    name="sink",
    title="Sink rate",
    unit="share of queries",
    link="attends",
    definition=f"Share of the queries q ≥ 1 whose attention to position 0 exceeds {MUCH:g}.",
    null=COMPARED,
    source="Gu et al. 2024",
    formula=rf"S_h = \operatorname{{mean}}_{{q \ge 1}}\, \big[ A_h[q,\, 0] > {MUCH:g} \big]",
    misreading=f"{RESTING} The share depends on where the line is drawn: a head with {MUCH - 0.01:.2f} everywhere has "
    f"0, one with {MUCH + 0.01:.2f} has 1.",
    needs=Needs(PATTERN_SAMPLES),
    tested=False,
    pattern=OfPattern(value=_value),
)
