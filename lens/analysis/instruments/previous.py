"""Previous token: does a head look at the token before?"""

from lens.analysis.instruments.instrument import (
    FOUND,
    PATTERN_SAMPLES,
    Expected,
    Instrument,
    Needs,
    OfPattern,
    by_model,
)

BACK = (2, 3, 4, 5)  # distances of the null
PREVIOUS_NULL = (
    "the largest mean attention to exactly 2, 3, 4 or 5 tokens back, over the same queries, which leave key 0 out"
)

PREVIOUS = Instrument(
    name="previous",
    title="Previous token",
    unit="probability",
    link="scores",
    definition="Mean attention to the token before, A[q, q−1] over q ≥ 6 (of fewer than 7 tokens, the last q).",
    null=PREVIOUS_NULL,
    source="Olsson et al. 2022",
    formula=r"S_h = \operatorname{mean}_{q \ge 6}\, A_h[q,\, q - 1]",
    misreading="Nearly every head attends a little more to near tokens than to far ones. That is why the null is not "
    "zero but what the tokens 2 to 5 back get, the most of any distance and any head.",
    needs=Needs(PATTERN_SAMPLES),
    cells="the token before",
    habit="look at the token before",
    fooled_by="A head that prefers near tokens in general exceeds the null a little: how much is the size of the "
    "score, not its verdict. And one head that always looks 2 back hides every weaker one.",
    expected=by_model(*[Expected(FOUND, 1.0)] * 5),
    pattern=OfPattern(entries=lambda at: at.stripe(1, BACK), absent="no text has four tokens"),
)
