"""Entropy: over how many keys a query spreads its attention."""

from typing import TYPE_CHECKING

from lens.analysis.instruments.instrument import COMPARED, PATTERN_SAMPLES, Instrument, Needs, OfPattern

if TYPE_CHECKING:
    from torch import Tensor

    from lens.analysis.instruments.layout import Layout, Pattern

MISREADING = (
    "A low entropy is not importance: a head that always looks at the first token has the lowest of all. Compare "
    "entropies only at one length: ln(q+1), their maximum, grows with the position."
)


def _share(pattern: "Pattern", at: "Layout") -> "Tensor":
    largest = (at.place.clamp(min=1) + 1.0).log()[:, None]
    return at.average(pattern.entropies / largest)


ENTROPY = Instrument(
    name="entropy",
    title="Entropy",
    unit="nats",
    link="attends",
    definition="Mean entropy of the attention of a query, −Σ A ln A, over q ≥ 1.",
    null=COMPARED,
    source="",
    formula=r"S_h = \operatorname{mean}_{q \ge 1} \Big( -\sum_k A_h[q,k] \ln A_h[q,k] \Big)",
    misreading=MISREADING,
    needs=Needs(PATTERN_SAMPLES),
    tested=False,
    pattern=OfPattern(value=lambda pattern, at: at.average(pattern.entropies)),
)

ENTROPY_SHARE = Instrument(
    name="entropy_normalised",
    title="Entropy, share of its maximum",
    unit="share of ln(q+1)",
    link="attends",
    definition="Entropy of a query's attention over its largest possible value ln(q+1), mean over q ≥ 1: 1 is uniform.",
    null=COMPARED,
    source="",
    formula=r"S_h = \operatorname{mean}_{q \ge 1} \frac{-\sum_k A_h[q,k] \ln A_h[q,k]}{\ln (q+1)}",
    misreading=MISREADING,
    needs=Needs(PATTERN_SAMPLES),
    tested=False,
    pattern=OfPattern(value=_share),
)
