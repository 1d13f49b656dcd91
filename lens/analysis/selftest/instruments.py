"""What is tested, with its sizes and what it must say about each planted model.

Instruments of patterns come from the registry of instruments by themselves. What one number per head cannot say, or
what is read on the bench in a way of its own, is one function in ``measure`` or ``causal`` (or elsewhere), one entry,
and, if it tests a function that the others do not, one field of ``Tools``.
"""

from functools import partial

from lens.analysis.answer.logit_lens import DEFINITION as LENS
from lens.analysis.answer.logit_lens import SOURCE as LENS_SOURCE
from lens.analysis.induction_loss import DEFINITION as LOSS
from lens.analysis.instruments import registry as instruments
from lens.analysis.instruments.instrument import by_model
from lens.analysis.selftest import measure
from lens.analysis.selftest.answer_instruments import ANSWERS
from lens.analysis.selftest.causal_instruments import CAUSAL
from lens.analysis.selftest.dated import AFTER, BEFORE, LABELS, phase_change
from lens.analysis.selftest.instrument import Instrument, of
from lens.analysis.selftest.result import FOUND, INSIDE, REJECTED, Expected
from lens.analysis.selftest.subject import OTHER_N, TESTED
from lens.analysis.selftest.writing import LEAD, NEW, writing
from lens.planted import closed_form as exact
from lens.planted.layout import COPY, DISTANCE

OLSSON = "Olsson et al. 2022"
ELHAGE = "Elhage et al. 2021"
PAIRED = "the same queries on the paired control, whose second half is other random tokens"


_ONE, _NOTHING = Expected(FOUND, 1.0), Expected(INSIDE, 0.0)
_SAVING = exact.saving(COPY)

MINUS = "Here for the head with the largest, minus its null."

INSTRUMENTS = (
    *(
        of(
            one,
            partial(measure.head_score, name=one.name),
            MINUS,
            title=f"{one.title} score",
            null="; threshold: 95th percentile over sequences of the largest null of any head",
        )
        for one in instruments.instruments_named(TESTED)
    ),
    of(
        instruments.instrument("feeder_k"),
        measure.composition,
        "Here for the strongest pair of a head of layer 0 and one of layer 1.",
        name="composition",
        null="; threshold: 95th percentile of the largest of all pairs with senders whose output is rotated at random "
        "(Haar), and the mean plus three standard deviations of the other senders to the same receiver",
        striking=float("inf"),
        tolerance=1e-4,
    ),
    of(
        instruments.instrument("ov_copying"),
        measure.copying_score,
        "Here for the head where it is farthest from 0.",
        name="copying",
        null="; threshold: 95th percentile of the largest size of any head",
        striking=float("inf"),
    ),
    of(
        instruments.instrument("direct_effect"),
        measure.attribution,
        "Here for the head with the largest, the next token of the block against the one after; minus the same on the "
        "control, whose second half is other random tokens.",
        name="attribution",
        null="; threshold: 95th percentile over sequences of the largest size of any head there",
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
        name="induction_loss",
        title="Induction loss",
        measure=measure.induction_loss,
        unit="nats",
        definition=f"{LOSS} Saving of the second copy, at the length (25 or 20) where it is smaller.",
        formula=r"\min_{n \in \{25, 20\}} \big( L_{\text{1st copy}} - L_{\text{2nd copy}} \big)",
        null="saving on the control, 95th percentile of its size over sequences",
        source=OLSSON,
        fooled_by="One length of block: planted-offset saves as much as planted-induction at n = 25, and loses at 20.",
        smallest=0.0,
        striking=1.0,
        tolerance=2e-3,
        expected=by_model(
            Expected(FOUND, _SAVING),
            _NOTHING,
            Expected(REJECTED, exact.offset_saving(OTHER_N, DISTANCE)),
            Expected(REJECTED, exact.saving(-COPY)),
            Expected(FOUND, exact.saving(exact.saturated(2))),
        ),
    ),
    Instrument(
        name="logit_lens",
        title="Logit lens",
        measure=measure.logit_lens,
        unit="nats",
        definition=f"{LENS} Here: how much the layers add to the log-probability of the next token of the block; "
        "minus the same on the control.",
        formula=r"\ln p_{\text{last}} - \ln p_0, \qquad p_l = \operatorname{softmax}(\operatorname{Norm}(x_l) W_U)",
        null=f"{PAIRED}, 95th percentile of its size over sequences",
        source=LENS_SOURCE,
        fooled_by="What is in the stream need not be used: the lens shows what the last layer could read, not what it "
        "reads.",
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
        name="writing",
        title="Writing beside a changed twin",
        measure=writing,
        unit="share",
        definition=f"Of {NEW} tokens written greedily after {LEAD} of the second half, the share that go on with the "
        "block: the model's minus that of the model with its strongest induction head zeroed; minus the same on the "
        "control. Cached and uncached decoding must write the same.",
        formula=r"\operatorname{mean}_t [w_t = r_t] - \operatorname{mean}_t [w_t^{z_h = 0} = r_t]",
        null=f"{PAIRED}, 95th percentile of its size over sequences",
        source="Lens's own; induction by what is written: Olsson et al. 2022",
        fooled_by="Redundancy: without one of the two heads of planted-redundant the other goes on writing the block. "
        "And planted-offset goes on with the block whether or not it repeats.",
        smallest=0.2,
        striking=0.5,
        tolerance=0.05,  # without a circuit a token is right by chance, one in 64
        expected=by_model(_ONE, Expected(INSIDE), Expected(REJECTED, 0.0), Expected(INSIDE), _NOTHING),
    ),
    *ANSWERS,
    *CAUSAL,
    Instrument(
        name="phase_change",
        title="Phase change",
        measure=phase_change,
        unit="score per doubling",
        definition=f"A run of six checkpoints whose layer 1 begins to look between steps {LABELS[BEFORE]} and "
        f"{LABELS[AFTER]}: the steepest rise of the best head's induction score per doubling of training, 0 if no "
        "window is drawn. Window and birth must lie where they were planted.",
        formula=r"\max_{i<j} \frac{S_j - S_i}{\log_2 (t_j / t_i)}",
        null="99th percentile of the same rises of the control, the largest of any head, each sequence counted",
        source=f"{OLSSON}; the rule is Lens's own, fixed beforehand",
        fooled_by="A rise that the control shares: planted-offset's score jumps as well. And what has no score: "
        "planted-decoy is born like planted-induction, and does nothing.",
        smallest=0.0,
        striking=0.5,
        tolerance=1e-3,
        expected=by_model(_ONE, _ONE, Expected(REJECTED, 0.0), _ONE, _ONE),
    ),
)


def instrument(name: str) -> Instrument:
    """The instrument of that name; KeyError lists the names."""
    for one in INSTRUMENTS:
        if one.name == name:
            return one
    raise KeyError(f"no instrument is called {name!r}; there are {', '.join(one.name for one in INSTRUMENTS)}")
