"""The instruments that read an answer, with what they must say: why a logit is high, and why a head looks there."""

from lens.analysis.instruments.instrument import by_model
from lens.analysis.selftest import answers
from lens.analysis.selftest.instrument import Instrument
from lens.analysis.selftest.result import FOUND, INSIDE, REJECTED, Expected
from lens.planted import closed_form as exact
from lens.planted.layout import COPY, MATCH, THRESHOLD

_NOTHING = Expected(INSIDE, 0.0)
_FED = Expected(FOUND, MATCH)
_CUT = Expected(FOUND, 1.0)
_SAVING = exact.saving(COPY)

ANSWERS = (
    Instrument(
        name="predictions",
        title="Prediction of one token",
        measure=answers.predictions,
        unit="nats",
        definition="How much likelier than an even guess over the vocabulary the next token of the block is, after the "
        "last place of the second copy whose next token is known; minus the same on the control. Log-probability, rank "
        "and entropy must be those of the run's own logits.",
        formula=r"\ln p_v + \ln d_{\text{vocab}}, \qquad p = \operatorname{softmax}(\ell)",
        null="the same token after the control, whose second half is other random tokens, 95th percentile of its size "
        "over sequences",
        source="Lens's own; the numbers are the model's",
        fooled_by="A model that always expects the token: planted-offset expects it as much where nothing repeats.",
        smallest=0.2,
        striking=1.0,
        tolerance=2e-3,
        expected=by_model(
            Expected(FOUND, _SAVING),
            _NOTHING,
            Expected(REJECTED, 0.0),
            Expected(REJECTED, exact.saving(-COPY)),
            Expected(FOUND, exact.saving(exact.saturated(2))),
        ),
    ),
    Instrument(
        name="knockout",
        title="Attention knockout",
        measure=answers.knockout,
        unit="nats",
        definition="How far the loss of the next token of the block rises where the strongest induction head may not "
        "look from the last place at what followed it before; minus the same cut on the control, continued by the "
        "same token.",
        formula=r"L(A_h[q, q-n+1] = 0) - L",
        null="the same when one of up to 16 other keys of that query is cut in its place, the largest of them; 95th "
        "percentile over sequences",
        source="Geva et al. 2023",
        fooled_by="Redundancy: without one of the two looks of planted-redundant the other head brings the token. And "
        "planted-offset needs its look as much where nothing repeats.",
        smallest=0.2,
        striking=1.0,
        tolerance=2e-3,
        expected=by_model(
            Expected(FOUND, _SAVING),
            _NOTHING,
            Expected(REJECTED),
            Expected(REJECTED, exact.saving(-COPY)),
            Expected(INSIDE, exact.one_of_two()),
        ),
    ),
    Instrument(
        name="neurons",
        title="Neurons of one answer",
        measure=answers.neurons,
        unit="logits",
        definition="One logit difference, as for direct attribution, in the plant with one more neuron per token, "
        f"which fires above {THRESHOLD:g} on what is written for its token: activation times what its weights add, of "
        "the neuron with the largest; minus the same on the control.",
        formula=r"a_n \, \frac{w^{\text{out}}_n}{\sigma} \cdot (\gamma \odot \Delta)",
        null="the same answer in the control run, 95th percentile over sequences of the largest of all neurons",
        source="activation times weights: Elhage et al. 2021",
        fooled_by="A neuron that fires for another reason: those of planted-offset fire as much where nothing repeats. "
        "And one below its threshold, as in planted-anticopy, is silent about what it reads.",
        smallest=0.5,
        striking=1.0,
        tolerance=5e-3,
        expected=by_model(
            Expected(FOUND, COPY - THRESHOLD),
            _NOTHING,
            Expected(REJECTED, 0.0),
            _NOTHING,
            Expected(FOUND, exact.neuron_share()),
        ),
    ),
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
