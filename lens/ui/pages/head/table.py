"""Every instrument of the registry on one head: its number, chance, its rank, and what that is worth."""

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import streamlit as st

from lens.analysis.instruments.measure import sample_for
from lens.analysis.instruments.sample import WEIGHTS
from lens.analysis.instruments.sample import repeats as repeats_sample
from lens.analysis.score_summary import standing
from lens.ui.ending import PageOver
from lens.ui.shared import instruments, score_words
from lens.ui.shared.instrument_list import grouped
from lens.ui.store import to_torch
from lens.ui.waiting import AGREED, ASK, agree, remembered

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from lens.analysis.instruments.instrument import Instrument
    from lens.analysis.instruments.sample import Sample
    from lens.analysis.names import Head
    from lens.analysis.score_results import HeadScore
    from lens.ui.shared.chain.link import Case

ONCE = 0.5  # estimated seconds of an instrument that is measured without being asked for
SAMPLES = {"repeats": "the repeats", "weights": "the weights"}


class Measured(NamedTuple):
    """The instruments that are measured here, and why others are not."""

    scores: "dict[str, HeadScore]"
    why: dict[str, str]


def show_table(case: "Case") -> "tuple[pd.DataFrame, Measured]":
    """A row per instrument, links together; what is quick at once, all others on one click. Returns the rows, and what
    they were made from.
    """
    st.markdown("##### Every instrument")
    place, offer = st.empty(), st.empty()
    samples = [repeats_sample(to_torch(case.sample.repeated))]
    measured, later = _quick(case, samples)
    rows = _draw(place, case, measured)
    if not later:
        return rows, measured
    key = f"table-{case.view['model']}-{case.view['revision']}-{case.sample.settings}"
    if key not in remembered(AGREED):
        help = f"{', '.join(instrument.title for instrument, _ in later)}: of all heads, so that ranks are known."
        label = f"Compute {len(later)} more, about {max(1.0, sum(seconds for _, seconds in later)):,.0f} s"
        offer.button(label, key=f"start:{key}", help=help, on_click=agree, args=(key,), type="primary")
        return rows, measured
    with suppress(PageOver):  # a cancel leaves what is measured, and its own button
        for instrument, _ in later:
            measured = _with(measured, instrument, case, samples)
            rows = _draw(place, case, measured)
    return rows, measured


def _quick(case: "Case", samples: "list[Sample]") -> "tuple[Measured, list[tuple[Instrument, float]]]":
    """What patterns gave and what takes no wait, and the instruments that are left with their estimated seconds."""
    measured, later, spent = Measured(dict(case.sample.scores.scores), dict(case.sample.scores.missing)), [], 0.0
    for instrument in grouped():
        if instrument.name in measured.scores or instrument.name in measured.why:
            continue
        why = instrument.needs.lacks(case.model.cfg)
        if why:
            measured.why[instrument.name] = why
            continue
        kept = instruments.is_measured(case.model, instrument, samples)
        seconds = 0.0 if kept else instruments.seconds(case.model, instrument, samples)
        if kept or (seconds <= ONCE and spent + seconds <= ASK):
            measured, spent = _with(measured, instrument, case, samples), spent + seconds
        else:
            later.append((instrument, seconds))
            measured.why[instrument.name] = f"not yet, about {max(1.0, seconds):,.0f} s"
    return measured, later


def _with(measured: Measured, instrument: "Instrument", case: "Case", samples: "list[Sample]") -> Measured:
    scores = instruments.measured(case.model, instrument, samples)
    why = {name: text for name, text in measured.why.items() if name != instrument.name} | dict(scores.missing)
    return Measured(measured.scores | dict(scores.scores), why)


def _draw(place: "DeltaGenerator", case: "Case", measured: Measured) -> pd.DataFrame:
    rows = table(case, measured)
    show_number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    config = {
        "link": text(help="Which claim of the chain it is evidence for.", width=70),
        "instrument": text(help="Head scores draws it for all heads and defines it.", width=190),
        "value": show_number(format="%.3f", help="Mean over its sample, in its unit."),
        "95% interval": text(help="Over the sequences or pairs; weights give a number exactly."),
        "null": show_number(format="%.3f", help="What it is compared with: a control, or what chance gives this head."),
        "threshold": show_number(
            format="%.3f", help="What the best of all heads stays below in 95% of cases by chance."
        ),
        "rank": text(help="1 stands out most of all heads that have the number."),
        "verdict": text(help="Against chance, by the rule of each instrument; descriptions have no test."),
        "n": show_number(help="Sequences or pairs; the weights are one."),
        "measured on": text(width=110),
    }
    alt = f"Every instrument on head {case.head}: {len(measured.scores)} measured, {len(measured.why)} not"
    place.dataframe(rows, hide_index=True, height="content", column_config=config, alt=alt)
    return rows


def table(case: "Case", measured: Measured) -> pd.DataFrame:
    """A row per instrument of the registry, links in their order."""
    return pd.DataFrame([_row(case, measured, instrument) for instrument in grouped()])


def _row(case: "Case", measured: Measured, instrument: "Instrument") -> dict[str, object]:
    row = {"link": instrument.link, "instrument": instrument.title}
    empty = dict.fromkeys(("value", "unit", "95% interval", "null", "threshold", "rank"))
    score = measured.scores.get(instrument.name)
    if score is None:
        why = measured.why[instrument.name].removeprefix("not computed because ")
        return row | empty | {"verdict": why, "n": None, "seed": None, "measured on": None}
    sample = sample_for(instrument, [repeats_sample(case.sample.repeated), WEIGHTS])
    return row | _numbers(score, case.head) | {
        "n": score.score.n,
        "seed": case.sample.settings.seed if sample.repeated is not None else 0,
        "measured on": SAMPLES[sample.name],
    }  # fmt: skip


def _numbers(score: "HeadScore", head: "Head") -> dict[str, object]:
    facts = standing(score, head)
    return {
        "value": facts.value if facts.rank else None,
        "unit": score.kind.unit,
        "95% interval": score_words.interval(facts).strip() or "none",
        "null": facts.control if facts.rank else None,
        "threshold": score.threshold,
        "rank": f"{facts.rank} of {facts.total}" if facts.rank else None,
        "verdict": score_words.verdict(score, head),
    }
