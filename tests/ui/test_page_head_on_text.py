"""One head on text: its numbers are those of the analysis, looks are marked and escaped, own texts are read."""

import json
import re
from dataclasses import replace

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from lens import HookedTransformer
from lens.analysis.corpus.head import Look, TokenLift, head_on_text, scores_on_text, selectivity
from lens.analysis.corpus.own_text import own_text
from lens.analysis.corpus.reading import corpus, of_head
from lens.analysis.instruments.sample import shipped_text
from lens.analysis.names import Head
from lens.figures.theme import number
from lens.ui.export import _plain
from lens.ui.pages.head import on_text as page
from lens.ui.pages.head import text_words
from lens.ui.pages.head.looks import looks_html
from lens.ui.pages.head.text_sample import FAULT, TEXT, _keep
from lens.ui.store import to_numpy
from tests.ui.conftest import app_page, fine, printed, python_of

HEAD = Head(1, 2)
HERE = {"layer": "1", "head": "2", "n": "6", "seqs": "4", "on_text": "on", "texts": "16", "length": "24"}
HOSTILE = "</script><img src=x onerror=alert(1)> & <b>so it goes</b>, and so it goes. " * 8


@pytest.fixture(scope="module")
def model() -> HookedTransformer:
    return HookedTransformer.from_pretrained("lens-2l")


def opened(own: str = "", **query: str) -> AppTest:
    at = app_page("head", model="lens-2l", **(HERE | query))
    if own:
        at.session_state[TEXT] = own
    return at.run()


def numbers_of(at: AppTest) -> pd.DataFrame:
    return next(one.value for one in at.dataframe if "random tokens" in one.value).set_index("number")


def test_the_numbers_are_those_of_the_analysis_and_the_program_prints_them(model):
    at = opened()
    shown = fine(at)
    sample = shipped_text(model, 16, 24)
    read = corpus(model, sample)
    one, scores = head_on_text(of_head(read, HEAD), sample.unit), scores_on_text(read.readings, sample)
    numbers = numbers_of(at)
    for name, score in scores.scores.items():
        row = numbers.iloc[list(scores.scores).index(name)]
        assert row["on the text"] == pytest.approx(float(score.score.mean[HEAD]), abs=1e-5)
        assert row["alike"] == pytest.approx(score.uniform, abs=1e-5)
    assert numbers["random tokens"].loc["Induction"] == pytest.approx(instruments(at)["value"]["Induction"])
    assert numbers["your prompt"].loc["First token (BOS)"] > 0
    beside = instruments(at)["on text"]
    assert beside["Previous token"] == pytest.approx(numbers["on the text"]["Previous token"])
    assert pd.isna(beside["Ablation, zero"])
    assert shown.count("lens-strip b.on") >= 10
    assert f"of {one.n_queries:,} queries" in shown
    chosen = selectivity(scores["induction"], HEAD)
    assert f"Induction: {number(chosen.target)} to the marked keys, {number(chosen.others)} to as many" in shown
    lines = printed(python_of(at)[-1]).splitlines()
    assert [float(line.split()[-1]) for line in lines if line.startswith("back")] == pytest.approx(
        one.shares.mean.tolist(), abs=1e-4
    )
    assert sum(line.startswith("look ") for line in lines) == 10


def instruments(at: AppTest) -> pd.DataFrame:
    return next(one.value for one in at.dataframe if "instrument" in one.value and "link" in one.value).set_index(
        "instrument"
    )


def test_it_is_folded_and_costs_nothing_until_it_is_opened():
    at = opened(on_text="off")
    fine(at)
    assert "on text" not in instruments(at)
    assert len(at.dataframe) == 2


def test_looks_of_every_tenth(model):
    at = opened(looks="tenths")
    fine(at)
    headings = [one.value for one in at.markdown if one.value.startswith("**Tenth")]
    assert len(headings) == 10
    assert headings[0].startswith("**Tenth 10 (highest)**")


def test_a_text_of_ones_own_is_escaped(model):
    at = opened(HOSTILE, corpus="own", texts="4")
    shown = fine(at)
    assert "<img" not in shown
    assert "onerror" not in re.sub(r'title="[^"]*"', "", shown) or "&lt;" in shown
    assert "pieces of your text" in shown
    sample = own_text(model, HOSTILE, 4, 24)
    read = head_on_text(of_head(corpus(model, sample), HEAD), sample.unit)
    assert f"of {read.n_queries:,} queries" in shown
    assert "own_text(model, " in python_of(at)[-1]
    assert "look 0" in printed(python_of(at)[-1])


def test_without_a_text_or_with_too_short_a_one_it_says_what_to_do():
    assert "there is no text of yours yet" in fine(opened(corpus="own"))
    assert "your text is too short: no piece of 4 tokens in 1 character; give" in fine(opened("a", corpus="own"))


def test_a_text_longer_than_allowed_is_not_read(monkeypatch):
    monkeypatch.setenv("LENS_HOSTED", "1")
    state: dict[str, str] = {}
    monkeypatch.setattr("lens.ui.pages.head.text_sample.st.session_state", state)
    _keep("x" * 60_001)
    assert state == {TEXT: "", FAULT: "60,001 characters were given; at most 60,000 are read."}


def test_an_empty_prompt_leaves_the_text():
    at = opened(prompt="")
    shown = fine(at)
    assert "Of all other distances most goes" in shown
    assert numbers_of(at)["your prompt"].isna().all()


def test_both_files_hold_every_number_by_its_name(model):
    sample = shipped_text(model, 4, 24)
    found = to_numpy(head_on_text(of_head(corpus(model, sample), HEAD), sample.unit))
    of = page.OnText(sample, HEAD, found, None, [], {})
    plain = json.loads(json.dumps(_plain(page.payload_of(of))))
    assert plain["looks"][0] == found.top[0]._asdict()
    assert plain["shares"][0]["label"] == "first token"
    assert len(plain["tenths"]["edges"]) == 11
    rows = page.everything(model, of)
    assert rows[rows["kind"] == "share"]["value"].sum() == pytest.approx(1)
    assert (rows["kind"] == "look").sum() == 10
    assert rows[rows["kind"] == "lift of key"]["n"].min() >= 5


def test_what_stands_between_a_query_and_a_far_key_is_said(model):
    sample = shipped_text(model, 1, 60)
    near, far = (looks_html(model, sample, [Look(0, 40, key, 0.5)]) for key in (38, 5))
    assert "tokens ⋯" not in near
    assert "⋯ 20 tokens ⋯" in far  # the key at 5 with 4 on each side, the query at 40 with 10 before it
    assert near.count('class="on') == far.count('class="on') == 1
    assert "chapter 1, from position 40 to position 5, 35 back: <b>0.50</b>" in far
    assert "to itself" in looks_html(model, sample, [Look(0, 7, 7, 0.5)])


def test_a_text_of_ones_own_is_not_kept_on_disk_and_its_pieces_give_no_interval(tmp_path, monkeypatch):
    monkeypatch.setenv("LENS_CACHE", str(tmp_path))
    at = opened(HOSTILE.replace("goes", "went"), corpus="own", texts="16", length="8")
    shown = fine(at)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith("corpus")]
    assert "1 document; pieces of one document are not independent, so no interval and no verdict" in shown
    assert set(numbers_of(at)["95% interval"]) == {"none"}
    assert set(numbers_of(at)["verdict on the text"]) == {"no test"}
    assert "times as much" not in shown


def test_only_tokens_above_chance_are_named_and_as_the_largest_of_how_many(model):
    sample = shipped_text(model, 2, 24)
    sample = replace(sample, documents=(0, 0))
    read = head_on_text(of_head(corpus(model, sample), HEAD), sample.independent, documents=sample.documents)
    token = int(sample.texts.tokens[0, 5])
    known = read._replace(
        from_tokens=[TokenLift(token, 2.0, 5), TokenLift(token, 1.5, 6)], to_tokens=[TokenLift(token, 0.9, 5)]
    )
    said = text_words.tokens(model, known, sample)
    assert said.count("×") == 2
    assert "; at" not in said
    assert "(2.0×, n = 5 in 1 document)" in said
    assert said.endswith("the largest of 2 tokens in this sample, not tested.")
    none = known._replace(from_tokens=known.to_tokens)
    assert text_words.tokens(model, none, sample).startswith("No token gets more")
