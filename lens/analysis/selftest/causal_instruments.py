"""The registry's instruments that intervene: what a head's output is needed for, and what it is enough for."""

from functools import partial

from lens.analysis.instruments.instrument import by_model
from lens.analysis.selftest import causal
from lens.analysis.selftest.instrument import Instrument
from lens.analysis.selftest.result import FOUND, INSIDE, REJECTED, Expected
from lens.planted import closed_form as exact
from lens.planted.layout import COPY

_NOTHING = Expected(INSIDE, 0.0)
_ALONE = exact.saturated(2) - exact.saturated(1)
_OTHERS = (
    "the same with the output from another sequence's repeats; threshold: 95th percentile over sequences of the "
    "largest size of any head"
)

CAUSAL = (
    Instrument(
        name="ablation_one",
        title="Ablation, strongest head",
        measure=causal.ablation,
        unit="logits",
        definition="What the logit difference loses without the head with the highest induction score. Without "
        "control: its z is 0; with: its z is that of the control run.",
        formula=r"\Delta\text{logit}(\text{clean}) - \Delta\text{logit}(z_h \leftarrow z_h^{\text{control}})",
        null="the same zero ablation on the control, 95th percentile of its size over sequences",
        source="resample ablation: Chan et al. 2022, causal scrubbing",
        fooled_by=f"Redundancy: either head of planted-redundant alone seems to matter by {_ALONE:.2f} of "
        f"{exact.saturated(2):.2f} logits. And zero: planted-offset loses everything at z = 0, and nothing that has to "
        "do with repetition.",
        smallest=0.5,
        striking=1.0,
        tolerance=5e-3,
        expected=by_model(
            Expected(FOUND, COPY),
            _NOTHING,
            Expected(REJECTED, 0.0),
            Expected(REJECTED, -COPY),
            Expected(INSIDE, _ALONE),
        ),
    ),
    Instrument(
        name="ablation_all",
        title="Ablation, all heads that score",
        measure=partial(causal.ablation, all_candidates=True),
        unit="logits",
        definition=f"The same without all heads whose induction score is at least {causal.CANDIDATE:g}.",
        formula=r"\Delta\text{logit}(\text{clean}) - \Delta\text{logit}(z_H \leftarrow z_H^{\text{control}})",
        null="the same zero ablation on the control, 95th percentile of its size over sequences",
        source="resample ablation: Chan et al. 2022, causal scrubbing",
        fooled_by="Heads that take over only when the others are gone, and do not score before.",
        smallest=0.5,
        striking=1.0,
        tolerance=5e-3,
        expected=by_model(
            Expected(FOUND, COPY),
            _NOTHING,
            Expected(REJECTED, 0.0),
            Expected(REJECTED, -COPY),
            Expected(FOUND, exact.saturated(2)),
        ),
    ),
    Instrument(
        name="patching",
        title="Activation patching",
        measure=causal.patching,
        unit="logits",
        definition="What the logit difference of the control run, which repeats nothing, gains when one head writes "
        "there what it wrote on the repeats (denoising), for the head with the largest effect.",
        formula=r"\Delta\text{logit}(\text{control},\ z_h \leftarrow z_h^{\text{repeats}}) - "
        r"\Delta\text{logit}(\text{control})",
        null=_OTHERS,
        source="Wang et al. 2022; Heimersheim and Nanda 2024",
        fooled_by="“Enough” is not “needed”: either head of planted-redundant brings almost all of it back alone, "
        f"{exact.saturated(1):.2f} of {exact.saturated(2):.2f} logits, and the model does as well without either one.",
        smallest=0.9,
        striking=1.0,
        tolerance=5e-3,
        expected=by_model(
            Expected(FOUND, COPY),
            _NOTHING,
            _NOTHING,
            Expected(REJECTED, -COPY),
            Expected(FOUND, exact.saturated(1)),
        ),
    ),
    Instrument(
        name="attribution_patching",
        title="Attribution patching",
        measure=causal.attribution_patching,
        unit="logits",
        definition="The same to first order: the gradient of the control run's logit difference, times the change of "
        "the head's output.",
        formula=r"\nabla_{z_h} \Delta\text{logit}(\text{control}) \cdot (z_h^{\text{repeats}} - z_h^{\text{control}})",
        null=_OTHERS,
        source="Nanda 2023; AtP*, Kramár et al. 2024",
        fooled_by="Saturation: in planted-redundant the final norm bends, and the first order promises "
        f"{exact.first_order_twin():.1f} logits where {exact.saturated(1):.2f} are to be had.",
        smallest=0.9,
        striking=1.0,
        tolerance=5e-2,
        expected=by_model(
            Expected(FOUND, COPY),
            _NOTHING,
            _NOTHING,
            Expected(REJECTED, -COPY),
            Expected(FOUND, exact.first_order_twin()),
        ),
    ),
)
