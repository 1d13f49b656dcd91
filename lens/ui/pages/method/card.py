"""The Method page: the instruments on planted models, one by one, and what was planted."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from lens.analysis.selftest import INSTRUMENTS
from lens.analysis.selftest.instrument import Instrument
from lens.analysis.selftest.instruments import instrument
from lens.analysis.selftest.kept import Examined, examined
from lens.analysis.selftest.result import VERDICTS, Row
from lens.analysis.stats import INTERVAL, MIN_SAMPLES
from lens.planted.plants import NAMES, PLANTS, Plant
from lens.ui import parts
from lens.ui.calls import sweep
from lens.ui.ending import end_page
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.limits import limits
from lens.ui.menu import page_of, present
from lens.ui.pages.method import STYLE, words
from lens.ui.pages.method.intervals import draw_intervals
from lens.ui.pages.method.published import draw_published
from lens.ui.view import ViewState
from lens.ui.widgets import button, number, select

AGAIN = "lens:measured-since"  # when this visitor asked for the scorecard to be measured anew, seconds since 1970
TITLES = {of.name: of.title for of in INSTRUMENTS}
PROMPT = "uncopyrightable uncopyrightable"  # no letter twice within the word: every character repeats once
LINKS = (("Attention", "grid_on"), ("Head scores", "leaderboard"), ("Tokens", "segment"))
COLUMNS = 3
TABLE_HEIGHT = 420  # pixels
MEANINGS = {  # of the columns of numbers
    "value": "What is left beside the control, in the instrument's unit.",
    "CI low": f"Lower end of the interval of the value, {INTERVAL} over sequences; none for weights.",
    "CI high": "Upper end of it.",
    "by hand": "What the weights imply, worked out on paper.",
    "without control": "What a reader without the control would report.",
    "control": "The same on the control.",
    "chance": "What the largest candidate reaches by chance.",
}


def controls(view: ViewState) -> tuple[int, int]:
    """How many random sequences, and their seed."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="method-controls"):
        enough = f"Random sequences of each length; fewer than {MIN_SAMPLES} give neither interval nor verdict."
        seqs = number(view, "seqs", (MIN_SAMPLES, limits().sequences), "Sequences", enough, width=110)
        seed = number(view, "seed", (0, 2**31 - 1), "Seed", "Of the random tokens and rotations.", width=110)
        select(
            view, "instrument", tuple(TITLES), "Instrument", "The row that is explained below the scorecard.",
            format_func=TITLES.get, width=240,
        )  # fmt: skip
        select(view, "plant", NAMES, "Planted model", "The column that is explained below.", width=210)
    return int(seqs), int(seed)


class Card(NamedTuple):
    """All readings, and when the oldest of them was measured."""

    rows: list[Row]
    measured: float  # seconds since 1970


def read_rows(view: ViewState, seqs: int, seed: int, place: DeltaGenerator) -> Card:
    """Every instrument on every planted model, kept from before by this code; else the card fills in ``place``."""
    since = st.session_state.get(AGAIN, 0.0)
    done, missing = sweep(examined, NAMES, seqs, seed, since, show=partial(_fill, place))
    if not done:
        end_page()
    if missing:
        view.note(f"{len(done)} of {len(NAMES)} planted models are examined: showing these")
    return Card(_in_order(done), min(model.measured for model in done.values()))


def draw_measured(card: Card) -> None:
    """When the scorecard was measured, and the button that measures it anew."""
    when = datetime.fromtimestamp(card.measured).strftime("%Y-%m-%d %H:%M")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"Measured on {when} with this code, which gives the same at every run.")
        button("Measure again", "Every instrument on every planted model, now.", _again, key="method:again")


def _again() -> None:
    st.session_state[AGAIN] = time.time()


def draw_card(view: ViewState, rows: Sequence[Row], place: DeltaGenerator) -> None:
    """The scorecard, and what it says."""
    place.html(words.scorecard(rows, INSTRUMENTS, (view["instrument"], view["plant"])))
    red = [row for row in rows if not row.ok]
    if red:
        st.error(f"{len(red)} readings contradict what was planted: do not trust these instruments.")
    models = (
        "Six models whose weights Lens computes from a description, the same at every start; the model chosen above is "
        f"not used here. Random tokens: seed {rows[0].seed}."
    )
    asides = (("The decoy", words.decoy(rows, TITLES)),)
    explain(view, None, Explanation(words.notice(rows, TITLES), words.MISREADING, asides, (("Models", models),)))


def draw_row(view: ViewState, rows: Sequence[Row]) -> None:
    """The numbers of the chosen instrument on the chosen model, and what it is."""
    of = instrument(view["instrument"])
    row = next((row for row in rows if (row.instrument, row.model) == (of.name, view["plant"])), None)
    st.html(f'<div class="lens-plant"><h3>{of.title} on {view["plant"]}</h3></div>')
    if row is None:
        parts.not_computed(f"{view['plant']} has not been examined: the work was cancelled.")
        return
    _draw_metrics(row, of)
    st.markdown(f"**{row.verdict[0].upper()}{row.verdict[1:]}**: {VERDICTS[row.verdict]}. {words.sentence(row)}")
    asides = tuple((title, getattr(of, title.lower())) for title in ("Definition", "Null", "Source"))
    explain(view, None, Explanation((), of.fooled_by, asides, formula=of.formula, where=of.definition))


def _draw_metrics(row: Row, of: Instrument) -> None:
    reading = row.reading
    by_hand = "not known" if row.closed_form is None else words.tidy(row.closed_form)
    with st.container(horizontal=True, key="method-facts"):
        for label, value, help in (
            ("Value", words.tidy(reading.value), parts.metric_help(of.definition, of.unit, of.null, of.source)),
            ("By hand", by_hand, "What the weights imply, worked out on paper."),
            ("Without control", words.tidy(reading.naive), "What would be reported."),
            ("Control", words.tidy(reading.control), of.null),
            ("Chance", words.tidy(reading.threshold), of.null),
            ("n", f"{reading.n}", f"{reading.n} {reading.unit}, seed {row.seed}."),
        ):
            st.metric(label, value, help=help, width="content")


def draw_instruments(view: ViewState, rows: Sequence[Row]) -> None:
    """The instruments in words."""
    st.html(words.instruments_table(INSTRUMENTS))


def draw_numbers(view: ViewState, rows: Sequence[Row]) -> None:
    """All numbers."""
    config = {name: st.column_config.NumberColumn(help=help, format="%.4f") for name, help in MEANINGS.items()}
    alt = f"All {len(rows)} readings with their controls; sortable"
    table = words.numbers(rows, TITLES)
    st.dataframe(table, hide_index=True, height=TABLE_HEIGHT, column_config=config, alt=alt)


def draw_plants(view: ViewState, rows: Sequence[Row]) -> None:
    """One card for each planted model, with links that open it on other pages."""
    for start in range(0, len(PLANTS), COLUMNS):
        for column, plant in zip(st.columns(COLUMNS, gap="small"), PLANTS[start : start + COLUMNS], strict=True):
            with column.container(border=True, height="stretch"):
                st.html(words.plant_card(plant))
                _links(plant)


def _links(plant: Plant) -> None:
    there = {page.title for page in present()}
    query = plant_query(plant)
    with st.container(horizontal=True, gap="small"):
        for title, icon in LINKS:
            if title in there:
                link = {"label": title, "icon": f":material/{icon}:", "query_params": query, "width": "content"}
                st.page_link(page_of(title).file, **link)


def plant_query(plant: Plant) -> dict[str, str]:
    """The address values that open a planted model at its planted head, on a text that repeats."""
    layer, head = plant.heads[0]
    pins = ",".join(f"{layer}.{head}" for layer, head in plant.heads)
    return {"model": plant.name, "prompt": PROMPT, "layer": str(layer), "head": str(head), "pins": pins}


def draw_export(view: ViewState, rows: Sequence[Row]) -> None:
    """The export panel."""
    names, table = ("name", "title", "unit", "definition", "null", "source", "fooled_by"), words.numbers(rows, TITLES)
    payload = {
        "readings": table.to_dict(orient="records"),
        "instruments": [{name: getattr(of, name) for name in names} for of in INSTRUMENTS],
        "plants": [plant._asdict() for plant in PLANTS],
    }
    code = (
        "from lens.analysis.selftest import run\n"
        "from lens.analysis.selftest.card import summary, table\n\n"
        f"rows = run(n_seqs={view['seqs']}, seed={view['seed']})\nprint(table(rows))\nprint(summary(rows))"
    )
    figure = f"<style>{STYLE.read_text('utf-8')}</style>{words.scorecard(rows, INSTRUMENTS)}"
    export(view, Export("method-scorecard", figure, table, payload, code, reads_prompt=False, opens_model=False))


def _fill(place: DeltaGenerator, done: Mapping[str, Examined]) -> None:
    place.html(words.scorecard(_in_order(done), INSTRUMENTS))


def _in_order(done: Mapping[str, Examined]) -> list[Row]:
    return [row for name in NAMES if name in done for row in done[name].rows]


TABS = {
    "plants": ("Planted models", draw_plants),
    "instruments": ("Instruments in words", draw_instruments),
    "published": ("Reference numbers", draw_published),
    "intervals": ("How sure intervals are", draw_intervals),
    "numbers": ("All numbers", draw_numbers),
}
