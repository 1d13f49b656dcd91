"""Self-attention: how much of its attention a query keeps at its own position."""

from lens.analysis.instruments.instrument import COMPARED, PATTERN_SAMPLES, Instrument, Needs, OfPattern

SELF = Instrument(
    name="self",
    title="Own position",
    unit="probability",
    link="attends",
    definition="Mean attention of a query to its own position, A[q, q] over q ≥ 1.",
    null=COMPARED,
    source="",
    formula=r"S_h = \operatorname{mean}_{q \ge 1}\, A_h[q,\, q]",
    misreading="A head that looks at its own position moves nothing between positions, but it is not idle: it writes a "
    "function of the token that stands there, as an MLP would. Early queries have few keys, so they always give "
    "themselves much.",
    needs=Needs(PATTERN_SAMPLES),
    tested=False,
    cells="its own position",
    pattern=OfPattern(entries=lambda at: at.entries(at.inner & (at.distance == 0))),
)
