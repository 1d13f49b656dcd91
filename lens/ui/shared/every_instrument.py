"""All instruments of the registry in the open model: what is quick at once, the others on one click."""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from lens.analysis.instruments.sample import repeats as repeats_sample
from lens.ui.ending import PageOver
from lens.ui.shared import instruments
from lens.ui.shared.instrument_list import grouped
from lens.ui.store import to_torch
from lens.ui.waiting import AGREED, ASK, agree, remembered

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from lens.analysis.instruments.instrument import Instrument
    from lens.analysis.instruments.sample import Sample as Read
    from lens.analysis.score_results import HeadScore
    from lens.hooked import HookedTransformer
    from lens.ui.shared.repeats import Sample
    from lens.ui.view import ViewState

ONCE = 0.5  # estimated seconds of an instrument that is measured without being asked for


class Measured(NamedTuple):
    """The instruments that are measured here, and why others are not."""

    scores: "dict[str, HeadScore]"
    why: dict[str, str]


def measure_every(
    view: "ViewState",
    model: "HookedTransformer",
    sample: "Sample",
    offer: "DeltaGenerator",
    draw: Callable[[Measured], object],
) -> Measured:
    """Every instrument that the model can have, on ``sample`` and its weights; what takes longer after one click.

    Its button stands in ``offer``. ``draw`` shows what there is before each that takes long; a cancel keeps that.
    """
    samples = [repeats_sample(to_torch(sample.repeated))]
    measured, later = _quick(model, sample, samples)
    if not later:
        return measured
    key = f"table-{view['model']}-{view['revision']}-{sample.settings}"
    if key not in remembered(AGREED):
        help = f"{', '.join(instrument.title for instrument, _ in later)}: of all heads, so that ranks are known."
        label = f"Compute {len(later)} more, about {max(1.0, sum(seconds for _, seconds in later)):,.0f} s"
        offer.button(label, key=f"start:{key}", help=help, on_click=agree, args=(key,), type="primary")
        return measured
    with suppress(PageOver):
        for instrument, _ in later:
            draw(measured)
            measured = _with(measured, instrument, model, samples)
    return measured


def _quick(
    model: "HookedTransformer", sample: "Sample", samples: "list[Read]"
) -> "tuple[Measured, list[tuple[Instrument, float]]]":
    """What patterns gave and what takes no wait, and the instruments that are left with their estimated seconds."""
    measured, later, spent = Measured(dict(sample.scores.scores), dict(sample.scores.missing)), [], 0.0
    for instrument in grouped():
        if instrument.name in measured.scores or instrument.name in measured.why:
            continue
        why = instrument.needs.lacks_in(model)
        if why:
            measured.why[instrument.name] = why
            continue
        kept = instruments.is_measured(model, instrument, samples)
        seconds = 0.0 if kept else instruments.seconds(model, instrument, samples)
        if kept or (seconds <= ONCE and spent + seconds <= ASK):
            measured, spent = _with(measured, instrument, model, samples), spent + seconds
        else:
            later.append((instrument, seconds))
            measured.why[instrument.name] = f"not yet, about {max(1.0, seconds):,.0f} s"
    return measured, later


def _with(measured: Measured, instrument: "Instrument", model: "HookedTransformer", samples: "list[Read]") -> Measured:
    scores = instruments.measured(model, instrument, samples)
    why = {name: text for name, text in measured.why.items() if name != instrument.name} | dict(scores.missing)
    return Measured(measured.scores | dict(scores.scores), why)
