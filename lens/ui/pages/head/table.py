"""Every instrument of the registry on one head: its number, chance, its rank, and what that is worth."""

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import streamlit as st

from lens.analysis.instruments.measure import sample_for
from lens.analysis.instruments.sample import WEIGHTS
from lens.analysis.instruments.sample import repeats as repeats_sample
from lens.analysis.score_summary import standing
from lens.ui.shared import score_words
from lens.ui.shared.every_instrument import Measured, measure_every
from lens.ui.shared.instrument_list import grouped

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamlit.delta_generator import DeltaGenerator

    from lens.analysis.instruments.instrument import Instrument
    from lens.analysis.names import Head
    from lens.analysis.score_results import HeadScore, HeadScores
    from lens.analysis.score_summary import Standing
    from lens.ui.shared.chain.link import Case

SAMPLES = {"repeats": "the repeats", "weights": "the weights"}


class Shown(NamedTuple):
    """The table as it is drawn."""

    rows: pd.DataFrame
    measured: Measured
    draw: "Callable[[HeadScores], pd.DataFrame]"  # again, with what a text that was read meanwhile gives


def show_table(case: "Case", on_text: "HeadScores | None") -> Shown:
    """A row per instrument, links together; what is quick at once, all others on one click. ``on_text``: beside it."""
    st.markdown("##### Every instrument")
    place, offer = st.empty(), st.empty()
    draw = partial(_draw, place, case, on_text=on_text)
    measured = measure_every(case.view, case.model, case.sample, offer, draw)
    return Shown(draw(measured), measured, partial(_draw, place, case, measured))


def _draw(place: "DeltaGenerator", case: "Case", measured: Measured, on_text: "HeadScores | None") -> pd.DataFrame:
    rows = table(case, measured, on_text)
    show_number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    config = {
        "link": text(help="Which claim of the chain it is evidence for.", width=70),
        "instrument": text(help="Head scores draws it for all heads and defines it.", width=190),
        "value": show_number(format="%.3f", help="Mean over its sample, in its unit."),
        "95% interval": text(help="Over the sequences or pairs; weights give a number exactly."),
        "on text": show_number(format="%.3f", help="The same on the text below, mean over its documents."),
        "on text, 95%": text(help="Over the documents."),
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


def table(case: "Case", measured: Measured, on_text: "HeadScores | None" = None) -> pd.DataFrame:
    """A row per instrument of the registry, links in their order."""
    rows = pd.DataFrame([_row(case, measured, instrument) for instrument in grouped()])
    if on_text is not None:
        facts = [_text_facts(on_text, instrument, case.head) for instrument in grouped()]
        at = list(rows.columns).index("null")
        rows.insert(at, "on text", [None if one is None else one.value for one in facts])
        said = ["" if one is None else score_words.interval(one).strip() or "none" for one in facts]
        rows.insert(at + 1, "on text, 95%", said)
    return rows


def _text_facts(on_text: "HeadScores", instrument: "Instrument", head: "Head") -> "Standing | None":
    score = on_text.scores.get(instrument.name)
    return None if score is None else standing(score, head)


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
