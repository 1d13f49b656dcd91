"""The instruments that read an answer, with what they must say: why a logit is high, and why a head looks there."""

from lens.analysis.instruments.instrument import by_model
from lens.analysis.selftest import answers
from lens.analysis.selftest.instrument import Instrument
from lens.analysis.selftest.result import FOUND, INSIDE, REJECTED, Expected
from lens.planted import closed_form as exact
from lens.planted.layout import COPY, MATCH

_NOTHING = Expected(INSIDE, 0.0)
_FED = Expected(FOUND, MATCH)
_CUT = Expected(FOUND, 1.0)

ANSWERS = (
    Instrument(
        name="direct_attribution",
        title="Direct attribution of one answer",
        measure=answers.direct_attribution,
        unit="logits",
        definition="One logit difference (the next token of the block against the one after, at the last query that "
        "has both) taken apart into embedding, positions, heads, biases and what stands outside; here the largest "
        "head.",
        formula=r"\frac{x_h}{\sigma} \cdot (\gamma \odot \Delta), \qquad \sum_i m_i = \Delta\text{logit}",
        null="the same answer in the control run, 95th percentile over sequences of the largest of all heads",
        source="Elhage et al. 2021",
        fooled_by="Redundancy: planted-redundant's heads get half of the logit each. And a head that copies whatever "
        "stands 24 back: planted-offset adds as much where nothing repeats.",
        smallest=0.5,
        striking=1.0,
        tolerance=5e-3,
        expected=by_model(
            Expected(FOUND, COPY),
            _NOTHING,
            Expected(REJECTED, 0.0),
            Expected(REJECTED, -COPY),
            Expected(FOUND, exact.twin_share()),
        ),
    ),
    Instrument(
        name="qk_attribution",
        title="QK attribution",
        measure=answers.qk_attribution,
        unit="score",
        definition="The contrast of the stripe of the strongest induction head (its score minus the mean score of the "
        "query's other keys) as a sum over pairs of writes: the share of the head that its keys read most, minus the "
        "same in the control.",
        formula=r"\operatorname{mean}_q \Big( \sum_i Q_i(q) \cdot \big( K_h(k^*) - \operatorname{mean}_k K_h(k) \big) "
        r"\Big) / c",
        null="the same cells in the paired control, 95th percentile over sequences of the largest of all heads",
        source="Elhage et al. 2021",
        fooled_by="Positions: planted-offset has a larger contrast than any other plant, and no head is read for it. "
        "And a reason to look is no reason to copy: planted-decoy's head looks there for the same reason.",
        smallest=0.5,
        striking=5.0,
        tolerance=1e-2,
        expected=by_model(_FED, _FED, _NOTHING, _FED, _FED),
    ),
    Instrument(
        name="feeder_cut",
        title="Cutting a feeder",
        measure=answers.feeder_cut,
        unit="probability",
        definition="What the stripe of the strongest induction head loses of its attention when one write is replaced, "
        "in what its keys alone are made from, by its value where the first copy is of other tokens; the write with "
        "the largest loss.",
        formula=r"A(\text{stripe}) - A(\text{stripe};\ x_h \to x_h^{\text{control}} \text{ in } K)",
        null="the same of all other writes, 95th percentile over sequences of the largest",
        source="path patching: Wang et al. 2022",
        fooled_by="The wrong control: keys read the first copy, so with other tokens in the second one nothing moves.",
        smallest=0.05,
        striking=0.5,
        tolerance=1e-3,
        expected=by_model(_CUT, _CUT, _NOTHING, _CUT, _CUT),
    ),
)
