"""Mean distance: how far back a head looks, the first token left out."""

from typing import TYPE_CHECKING

from lens.analysis.instruments.instrument import COMPARED, PATTERN_SAMPLES, Instrument, Needs, OfPattern

if TYPE_CHECKING:
    from torch import Tensor

    from lens.analysis.instruments.layout import Layout, Pattern


def _value(pattern: "Pattern", at: "Layout") -> "Tensor":
    there = pattern.values * at.inner[:, None].to(pattern.values.dtype)
    far = (there * at.distance[:, None].to(there.dtype)).sum((-2, -1))
    return far / there.sum((-2, -1)).clamp(min=1e-30)  # 0 where everything rests on the first token


DISTANCE = Instrument(
    name="distance",
    title="Mean distance",
    unit="tokens",
    link="attends",
    definition="Mean distance q − k of a sequence's attention, the first token left out as a key and each key weighted "
    "with the attention it gets.",
    null=COMPARED,
    source="",
    formula=r"S_h = \frac{\sum_q \sum_{k \ge 1} A_h[q,k]\, (q - k)}{\sum_q \sum_{k \ge 1} A_h[q,k]}",
    misreading="A mean hides its parts: a head that looks at neighbours and, now and then, far back has the same as "
    "one that always looks half as far. And it grows with the length of the sequence: compare heads, not samples.",
    needs=Needs(PATTERN_SAMPLES),
    tested=False,
    pattern=OfPattern(value=_value),
)
