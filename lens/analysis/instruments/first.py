"""First token: how much attention rests at position 0."""

from lens.analysis.instruments.instrument import COMPARED, PATTERN_SAMPLES, Instrument, Needs, OfPattern

RESTING = (
    "Much attention to the first token is usually a way to do nothing: the value there is close to zero, so the head "
    "writes almost nothing. It does not mean that the head reads the beginning of the text."
)

FIRST = Instrument(
    name="first",
    title="First token (BOS)",
    unit="probability",
    link="attends",
    definition="Mean attention to position 0, A[q, 0] over q ≥ 1.",
    null=COMPARED,
    source="",
    formula=r"S_h = \operatorname{mean}_{q \ge 1}\, A_h[q,\, 0]",
    misreading=RESTING,
    needs=Needs(PATTERN_SAMPLES),
    tested=False,
    cells="the first token",
    pattern=OfPattern(entries=lambda at: at.entries(at.allowed & (at.key == 0) & (at.distance >= 1))),
)
