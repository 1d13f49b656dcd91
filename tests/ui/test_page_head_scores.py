"""The Head scores page: numbers against the analysis itself, odd prompts and addresses, the Python of its export."""

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from lens import HookedTransformer
from lens.analysis.head_scores import head_scores, repeat_scores_of
from lens.analysis.instruments import registry
from lens.analysis.instruments import sample as sample_of
from lens.analysis.instruments.measure import measure
from lens.analysis.instruments.registry import INSTRUMENTS, by_link, instrument
from lens.analysis.random_tokens import repeated_tokens
from lens.analysis.score_summary import strongest
from lens.ui.calls import call_key
from lens.ui.shared import repeats
from lens.ui.shared.patterns import stripe
from tests.ui.conftest import REAL, app_page, bound, fine, llama_folder, local, markdown, printed

open_page = partial(app_page, "head_scores", model=REAL)
HOSTILE = "</script><img src=x onerror=alert(1)> a a"
CONTEXT = 90


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory, tokenizer) -> Path:
    """A shaken LLaMA of three layers of four heads that reads 90 tokens, as a folder."""
    return llama_folder(tmp_path_factory, tokenizer, max_position_embeddings=CONTEXT)


@pytest.fixture
def tiny(tiny_folder):
    """``tiny(on="text", ...)``: the page with the tiny model open, run once."""

    return lambda **query: local("head_scores", tiny_folder, **query).run()


def test_the_default_page_finds_the_induction_heads_and_its_python_says_the_same():
    at = open_page().run()
    shown = fine(at)
    assert at.query_params == {"model": REAL}
    assert "of 270 heads look at the token after an earlier occurrence more than chance allows" in shown
    assert "The strongest is 18.6 with 0.9" in shown
    table = at.dataframe[0].value
    assert len(table) == 270
    assert table["head"][0] == "18.6"
    assert at.number_input(key="view:n").value == 25
    code = at.code[0].value
    assert "n=25, n_seqs=16, seed=0, prepend_bos=True" in code
    value, threshold = printed(code).replace("tensor(", "").replace(")", "").split()
    assert float(value) == pytest.approx(table["score"][0], abs=1e-4)
    assert f"threshold {float(threshold):.3f}" in shown


def test_the_table_is_that_of_the_analysis(tiny, tiny_folder):
    at = tiny(n="20", seqs="17", seed="3", score="duplicate")
    fine(at)
    model = HookedTransformer.from_pretrained(str(tiny_folder))
    want = head_scores(model, repeated_tokens(model, 20, 17, 3, model.bos.prepend))["duplicate"]
    table = at.dataframe[0].value.sort_values(["layer", "index"])
    np.testing.assert_allclose(table["score"], want.score.mean.ravel(), atol=1e-6)
    np.testing.assert_allclose(table["CI low"], want.score.low.ravel(), atol=1e-6)
    np.testing.assert_allclose(table["difference"], want.effect.mean.ravel(), atol=1e-6)
    assert (table["above threshold"].to_numpy() == (want.score.mean.ravel() > want.threshold).numpy()).all()


def test_more_sequences_only_add_parts():
    few, many = (repeats.parts(repeats.Settings(25, seqs, 0, True)) for seqs in (10, 17))
    assert few == [(0, 4), (4, 8), (8, 10)]
    assert many[:2] == few[:2]
    assert [row for part in many for row in range(*part)] == list(range(17))
    assert repeats.parts(repeats.Settings(512, 3, 0, True)) == [(0, 1), (1, 2), (2, 3)]


def test_after_a_cancel_the_finished_sequences_are_shown(tiny, tiny_folder):
    tiny(n="9", seqs="4", seed="7")
    model = HookedTransformer.from_pretrained(str(tiny_folder))
    chosen = repeats.Settings(9, 8, 7, model.bos.prepend)
    params = {"n": 9, "seed": 7, "prepend_bos": model.bos.prepend}
    keys = [call_key(repeat_scores_of, (part, model), params) for part in repeats.parts(chosen)]
    at = open_page(model="local:tiny", n="9", seqs="8", seed="7")
    at.session_state["lens:paths"] = {"local:tiny": str(tiny_folder)}
    at.session_state["lens:cancelled"] = {hashlib.sha256("".join(keys).encode()).hexdigest()[:24]}
    shown = fine(at.run())
    assert "4 of 8 sequences are computed: showing these." in shown
    assert "no interval: 4 sequences" in shown.lower()
    assert any("Cancelled: 1 of 2 parts" in element.value for element in at.markdown)
    next(button for button in at.button if button.label == "Continue").click().run()
    assert "no interval: 8 sequences" in fine(at).lower()


def test_fewer_than_sixteen_sequences_have_no_interval(tiny):
    at = tiny(seqs="3")
    assert "No interval: 3 sequences, at least 16 are needed" in fine(at)
    assert "CI low" not in at.dataframe[0].value.columns


def test_a_block_that_does_not_fit_the_context_is_moved(tiny):
    at = tiny(n="200")
    limit = (CONTEXT - 1) // 2
    assert f"N 200 is outside 2 to {limit} here: showing {limit}" in fine(at)
    assert at.query_params["n"] == str(limit)


@pytest.mark.parametrize("score", ["induction", "duplicate", "previous", "first", "entropy", "entropy_normalised"])
@pytest.mark.parametrize("on", ["random", "text"])
def test_every_score_is_shown(tiny, score, on):
    at = tiny(score=score, on=on, shown="difference", more="scatter", prompt="the cat sat on the mat on the cat")
    shown = fine(at)
    assert "lens-line notice" in shown
    if on == "text" and score in ("first", "entropy", "entropy_normalised"):
        assert "On a prompt this score has no control" in shown
    assert "order the heads alike" in shown


@pytest.mark.parametrize("pair", ["repeat", "control"])
def test_a_sequence_is_chosen_and_its_own_score_is_said(tiny, pair):
    at = tiny(sequence="5", pair=pair, pins="2.1,1.0", layer="1", head="0", n="10")
    fine(at)
    assert "Head 1.0, this sequence alone:" in at.caption[0].value
    assert at.number_input(key="view:sequence").value == 5


def test_the_last_pin_is_shown_when_no_head_is_current(tiny):
    at = tiny(pins="2.1,1.3", n="10")
    assert at.caption[0].value.startswith("Head 1.3,")


def test_the_stripe_is_what_the_score_averages():
    assert stripe("induction", 3, 1)[0] == [(4, 2), (5, 3), (6, 4)]
    assert stripe("duplicate", 3, 1)[0] == [(4, 1), (5, 2), (6, 3)]
    assert stripe("duplicate", 3, 0)[0] == [(4, 1), (5, 2)]
    assert stripe("previous", 4, 0)[0] == [(6, 5), (7, 6)]
    assert stripe("previous", 2, 0)[0] == [(3, 2)]
    assert stripe("first", 2, 0)[0] == [(1, 0), (2, 0), (3, 0)]
    assert stripe("entropy", 2, 0) == ([], "")


def test_the_prompt_is_scored_where_tokens_repeat(tiny, tiny_folder):
    at = tiny(on="text", prompt="cat mat cat mat cat", more="loss")
    shown = fine(at)
    assert "No interval: 1 text, at least 16" in shown
    assert "queries of one text are no test" in shown
    assert "this is measured on random tokens" in shown
    code = at.code[0].value
    value = printed(code).replace("tensor(", "").split(")")[0]
    assert torch.isfinite(torch.tensor(float(value)))


def test_a_prompt_without_repeats_says_so(tiny):
    at = tiny(on="text", prompt="xyzq", bos="off")
    assert "Not computed because no token repeats." in fine(at)
    at = tiny(on="text", prompt="a", bos="off", score="entropy")
    assert "Not computed because no text has two tokens." in fine(at)


def test_an_empty_prompt_matters_only_where_it_is_read(tiny):
    assert "lens-line notice" in fine(tiny(prompt=""))
    assert "The prompt is empty" in tiny(prompt="", on="text").info[0].value


def test_the_longest_prompt_is_cut_to_what_the_model_reads(tiny):
    at = tiny(prompt="cat " * 1000, on="text")
    assert f"tokens: showing the first {CONTEXT}." in fine(at)
    assert f"prepend_bos=None, longest={CONTEXT})" in at.code[0].value


def test_bad_values_become_defaults_with_notes(tiny):
    at = tiny(score="nonsense", on="x", shown="y", pair="z", more="w", sequence="999999", against="?", seed="-1")
    shown = fine(at)
    for sentence in ("Score &#x27;nonsense&#x27; is not offered here", "On must be one of", "Shown must be one of"):
        assert sentence in shown
    assert at.query_params == {"model": "local:tiny"}


def test_an_unknown_model_is_the_default_one_with_a_note():
    at = open_page(model="no-such-model", seqs="1", n="2")
    assert "no-such-model" in fine(at.run())


def test_a_hostile_prompt_is_text(tiny):
    at = tiny(on="text", prompt=HOSTILE)
    assert "<img" not in fine(at)


def test_what_repetition_saves_is_computed_on_the_same_sequences(tiny):
    at = tiny(more="loss", n="10", seqs="4")
    assert "The second copy loses" in fine(at)


def offered(at) -> list[str]:
    """What the list of scores holds, as it is written."""
    return list(bound(at.selectbox, "score").options)


def test_the_list_of_scores_is_the_registry_link_by_link(tiny):
    written = [f"{link.capitalize()} · {one.title}" for link, group in by_link().items() for one in group]
    assert offered(tiny(n="6", seqs="2")) == written
    assert len(written) == len(INSTRUMENTS)


def test_a_newly_registered_instrument_stands_on_the_page(tiny, monkeypatch):
    new = replace(registry.TWO_BACK, name="made_here", title="Made here", link="attends")
    every = (*registry.INSTRUMENTS, new)
    monkeypatch.setattr(registry, "INSTRUMENTS", every)
    at = tiny(n="6", seqs="2", score="made_here", on="text", prompt="cat mat cat mat cat")
    fine(at)
    assert "Attends · Made here" in offered(at)
    assert bound(at.selectbox, "score").value == "made_here"


ALL = [one.name for one in INSTRUMENTS]


@pytest.mark.parametrize("name", ALL)
def test_every_instrument_has_its_numbers_its_notice_and_its_python(tiny, tiny_folder, name):
    at = tiny(score=name, n="8", seqs="16", seed="2", more="scatter")
    shown = fine(at)
    assert bound(at.selectbox, "score").value == name
    model = HookedTransformer.from_pretrained(str(tiny_folder))
    sample = sample_of.repeats(repeated_tokens(model, 8, 16, 2, model.bos.prepend))
    measured = measure(model, [instrument(name)], [sample])
    if name in measured.missing:  # this model's vocabulary has no names
        assert name in ("name_copying", "name_copying_negative")
        assert measured.missing[name].removeprefix("not computed because ") in shown
        return
    want = measured[name]
    assert "lens-line notice" in shown
    assert "order" in shown  # the heads alike, or why that is not said
    layer, head = strongest(want)
    value = printed(at.code[0].value).replace("tensor(", "").split(")")[0]
    assert float(value) == pytest.approx(float(want.score.mean[layer, head]), abs=2e-4)
    assert "from lens.analysis.instruments.measure import measure" in at.code[0].value


@pytest.mark.parametrize("name", ["feeder_v", "ablation_zero", "ov_top1", "direct_effect"])
def test_the_table_of_what_reads_no_pattern_is_that_of_measure(tiny, tiny_folder, name):
    at = tiny(score=name, n="8", seqs="16")
    fine(at)
    model = HookedTransformer.from_pretrained(str(tiny_folder))
    sample = sample_of.repeats(repeated_tokens(model, 8, 16, 0, model.bos.prepend))
    want = measure(model, [instrument(name)], [sample])[name]
    table = at.dataframe[0].value
    assert table["rank"][0] == 1
    assert table["rank"].dropna().is_monotonic_increasing
    table = table.sort_values(["layer", "index"])
    np.testing.assert_allclose(table["score"], want.score.mean.ravel(), atol=1e-5)
    verdicts = table["above threshold" if want.threshold is not None else "above chance"]
    assert verdicts.tolist() == want.above.ravel().tolist()


def test_heads_of_layer_0_have_no_feeders_and_no_rank(tiny):
    at = tiny(score="feeder_k", layer="0", head="1")
    fine(at)
    assert at.caption[0].value == "Head 0.1 has no such number: there is none in layer 0."
    last = at.dataframe[0].value.iloc[-4:]
    assert last["layer"].tolist() == [0] * 4
    assert last["rank"].isna().all()
    assert "not applicable" in at.get("plotly_chart")[0].proto.spec


def test_what_takes_long_says_what_it_is_and_is_measured_on_a_click():
    at = open_page(score="feeder_k", n="9").run()
    shown = fine(at)
    assert not at.get("plotly_chart")
    assert "The largest K-composition with any earlier head" in markdown(at)
    assert "Null: 1/√d_model" in shown
    (button,) = [one for one in at.button if one.label.startswith("Compute, about")]
    button.click().run()
    assert "of 261 heads read by their keys what an earlier head writes more than chance allows" in fine(at)
    assert "not applicable" in at.get("plotly_chart")[0].proto.spec
    assert len(at.dataframe[0].value) == 270


def test_what_a_model_cannot_have_says_why():
    shown = fine(app_page("head_scores", model="lens-1l", score="feeder_q").run())
    assert "Not computed because it needs 2 layers and this model has 1." in shown
    assert "The largest Q-composition with any earlier head" in shown


@pytest.mark.parametrize("name", ["ablation_mean", "direct_effect"])
def test_a_task_can_be_chosen_for_what_is_measured_on_one(tiny, tiny_folder, name):
    pair = '{{"clean": "{0}", "corrupted": "{1}", "answer": "{2}", "wrong": ["{3}"]}}'
    own = "\n".join((pair.format("axb", "ayb", "a", "b"), pair.format("ayb", "axb", "b", "a")))
    at = tiny(score=name, on="task", task="own", own=own)
    shown = fine(at)
    assert "2 pairs of your own" in shown
    value = printed(at.code[0].value).replace("tensor(", "").split(")")[0]
    assert float(value) == pytest.approx(float(at.dataframe[0].value["score"][0]), abs=2e-4)


def test_patterns_are_read_on_held_out_text_too(tiny):
    at = tiny(score="sink", on="shipped")
    assert "16 chapters" in fine(at)
    assert at.number_input(key="view:sequence").value == 0
    assert np.isfinite(float(printed(at.code[0].value).replace("tensor(", "").split(")")[0]))


def test_a_sample_that_an_instrument_cannot_read_is_another_with_a_note(tiny):
    at = tiny(score="ablation_zero", on="text", n="6", seqs="4")
    assert "On &#x27;text&#x27; is not offered here: showing random" in fine(at)
    at = tiny(score="feeder_k", on="text", prompt="")  # weights read no sample, so that choice stays
    fine(at)
    assert at.query_params["on"] == "text"
