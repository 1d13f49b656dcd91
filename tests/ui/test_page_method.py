"""The Method page: every reading beside what was planted, links that open the plants, an export that computes again."""

import contextlib
import io
import re
import time
from collections import Counter
from datetime import datetime
from html import escape
from typing import NamedTuple

import pytest
from streamlit.testing.v1 import AppTest

from lens.analysis.published import MODELS, PUBLISHED
from lens.analysis.selftest import INSTRUMENTS, SEED, SEQUENCES, kept
from lens.analysis.selftest.result import FOUND, INSIDE, REJECTED, Row
from lens.load.catalogue import is_local
from lens.planted.plants import NAMES, PLANTS, plant
from lens.results import load, result_key
from lens.ui.fields import common_fields, parse
from lens.ui.limits import AT_HOME
from lens.ui.pages.method import published, words
from lens.ui.pages.method.card import plant_query
from tests.ui.conftest import app_page, fine, html, markdown, python_of

TITLES = {one.name: one.title for one in INSTRUMENTS}


class Exported(NamedTuple):
    """What the exported Python of the default page computed and printed."""

    rows: tuple[Row, ...]
    printed: str


@pytest.fixture(scope="module")
def exported() -> Exported:
    code = python_of(open_page())[-1]
    assert "from_pretrained" not in code
    names, out = {}, io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, names)
    return Exported(names["rows"], out.getvalue())


@pytest.fixture(scope="module")
def rows(exported):
    return exported.rows


def open_page(**query: str) -> AppTest:
    return app_page("method", **query).run()


def test_the_scorecard_shows_every_reading():
    at = open_page()
    shown = fine(at)
    count = len(INSTRUMENTS) * len(NAMES)
    verdicts = Counter(expected.verdict for one in INSTRUMENTS for expected in one.expected.values())
    told = f"{verdicts[FOUND]} found, {verdicts[REJECTED]} rejected, {verdicts[INSIDE]} inside the null."
    assert f"{count} of {count} readings are as planted: {told}" in shown
    assert "Without a control 12 of them would be believed, such as the induction score of planted-offset: 1." in shown
    card = re.search(r'<div class="lens-card">.*?</div>', shown, re.DOTALL)[0]
    assert card.count("<td") == count
    assert card.count('class="rejected chosen"') == 1
    assert "WRONG" not in shown
    assert "not computed yet" not in shown
    assert {metric.label: metric.value for metric in at.metric} == {
        "Value": "0", "By hand": "0", "Without control": "1.00", "Control": "1.00", "Chance": "1.00", "n": "16"
    }  # fmt: skip
    assert "without its control 1.00, on the control 1.00" in markdown(at)
    assert "A red row proves a fault" in shown
    assert all(one.name in shown for one in PLANTS)


def test_the_scorecard_says_when_it_was_measured_and_a_button_measures_it_again():
    at = open_page()
    fine(at)
    start = time.time()
    next(one for one in at.button if one.label == "Measure again").click().run()
    fine(at)
    keys = [result_key("selftest", kept.__name__, model=name, n_seqs=SEQUENCES, seed=SEED) for name in NAMES]
    assert all(load(key).facts["measured"] > start for key in keys)
    line = next(one.value for one in at.caption if one.value.startswith("Measured on"))
    assert line.endswith("with this code, which gives the same at every run.")
    assert line.removeprefix("Measured on ") >= datetime.fromtimestamp(start).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"instrument": "ablation_one", "plant": "planted-redundant"}, "1.0: 0.05"),
        ({"instrument": "ablation_all", "plant": "planted-redundant"}, "1.0 and 1.2: 9.98"),
        ({"instrument": "composition", "plant": "planted-induction"}, "among the 4 senders of its layer"),
        ({"instrument": "copying", "plant": "planted-anticopy"}, "1.2: −1.00"),
    ],
)
def test_the_address_says_which_reading_is_explained(query, text):
    at = open_page(**query)
    shown = fine(at)
    assert text in markdown(at)
    assert at.query_params == query
    one = next(one for one in INSTRUMENTS if one.name == query["instrument"])
    for words_of_it in (one.source, one.fooled_by[:40]):
        assert escape(words_of_it) in shown


def test_instruments_and_numbers(rows):
    assert all(one.title in html(at) for at in [open_page(more="instruments")] for one in INSTRUMENTS)
    at = open_page(more="intervals")
    assert "95% intervals hold the mean in" in html(at)
    at = open_page(more="numbers")
    fine(at)
    table = at.dataframe[0].value
    assert len(table) == len(rows)
    assert table["as planted"].all()
    assert table["value"].tolist() == pytest.approx([row.reading.value for row in rows], abs=1e-6)
    assert set(table["seed"]) == {0}


@pytest.mark.parametrize("query", [{"instrument": "none-such"}, {"plant": "gpt2"}, {"seed": "-1"}, {"more": "<b>"}])
def test_bad_addresses_become_notes(query):
    at = open_page(**query)
    assert "lens-notes" in fine(at)
    assert "readings are as planted" in html(at)


def test_a_changed_seed_changes_the_tokens_not_the_verdicts():
    shown = fine(open_page(seed="5"))
    n_rows = len(INSTRUMENTS) * len(NAMES)
    assert f"{n_rows} of {n_rows} readings are as planted" in shown
    assert "Random tokens: seed 5." in shown


def test_the_model_of_the_header_is_left_alone():
    at = open_page(model="gpt2")
    assert "readings are as planted" in fine(at)
    assert "can be fetched" not in markdown(at)


def test_the_python_of_the_export_computes_the_card_again(exported):
    n_rows = len(INSTRUMENTS) * len(NAMES)
    assert f"{n_rows} of {n_rows} rows as planted" in exported.printed


class TestWords:
    def test_one_sentence_says_what_happened_to_the_decoy(self, rows):
        told = words.decoy(rows, TITLES)
        assert told.count(". ") == 0
        assert told.endswith("it is not taken for induction.")
        here = [row for row in rows if row.model == "planted-decoy"]
        assert all(TITLES[row.instrument].lower() in told for row in here)
        wrong = [row._replace(problem="found, but nothing is there") if row is here[-1] else row for row in rows]
        assert f"WRONG about it: {TITLES[here[-1].instrument]}." in words.decoy(wrong, TITLES)
        assert words.decoy([], TITLES) == ""

    def test_a_wrong_reading_is_told_everywhere(self, rows):
        bad = rows[0]._replace(verdict="rejected", problem="rejected, but it must be found")
        changed = [bad, *rows[1:]]
        assert "WRONG: Induction score on planted-induction: rejected, but" in words.notice(changed, TITLES)
        assert f"{len(rows) - 1} of {len(rows)}" in words.notice(changed, TITLES)
        card = words.scorecard(changed, INSTRUMENTS)
        assert card.count('class="rejected red"') == 1
        assert card.count("<b>WRONG") == 1
        assert words.sentence(bad).endswith("WRONG: rejected, but it must be found.")

    def test_what_is_not_computed_says_so(self, rows):
        part = [row for row in rows if row.model == "planted-decoy"]
        card = words.scorecard(part, INSTRUMENTS)
        assert card.count("not computed yet") == len(INSTRUMENTS) * (len(NAMES) - 1)

    def test_text_is_escaped(self, rows):
        hostile = rows[0]._replace(problem="<img src=x onerror=alert(1)>\"'")
        assert "<img" not in words.scorecard([hostile], INSTRUMENTS)

    def test_rounding_leaves_no_minus_before_zero(self):
        assert [words.tidy(value) for value in (-1e-9, 0.0, 0.5, -10.0)] == ["0", "0", "0.50", "−10.00"]


class TestOtherPages:
    """The links of the page: each plant opens elsewhere at its planted head."""

    def test_links_are_addresses(self):
        for one in PLANTS:
            values, notes = parse(common_fields(AT_HOME), plant_query(one))
            assert notes == []
            assert values["model"] == one.name
            assert values["pins"] == one.heads

    @pytest.mark.parametrize(
        ("page", "text"),
        [
            ("attention", "planted-induction"),
            ("head_scores", "every head of planted-induction"),
            ("tokens", "planted-induction"),
        ],
    )
    def test_pages_open_a_planted_model(self, page, text):
        shown = fine(app_page(page, **plant_query(plant("planted-induction"))).run())
        assert "planted-induction" in shown
        assert "Weights written by hand" in shown

    def test_home_follows_the_planted_head(self):
        at = app_page("", model="planted-induction").run()
        shown = fine(at)
        assert "rank 1 of 8" in shown
        assert "Head 1.2 reads" in markdown(at)


def test_published_numbers_stand_beside_what_is_computed_here():
    at = open_page(more="published")
    assert "2 of 2 numbers that were computed here agree with the reference." in fine(at)
    table = at.dataframe[0].value
    planted = table[table["model"] == "planted-induction"]
    assert planted["is it so?"].tolist() == ["agrees", "agrees"]
    away = [name for name in MODELS if not is_local(name)]
    assert set(table.loc[table["model"].isin(away), "is it so?"]) <= {"not on this machine"}
    atlas = at.dataframe[1].value
    mover = atlas[(atlas["model"] == "gpt2") & (atlas["head"] == "9.9")]
    assert mover["known as"].tolist() == ["name mover"]
    assert "Wang et al. 2022" in mover["source"].item()


def test_a_number_that_differs_is_named():
    one = next(one for one in PUBLISHED if one.model == "attn-only-2l")
    found = {"attn-only-2l": (one.value + 0.1,)}
    assert published.published_rows(found).set_index("number").loc[one.what, "is it so?"] == "DIFFERS"
    assert f"They differ: attn-only-2l, {one.what}: 0.595, reference 0.495" in published.published_words(found)
