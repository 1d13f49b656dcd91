"""Any instrument of the registry in the open model, measured once for all visitors: how long it takes, its numbers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lens.analysis.instruments.measure import cost_of, measure_named, sample_for
from lens.analysis.instruments.registry import pattern_names
from lens.analysis.instruments.sample import WEIGHTS
from lens.ui.calls import analyse, call_key, is_kept
from lens.ui.estimate import cost_seconds
from lens.ui.waiting import ASK, CANCELLED, remembered

if TYPE_CHECKING:
    from lens.analysis.instruments.instrument import Instrument
    from lens.analysis.instruments.sample import Sample
    from lens.analysis.score_results import HeadScores
    from lens.hooked import HookedTransformer


def seconds(model: "HookedTransformer", instrument: "Instrument", samples: "Sequence[Sample]") -> float:
    """Rough time to measure it, and with an instrument of patterns all others of patterns as well."""
    return cost_seconds(model, cost_of(model.cfg, [instrument], samples), unembed=instrument.pattern is None)


def work_key(model: "HookedTransformer", instrument: "Instrument", samples: "Sequence[Sample]") -> str:
    """Names the measurement."""
    return call_key(measure_named, (model, *_work(instrument, samples)), {})


def is_measured(model: "HookedTransformer", instrument: "Instrument", samples: "Sequence[Sample]") -> bool:
    """Whether anyone has measured it on this sample, and it is still kept."""
    return is_kept(measure_named, model, *_work(instrument, samples))


def at_once(model: "HookedTransformer", instrument: "Instrument", samples: "Sequence[Sample]") -> bool:
    """Whether its numbers are there without a wait that a visitor should be asked about."""
    if is_measured(model, instrument, samples):
        return True
    return seconds(model, instrument, samples) <= ASK and work_key(model, instrument, samples) not in remembered(
        CANCELLED
    )


def measured(model: "HookedTransformer", instrument: "Instrument", samples: "Sequence[Sample]") -> "HeadScores":
    """Its scores, or why there are none, as numpy; those of patterns all together, from one pass over their sample.

    Shows progress and Cancel; after a cancel the page ends.
    """
    return analyse(measure_named, model, *_work(instrument, samples), progress=True)


def _work(instrument: "Instrument", samples: "Sequence[Sample]") -> tuple[tuple[str, ...], "tuple[Sample, ...]"]:
    """The names that are measured together, and the sample that they read: weights have one result for all samples."""
    sample = sample_for(instrument, [*samples, WEIGHTS])
    read = () if sample is None or sample == WEIGHTS else (sample,)
    return (pattern_names() if instrument.pattern is not None else (instrument.name,)), read
