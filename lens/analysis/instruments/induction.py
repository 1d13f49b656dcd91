"""Induction: does a head look at the token after an earlier occurrence?"""

from typing import TYPE_CHECKING

from lens.analysis.instruments.instrument import (
    CONTROL,
    FOUND,
    PATTERN_SAMPLES,
    REJECTED,
    Expected,
    Instrument,
    Needs,
    OfPattern,
    Words,
    by_model,
)

if TYPE_CHECKING:
    from lens.analysis.instruments.layout import Entries, Layout

OTHERS = "as many other earlier tokens of the same query, position 0 left out"
ON_TEXT = (
    "In a real text the marked tokens may be attended to for what they are, not because something was repeated: "
    "whole layers can look at the same comma. A head that scores here and not on random tokens does not do this."
)


def _entries(at: "Layout") -> "Entries":
    if at.n:
        return at.entries(at.inner & at.second_copy & (at.distance == at.n - 1))
    before = at.tokens.roll(1, dims=-1)
    return at.against_others(at.earlier & (before[:, None, :] == at.tokens[:, :, None]))


_ONE = Expected(FOUND, 1.0)

INDUCTION = Instrument(
    name="induction",
    title="Induction",
    unit="probability",
    link="scores",
    definition="Prefix matching: mean attention from a token of the second copy of n random tokens to the token after "
    "its first occurrence, A[q, q−n+1].",
    null=CONTROL,
    source="Olsson et al. 2022",
    formula=r"S_h = \frac{1}{n} \sum_{q \in \text{2nd copy}} A_h[q,\, q - n + 1]",
    misreading="The score says where a head looks, not what it does there: a head can look at the right token and copy "
    "nothing, and a model can repeat text without its strongest head. Hatched does not mean useless: the head may "
    "do something that random tokens do not ask for.",
    needs=Needs(PATTERN_SAMPLES),
    on_text=Words(
        "Attention to all tokens that follow an earlier occurrence of the query's token, mean over the queries that "
        "have one.",
        OTHERS,
        r"S_h = \operatorname{mean}_q \sum_{k:\, x_{k-1} = x_q} A_h[q,\, k], \qquad 1 \le k < q",
        ON_TEXT,
    ),
    cells="after its first occurrence",
    habit="look at the token after an earlier occurrence",
    fooled_by="Without the control, any head that always looks n − 1 tokens back (planted-offset). With it: nothing is "
    "said about copying; planted-decoy and planted-anticopy score 1 as well.",
    expected=by_model(_ONE, _ONE, Expected(REJECTED, 0.0), _ONE, _ONE),
    pattern=OfPattern(entries=_entries, absent="no token repeats"),
)
