"""Two tokens back: does a head look at the token before the last?"""

from lens.analysis.instruments.instrument import (
    INSIDE,
    PATTERN_SAMPLES,
    Expected,
    Instrument,
    Needs,
    OfPattern,
    by_model,
)

OTHERS = (1, 3, 4, 5)  # distances of the null

TWO_BACK = Instrument(
    name="two_back",
    title="Two tokens back",
    unit="probability",
    link="scores",
    definition="Mean attention to the token two back, A[q, q−2] over q ≥ 6 (of fewer than 7 tokens, the last q).",
    null="the largest mean attention to exactly 1, 3, 4 or 5 tokens back, over the same queries, which leave key 0 out",
    source="the previous-token score of Olsson et al. 2022, one token further",
    formula=r"S_h = \operatorname{mean}_{q \ge 6}\, A_h[q,\, q - 2]",
    misreading="A head that prefers near tokens in general gives its neighbours something as well: the null is the "
    "largest of the other distances and of any head, so one previous-token head of the model hides every weaker head "
    "that looks two back.",
    needs=Needs(PATTERN_SAMPLES),
    cells="two tokens back",
    habit="look two tokens back",
    fooled_by="Nothing planted looks two back, and no plant may be found to. What it cannot tell is a head that looks "
    "there by position from one that looks there for what stands there.",
    expected=by_model(*[Expected(INSIDE)] * 5),
    pattern=OfPattern(entries=lambda at: at.stripe(2, OTHERS), absent="no text has four tokens"),
)
