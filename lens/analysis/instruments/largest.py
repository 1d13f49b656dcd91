"""Largest look: how sharply a query looks at one key, the first token aside."""

from typing import TYPE_CHECKING

from lens.analysis.instruments.instrument import COMPARED, PATTERN_SAMPLES, Instrument, Needs, OfPattern

if TYPE_CHECKING:
    from torch import Tensor

    from lens.analysis.instruments.layout import Layout, Pattern


def _value(pattern: "Pattern", at: "Layout") -> "Tensor":
    there = pattern.values * at.inner[:, None].to(pattern.values.dtype)
    return at.average(there.amax(-1))


LARGEST = Instrument(
    name="largest",
    title="Largest look",
    unit="probability",
    link="attends",
    definition="Largest attention of a query to any one key, the first token left out, mean over q ≥ 1.",
    null=COMPARED,
    source="",
    formula=r"S_h = \operatorname{mean}_{q \ge 1}\, \max_{1 \le k \le q} A_h[q,k]",
    misreading="A sharp look is not importance: a head that always looks at the token before has nearly 1 and may "
    "write nothing. And a head that rests on the first token has little here, however sharp its other attention.",
    needs=Needs(PATTERN_SAMPLES),
    tested=False,
    pattern=OfPattern(value=_value),
)
