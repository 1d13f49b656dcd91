"""The Patching page: numbers against the engine, planted truth, a visitor's own pairs, odd addresses, its Python."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from lens import HookedTransformer
from lens.analysis.interventions import Experiment, Grid, Intervention, Metric, path_patch, run_sweep
from lens.analysis.interventions import Path as Route
from lens.analysis.interventions.tasks import parse_pairs, to_pairs
from lens.analysis.stats import MIN_SAMPLES
from lens.figures.theme import number as said
from lens.ui.shared.task_fields import task_fields
from tests.ui.conftest import app_page, bound, fine, html, local

PLANTED = {"model": "planted-induction", "task": "repeated"}
MANY = 16  # pairs: fewer carry no verdict
GOOD = '{"clean": "ab ab cab", "corrupted": "ab ax cab", "answer": "e", "wrong": ["f"]}'
OTHER = '{"clean": "go ab cab", "corrupted": "go xb cab", "answer": "g", "wrong": ["h"]}'
LONGER = '{"clean": "ab", "corrupted": "abc", "answer": "e", "wrong": ["f"]}'
LONG_ANSWER = '{"clean": "ab", "corrupted": "ac", "answer": "efg", "wrong": ["f"]}'
HOSTILE = '{"clean": "<img src=x>a", "corrupted": "<img src=x>b", "answer": "e", "wrong": ["f"]}'


@pytest.fixture(scope="module")
def model(tiny_folder) -> HookedTransformer:
    return HookedTransformer.from_pretrained(str(tiny_folder))


def opened(**query: str) -> AppTest:
    return app_page("patching", **query).run()


@pytest.fixture
def tiny(tiny_folder):
    """``tiny(own=…, cells="head")``: the page with the tiny model and pairs of one's own, past the ability check."""

    def build(**query: str) -> AppTest:
        at = local("patching", tiny_folder, **{"task": "own", "own": f"{GOOD}\n{OTHER}"} | query).run()
        for button in at.button:
            if button.label == "Go on anyway":
                return button.click().run()
        return at

    return build


def with_columns(at: AppTest, *names: str):
    return next(table.value for table in at.dataframe if set(names) <= set(table.value.columns))


def test_the_planted_information_sits_at_the_token_that_differs():
    at = opened(**PLANTED, pairs="16")
    shown = fine(at)
    assert "The model does this task: the right answer leads by 10.00 logits" in shown
    assert "falls by 20.00 logits" in shown
    assert "the largest cell is in layers 0 to 1 at 10" in shown
    assert "(up to 1.00 in layer 0)" in shown
    assert "The 95% interval excludes 0 in 2 of the 2 cells that change it at all" in shown
    assert "16 pairs, 2000 resamples" in shown
    assert "r = 1.000 over 40 cells" in shown
    table = with_columns(at, "before", "after", "rank")
    (one, other), (before, after) = (
        table["token"].iloc[:2],
        (table[name].iloc[:2].tolist() for name in ("before", "after")),
    )
    assert one != other
    assert sorted(before) == pytest.approx([0, 1], abs=0.01)
    assert after == pytest.approx(before[::-1], abs=0.01)


@pytest.mark.parametrize("part", ["z", "v"])
@pytest.mark.parametrize("into", ["corrupted", "clean"])
def test_the_planted_head_is_found_by_cells_and_by_its_direct_path(part, into):
    shown = fine(opened(**PLANTED, cells="head", part=part, into=into, more="path"))
    assert "Largest: head 1.2 (1.00). 7 of 8 cells have less" in shown
    assert "Strongest direct senders into the final stream: head 1.2" in shown


def test_its_python_says_the_same():
    at = opened(**PLANTED, cells="head", shown="raw")
    fine(at)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(at.code[0].value, {})
    effects = json.loads(out.getvalue().split("effect:")[1].split("logits")[0])
    assert effects[1][2] == pytest.approx(20, abs=1e-3)
    assert np.abs(np.array(effects).ravel()[:6]).max() < 1e-3


@pytest.mark.parametrize(
    ("cells", "field", "site", "grid"),
    [
        ("position", {"stream": "attn_out"}, "attn_out", Grid(("layer", "pos"))),
        ("head", {"part": "k"}, "k", Grid(("layer", "head"))),
        ("one", {"part": "pattern", "layer": "1"}, "pattern", Grid(("head", "pos"), layer=1)),
    ],
)
def test_every_pair_has_the_value_of_the_engine(tiny, model, cells, field, site, grid):
    at = tiny(cells=cells, cell="1.1", more="prompts", into="clean", metric="log_prob", **field)
    assert "n = 2." in fine(at)
    pairs = to_pairs(model, parse_pairs(f"{GOOD}\n{OTHER}"))
    want = run_sweep(model, Experiment(pairs, Intervention(site, into="clean"), grid, Metric("log_prob")))
    table = with_columns(at, "clean", "other run")
    assert table["after"].to_numpy() == pytest.approx(want.values[1, 1].numpy(), abs=1e-5)
    assert table["before"].to_numpy() == pytest.approx(want.base.numpy(), abs=1e-5)
    assert table["other run"].to_numpy() == pytest.approx(want.other.numpy(), abs=1e-5)
    assert "share" not in table  # a single pair has no interval, so nothing to divide by


def test_direct_paths_end_in_the_pinned_heads_and_in_their_shared_keys(tiny, model):
    at = tiny(more="path", input="k", pins="2.3,1.0")
    assert "Strongest direct senders into the keys of 2.1, 1.0" in fine(at)
    pairs = to_pairs(model, parse_pairs(f"{GOOD}\n{OTHER}"))
    found = path_patch(model, Route(pairs, "k", ((2, 1), (1, 0)), into="corrupted"))
    best = max(abs((part - found.base).mean(-1)).max().item() for part in (found.heads, found.mlps, found.embed[None]))
    table = with_columns(at, "sender")
    assert abs(table.iloc[0, 1]) == pytest.approx(best, abs=1e-5)


def test_typed_receivers_stay_while_senders_are_pinned(tiny, model):
    at = tiny(more="path", input="q", receivers="2.3", pins="1.0")
    shown = fine(at)
    assert "Strongest direct senders into the queries of 2.3" in shown
    pairs = to_pairs(model, parse_pairs(f"{GOOD}\n{OTHER}"))
    found = path_patch(model, Route(pairs, "q", ((2, 3),), into="corrupted"))
    together = float((found.together - found.base).mean())
    assert f"All senders at once do {said(together)} logits" in shown
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(at.code[0].value, {})
    assert float(out.getvalue().split("all senders at once:")[1].split()[0]) == pytest.approx(together, abs=1e-5)
    assert "the receivers cannot be read" in fine(tiny(more="path", input="q", receivers="2.3, x"))


def own_pairs(tiny_folder: Path, lines: list[str]) -> AppTest:
    at = local("patching", tiny_folder, task="own", own="\n".join(lines))
    return at.run()


def test_a_model_that_fails_at_the_task_is_stopped_before_anything_is_patched(tiny_folder):
    """Right and wrong exchanged in every other pair: no side leads, and the two runs differ by nothing on average."""
    weak = GOOD.replace('"e"', '"?"').replace('"f"', '"e"').replace('"?"', '"f"')
    at = own_pairs(tiny_folder, [GOOD, weak] * (MANY // 2))
    shown = fine(at)
    assert "The model does not do this task" in shown
    assert "lens-line notice" not in shown
    (go_on,) = [button for button in at.button if button.label == "Go on anyway"]
    assert "lens-line notice" in fine(go_on.click().run())


def test_two_pairs_are_drawn_without_a_verdict(tiny_folder):
    shown = fine(own_pairs(tiny_folder, [GOOD, OTHER]))
    assert "With 2 pairs, at least 16 are needed, it cannot be said whether the model does this task" in shown
    assert "lens-line notice" in shown
    assert "Not shown as asked" in shown


def test_pages_start_with_a_task_that_the_model_does():
    at = opened(model="lens-2l")
    assert "The model does this task" in fine(at)
    assert bound(at.selectbox, "task").value == "repeated"
    assert "task" not in at.query_params
    assert "does not do this task" in fine(opened(model="lens-2l", task="ioi"))


def test_few_pairs_may_be_patched_while_enough_say_whether_the_model_can():
    shown = fine(opened(**PLANTED, pairs="2"))
    assert "The model does this task" in shown
    assert "16 pairs" in shown
    assert "n = 2." in shown


def test_a_page_starts_with_as_many_pairs_as_a_verdict_needs():
    defaults = {field.name: field.default for field in task_fields(("ioi",))}
    assert defaults["pairs"] == MIN_SAMPLES


@pytest.mark.parametrize("into", ["corrupted", "clean"])
def test_its_python_has_the_shares_and_intervals_of_the_page(into):
    at = opened(**PLANTED, into=into, seed="4", more="approximation")
    shown = fine(at)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(at.code[0].value, {})
    value, low, high = (
        np.array(one) for one in json.loads(out.getvalue().split("share of the gap:")[1].split("\n")[0])
    )
    assert value.max() == pytest.approx(1, abs=1e-4)
    assert (low <= value + 1e-9).all()
    assert (value <= high + 1e-9).all()
    assert "seed=4" in at.code[0].value or "sweep, 4)" in at.code[0].value
    assert "r = 1.000 over 40 cells" in out.getvalue()
    assert "resamples, seed 4" in shown


def test_pairs_that_cannot_be_patched_are_refused_with_the_way_out(tiny):
    at = tiny(own="\n".join([GOOD, LONGER, LONG_ANSWER, OTHER]), aligned="on")
    shown = fine(at)
    lengths, answer = (warning.value for warning in at.warning[:2])
    assert "Pair 2" in lengths
    assert "Choose words with as many tokens on both sides" in lengths
    assert "Pair 3" in answer
    assert "an answer must be one token" in answer
    assert "2 pairs of your own, 2 left out" in shown
    assert shown.count('lens-aligned"') == 4  # two refused, two that go on
    assert "≠" in shown
    only_bad = tiny(own=LONGER)
    fine(only_bad)
    assert "None of the pairs can be patched" in only_bad.info[0].value


def test_no_pairs_are_an_empty_state_and_a_broken_line_a_sentence(tiny):
    assert "No pairs yet. Write one a line" in fine(tiny(own=" "))
    at = tiny(own=f"{GOOD}\nonly | two")
    assert not at.exception
    assert "Line 2 has 2 fields" in at.error[0].value
    assert at.text_area(key="view:own").value.endswith("only | two")


def test_own_pairs_are_one_text_for_patching_and_ablation(tiny):
    at = tiny()
    bound(at.text_area, "own").set_value(OTHER).run()
    at.switch_page("pages/ablation.py").run()
    bound(at.selectbox, "task").select("own").run()
    assert not at.exception
    assert bound(at.text_area, "own").value == OTHER
    assert at.query_params["own"] == OTHER
    bound(at.text_area, "own").set_value(GOOD).run()
    at.switch_page("pages/patching.py").run()
    assert bound(at.text_area, "own").value == GOOD


def test_the_metric_is_called_by_what_the_pairs_allow(tiny):
    at = tiny()
    assert bound(at.selectbox, "metric").proto.options[0] == "Task's own: logit difference"
    before = bound(at.selectbox, "metric").key
    bound(at.text_area, "own").set_value(GOOD.replace(', "wrong": ["f"]', "")).run()
    after = bound(at.selectbox, "metric")
    assert after.proto.options[0] == "Task's own: log-probability"
    assert after.key != before  # the same widget would go on showing the old words


def test_more_pairs_than_an_address_holds_are_cut_with_a_sentence(tiny):
    at, many = tiny(), "\n".join([GOOD] * 200)
    bound(at.text_area, "own").set_value(many).run()
    assert not at.exception
    assert f"Only the first 8,000 of {len(many):,} characters of your pairs are kept" in html(at)
    assert len(at.query_params["own"]) == 8000


def test_a_strangers_pair_is_text(tiny):
    shown = fine(tiny(own=HOSTILE, aligned="on"))
    assert "<img" not in shown


def test_prompts_of_different_lengths_say_so(tiny):
    short = '{"clean": "abc", "corrupted": "axc", "answer": "e", "wrong": ["f"]}'
    at = tiny(own=f"{GOOD}\n{short}", cell="0.7", prompt_pair="2")
    shown = fine(at)
    assert "The prompts differ in length" in shown
    assert "Not computed because pair 2 has only" in shown


def test_what_a_metric_does_not_allow_is_said(tiny):
    assert "a rank has no gradient" in fine(tiny(metric="rank"))
    assert "is not offered for single paths" in fine(tiny(metric="kl", more="path"))
    without = GOOD.replace(', "wrong": ["f"]', "")
    at = tiny(own=f"{without}\n{OTHER}", metric="logit_diff")
    shown = fine(at)
    assert "Not every pair has a wrong answer: none is used" in shown
    assert "metric" not in at.query_params  # a logit difference needs a wrong answer
    assert "(nats)" in shown


def test_bad_values_become_defaults_with_notes():
    bad = {"into": "x", "cells": "y", "stream": "z", "part": "resid_pre", "shown": "q", "cell": "a.b", "more": "v"}
    shown = fine(opened(**PLANTED, **bad, pairs="0", block="1", metric="t", prompt_pair="0"))
    for sentence in ("Into must be one of", "Cell are written like", "Pairs 0 is outside", "Block 1 is outside"):
        assert sentence in shown
    at = opened(**PLANTED, cell="7.7", prompt_pair="99", stream="mlp_out")
    shown = fine(at)
    assert "This map has no cell 7.7" in shown
    assert "Prompt_pair 99.0 is outside 1 to 16" in shown or "Prompt_pair 99 is outside 1 to 16" in shown
    assert "cell" not in at.query_params


def test_a_task_that_the_tokenizer_cannot_write_names_the_way_out():
    at = opened(model="planted-induction", task="ioi")
    assert not at.exception
    assert "Use repeated random tokens, or your own pairs" in at.error[0].value
    at = bound(at.selectbox, "task").select("repeated").run()
    assert at.query_params["task"] == ["repeated"] or at.query_params["task"] == "repeated"
    assert "lens-line notice" in fine(at)


def test_a_hosted_visitor_gets_fewer_pairs_and_runs(monkeypatch):
    monkeypatch.setenv("LENS_HOSTED", "1")
    at = opened(**PLANTED, pairs="64")
    assert "Pairs 64 is outside 1 to 16" in fine(at)
    assert bound(at.number_input, "pairs").value == 16


def test_two_bos_in_pairs_of_ones_own_are_said(tiny):
    twice = "In your own pairs, &lt;bos&gt; stands twice at the beginning"
    pairs = f"{GOOD}\n{OTHER}"
    for side in ("clean", "corrupted"):
        pairs = pairs.replace(f'"{side}": "', f'"{side}": "<bos>')
    assert twice in fine(tiny(own=pairs))
    assert twice not in fine(tiny())
