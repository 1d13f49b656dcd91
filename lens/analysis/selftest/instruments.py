"""The registry: every instrument with its words, its sizes and what it must say about each planted model.

A new instrument is one function in ``measure`` or ``causal`` (or elsewhere), one entry, and, if it tests a function
that the others do not, one field of ``Tools``.
"""

from functools import partial

from lens.analysis.induction_loss import DEFINITION as LOSS
from lens.analysis.logit_lens import DEFINITION as LENS
from lens.analysis.logit_lens import SOURCE as LENS_SOURCE
from lens.analysis.pattern_scores import PREVIOUS_NULL
from lens.analysis.selftest import measure
from lens.analysis.selftest.causal_instruments import CAUSAL
from lens.analysis.selftest.dated import AFTER, BEFORE, LABELS, phase_change
from lens.analysis.selftest.instrument import Instrument, by_model
from lens.analysis.selftest.result import FOUND, INSIDE, REJECTED, Expected
from lens.analysis.selftest.subject import OTHER_N
from lens.planted import closed_form as exact
from lens.planted.layout import COPY, DISTANCE

OLSSON = "Olsson et al. 2022"
ELHAGE = "Elhage et al. 2021"
PAIRED = "the same queries on the paired control, whose second half is other random tokens"


_ONE, _NOTHING = Expected(FOUND, 1.0), Expected(INSIDE, 0.0)
_SAVING = exact.saving(COPY)

INSTRUMENTS = (
    Instrument(
        name="induction",
        title="Induction score",
        measure=partial(measure.head_score, name="induction"),
        unit="probability",
        definition=f"Prefix matching: mean attention from a token of the second copy to the token after its first "
        f"occurrence, A[q, q−{DISTANCE}] on blocks of {DISTANCE + 1}; minus the control.",
        formula=r"S = \operatorname{mean}_q A[q, q-n+1] - \operatorname{mean}_q A^{\text{control}}[q, q-n+1]",
        null=f"{PAIRED}; threshold: 95th percentile over sequences of the largest control of any head",
        source=OLSSON,
        fooled_by="Without the control, any head that always looks n − 1 tokens back (planted-offset). With it: "
        "nothing is said about copying; planted-decoy and planted-anticopy score 1 as well.",
        smallest=0.0,
        striking=0.5,
        tolerance=1e-3,
        expected=by_model(_ONE, _ONE, Expected(REJECTED, 0.0), _ONE, _ONE),
    ),
    Instrument(
        name="previous",
        title="Previous-token score",
        measure=partial(measure.head_score, name="previous"),
        unit="probability",
        definition="Mean attention to the token before, A[q, q−1] over q ≥ 6, minus the null.",
        formula=r"S = \operatorname{mean}_{q \ge 6} A[q, q-1] - "
        r"\max_{j = 2 \dots 5} \operatorname{mean}_{q \ge 6} A[q, q-j]",
        null=f"{PREVIOUS_NULL}; threshold: 95th percentile over sequences of the largest of any head",
        source=OLSSON,
        fooled_by="A head that prefers near tokens in general exceeds the null a little: how much is the size of the "
        "score, not its verdict. And one head that always looks 2 back hides every weaker one.",
        smallest=0.0,
        striking=0.5,
        tolerance=1e-3,
        expected=by_model(_ONE, _ONE, _ONE, _ONE, _ONE),
    ),
    Instrument(
        name="duplicate",
        title="Duplicate-token score",
        measure=partial(measure.head_score, name="duplicate"),
        unit="probability",
        definition="Mean attention from a token of the second copy to its first occurrence, A[q, q−n]; minus the "
        "control.",
        formula=r"S = \operatorname{mean}_q A[q, q-n] - \operatorname{mean}_q A^{\text{control}}[q, q-n]",
        null=f"{PAIRED}; threshold as for induction",
        source=OLSSON,
        fooled_by="The planted head scores ½, not 1: it looks at its own position as much as at the earlier one. A low "
        "score need not be a weak match.",
        smallest=0.0,
        striking=0.5,
        tolerance=1e-3,
        expected=by_model(*[Expected(FOUND, 0.5)] * 5),
    ),
    Instrument(
        name="composition",
        title="K-composition",
        measure=measure.composition,
        unit="share of the product of norms",
        definition="How much of what a head of layer 0 writes a head of layer 1 reads as key: "
        "‖W_OV W_QKᵀ‖ over the product of both norms, for the strongest pair.",
        formula=r"C = \frac{\lVert W_{OV}^{1} W_{QK}^{2\top} \rVert_F}"
        r"{\lVert W_{OV}^{1} \rVert_F \lVert W_{QK}^{2} \rVert_F}",
        null="senders whose output is rotated at random (Haar), 95th percentile of the largest of all pairs; and the "
        "mean plus three standard deviations of the other senders to the same receiver",
        source=ELHAGE,
        fooled_by="Size: the score does not see it. A head of a thousandth of the strength composes as well, and "
        "planted-decoy, which does nothing, composes like planted-induction.",
        smallest=0.0,
        striking=float("inf"),
        tolerance=1e-4,
        expected=by_model(
            *[Expected(FOUND, exact.composition())] * 2,
            Expected(INSIDE),
            *[Expected(FOUND, exact.composition())] * 2,
        ),
    ),
    Instrument(
        name="copying",
        title="Copying score",
        measure=measure.copying_score,
        unit="ratio",
        definition="Sum of the eigenvalues of the full OV circuit over the sum of their sizes, for the head where it "
        "is farthest from 0: 1 raises the token it attends to, −1 lowers it.",
        formula=r"\frac{\sum_i \lambda_i}{\sum_i |\lambda_i|}, \qquad \lambda = \operatorname{eig}(W_O M W_V), \quad "
        r"M = W_U \big(I - \tfrac{1}{d_{vocab}} 11^\top\big) W_E",
        null="a random rotation between W_V and W_O; 95th percentile of the largest size of any head",
        source=ELHAGE,
        fooled_by="Size again, and use: planted-offset's head copies, by its weights, though it does no induction.",
        smallest=0.0,
        striking=float("inf"),
        tolerance=1e-3,
        expected=by_model(_ONE, Expected(INSIDE), _ONE, Expected(REJECTED, -1.0), _ONE),
    ),
    Instrument(
        name="attribution",
        title="Direct logit attribution",
        measure=measure.attribution,
        unit="logits",
        definition="What the head with the largest share adds to the logit of the next token of the block, minus that "
        "of the one after; minus the same on the control.",
        formula=r"\frac{x_h}{\sigma} \cdot (\gamma \odot \Delta), \qquad \Delta = W_U[:, a] - W_U[:, b]",
        null=f"{PAIRED}; threshold: 95th percentile over sequences of the largest size of any head there",
        source=f"{ELHAGE}; frozen scale of the final norm",
        fooled_by="Redundancy: planted-redundant's heads get half of the logit each, and the model does as well "
        "without either one.",
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
