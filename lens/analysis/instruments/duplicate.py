"""Duplicate token: does a head look at an earlier occurrence of the same token?"""

from typing import TYPE_CHECKING

from lens.analysis.instruments.induction import ON_TEXT, OTHERS
from lens.analysis.instruments.instrument import (
    CONTROL,
    FOUND,
    PATTERN_SAMPLES,
    Expected,
    Instrument,
    Needs,
    OfPattern,
    Words,
    by_model,
)

if TYPE_CHECKING:
    from lens.analysis.instruments.layout import Entries, Layout


def _entries(at: "Layout") -> "Entries":
    if at.n:
        return at.entries(at.inner & at.second_copy & (at.distance == at.n))
    return at.against_others(at.earlier & (at.tokens[:, None, :] == at.tokens[:, :, None]))


DUPLICATE = Instrument(
    name="duplicate",
    title="Duplicate token",
    unit="probability",
    link="scores",
    definition="Mean attention from a token of the second copy of n random tokens to its first occurrence, A[q, q−n]; "
    "position 0 is left out as a key.",
    null=CONTROL,
    source="Olsson et al. 2022",
    formula=r"S_h = \frac{1}{n} \sum_{q \in \text{2nd copy}} A_h[q,\, q - n]",
    misreading="Looking at the earlier copy of a token is one step away from induction, which looks at the token after "
    "it. A head that scores on both splits its attention; neither score says that anything is copied.",
    needs=Needs(PATTERN_SAMPLES),
    on_text=Words(
        "Attention to all earlier occurrences of the query's token (position 0 left out), mean over the queries that "
        "have one.",
        OTHERS,
        r"S_h = \operatorname{mean}_q \sum_{k:\, x_k = x_q} A_h[q,\, k], \qquad 1 \le k < q",
        ON_TEXT,
    ),
    cells="its first occurrence",
    habit="look at an earlier occurrence of the same token",
    fooled_by="The planted head scores ½, not 1: it looks at its own position as much as at the earlier one. A low "
    "score need not be a weak match.",
    expected=by_model(*[Expected(FOUND, 0.5)] * 5),
    pattern=OfPattern(entries=_entries, absent="no token repeats"),
)
