"""The Predictions page: its numbers against the model, what it writes beside its twin, odd prompts and addresses."""

import io
from functools import partial

import numpy as np
import pytest
import torch

from lens import HookedTransformer
from lens.analysis.answer.generation import Change, answer_direction, mean_z, repeated_share, steering, write
from lens.analysis.answer.predictions import predict
from lens.analysis.names import Head
from lens.generate import Sampling
from lens.ui.calls import result_store
from lens.ui.fields import DEFAULT_MODEL, DEFAULT_PROMPT
from lens.ui.labels import token_labels
from lens.ui.pages.predictions.writing import strip_of
from lens.ui.store import to_numpy
from tests.ui.conftest import app_page, bound, fine, local, markdown, printed, python_of

open_page = partial(app_page, "predictions")
HOSTILE = "</script><img src=x onerror=alert(1)> $x$ {0} %{z}"


@pytest.fixture(autouse=True)
def nothing_kept():
    result_store.clear()


@pytest.fixture(scope="module")
def model() -> HookedTransformer:
    return HookedTransformer.from_pretrained(DEFAULT_MODEL)


@pytest.fixture(scope="module")
def tokens(model):
    return model.to_tokens(DEFAULT_PROMPT)


def offered(at):
    """The button that starts writing."""
    (found,) = [one for one in at.button if (one.key or "").startswith("start:write")]
    return found


def test_the_bars_are_the_models_own_next_tokens(model, tokens):
    at = open_page(token="5", right=" m", wrong=" the").run()
    shown = fine(at)
    logits = model(tokens)[0, 5]
    probs = logits.softmax(-1)
    top = probs.topk(3)
    for label, prob in zip(token_labels(model, top.indices), top.values):
        assert label in shown
        assert f"({prob:.2f})" in shown or f"{prob:.2g}" in shown
    right, wrong = (model.inner_ids(text)[0] for text in (" m", " the"))
    table = at.dataframe[0].value
    assert list(table["rank (from 1)"]) == [int((logits > logits[i]).sum()) + 1 for i in (right, wrong)]
    np.testing.assert_allclose(table["probability"], probs[[right, wrong]].detach(), atol=1e-5)


def test_nothing_is_written_before_a_click_and_then_what_the_model_writes(model, tokens):
    at = open_page(new="12").run()
    fine(at)
    assert offered(at).label.startswith("Write 12 tokens, about")
    assert "Nothing is written yet." in markdown(at)
    offered(at).click().run()
    shown = fine(at)
    found = write(model, tokens, 12, Sampling(0.0, None, 1.0, 0), stop_ids=model.stop_ids)
    assert strip_of(model, to_numpy(found)) in shown
    share = repeated_share(tokens[0].tolist(), found.ids.tolist())[-1]
    assert f"{share:.0%} of what the model writes as it is repeats" in shown
    assert not [one for one in at.button if (one.key or "").startswith(("start:write", "stop:"))]


@pytest.mark.parametrize(
    "query",
    [
        {"change": "zero", "pins": "1.1,1.2"},
        {"change": "mean", "pins": "1.1"},
        {"change": "scale", "factor": "-1.5", "pins": "0.3"},
        {"change": "steer", "right": " m", "wrong": " c", "strength": "1.5", "into": "1"},
        {"change": "steer", "along": "head", "pins": "0.1", "into": "1"},
    ],
)
def test_the_twin_and_the_python_of_the_export_write_the_same(model, query):
    at = open_page(new="10", temperature="0.8", topk="50", topp="0.9", seed="4", stop="never", **query).run()
    fine(at)
    offered(at).click().run()
    shown = fine(at)
    lines = printed(python_of(at)[1]).strip().splitlines()
    for line in lines:
        ids = torch.tensor(eval(line))
        assert len(ids) == 10
        labels = token_labels(model, ids)
        assert all(f">{label}</b>" in shown for label in labels if label.strip("·").isalpha())
    assert lines[0] != lines[1] or "the same 10 tokens are written" in shown
    assert "With " in shown


def test_the_python_of_the_bars_says_the_same(model, tokens):
    at = open_page(token="3", top="4").run()
    fine(at)
    found = predict(model, tokens, 3, n_top=4)
    want = [f"{i} {prob:.5f}" for i, prob in zip(found.top.tolist(), found.top_logprob.exp().tolist())]
    assert printed(python_of(at)[0]).strip().splitlines() == want


def test_a_change_is_seen_in_the_bars_before_anything_is_written(model, tokens):
    at = open_page(change="steer", right=" m", wrong=" c", strength="3", into="1").run()
    shown = fine(at)
    right, wrong = (model.inner_ids(text)[0] for text in (" m", " c"))
    change = steering(model, tokens, answer_direction(model, right, wrong), 1, 3.0)
    twin = predict(model, tokens, tokens.shape[1] - 1, (right, wrong), change=change)
    np.testing.assert_allclose(at.dataframe[0].value["probability in the twin"], twin.logprob.exp(), atol=1e-5)
    assert "steered along the answers into layer 1, strength 3" in shown


def test_heads_at_their_mean_are_those_of_the_analysis(model, tokens):
    at = open_page(change="mean", pins="1.1,0.2", right=" m").run()
    fine(at)
    heads = (Head(1, 1), Head(0, 2))
    change = Change(heads, means=tuple(map(tuple, mean_z(model, heads).tolist())))
    twin = predict(model, tokens, tokens.shape[1] - 1, tuple(model.inner_ids(" m")), change=change)
    np.testing.assert_allclose(at.dataframe[0].value["probability in the twin"], twin.logprob.exp(), atol=1e-5)


def test_what_is_kept_is_shown_again_and_stop_keeps_it():
    at = open_page(new="9").run()
    offered(at).click().run()
    fine(at)
    again = open_page(new="9").run()
    assert "How much of the text repeats" in str(again.get("plotly_chart")[-1].proto.spec)
    longer = open_page(new="20").run()
    assert "8 tokens are written." in markdown(longer)
    assert "of 8 tokens it wrote" in fine(longer).lower()


def test_steering_without_an_answer_and_heads_without_a_pin_say_so():
    at = open_page(change="steer").run()
    assert "steering needs a right answer" in fine(at)
    at = open_page(change="zero").run()
    assert "No head is pinned, so head 0.0 is changed" in fine(at)


def pasted(at):
    """The box for the numbers of a vector."""
    (found,) = (one for one in at.text_area if one.key == "lens:vector:box")
    return found


def test_a_pasted_vector_steers_and_stays_out_of_the_address(model, tokens):
    vector = torch.randn(model.cfg.d_model, generator=torch.Generator().manual_seed(2))
    query = {"change": "steer", "along": "vector", "unit": "direction", "strength": "2", "into": "1", "right": " m"}
    at = open_page(new="10", stop="never", **query).run()
    assert "steering along a vector needs its numbers" in fine(at)
    assert "the page's link does not carry it" in at.caption[-1].value + markdown(at) + str(at.caption)
    pasted(at).set_value(str(vector.tolist())).run()
    shown = fine(at)
    assert "steered along the pasted vector into layer 1, strength 2 times the direction itself" in shown
    change = Change(layer=1, vector=tuple((2 * vector).tolist()))
    twin = predict(model, tokens, tokens.shape[1] - 1, tuple(model.inner_ids(" m")), change=change)
    np.testing.assert_allclose(at.dataframe[0].value["probability in the twin"], twin.logprob.exp(), atol=1e-5)
    assert set(at.query_params) == {"new", "stop", *query}
    offered(at).click().run()
    fine(at)
    lines = printed(python_of(at)[1]).strip().splitlines()
    assert eval(lines[1]) == write(model, tokens, 10, Sampling(0.0), change).ids.tolist()
    at.switch_page("pages/tokens.py").run()
    at.switch_page("pages/predictions.py").run()
    assert pasted(at).value == str(vector.tolist())


def test_vectors_that_do_not_fit_are_refused_with_their_reason(model, monkeypatch):
    at = open_page(change="steer", along="vector").run()
    for text, sentence in (
        ("1, 2, 3", f"got 3 numbers; this model&#x27;s residual stream has {model.cfg.d_model}"),
        ("nan " * model.cfg.d_model, "number 1 is nan"),
        ("<img src=x>", "&#x27;&lt;img&#x27; in place 1 is not a number"),
    ):
        pasted(at).set_value(text).run()
        assert sentence in fine(at)
    monkeypatch.setenv("LENS_HOSTED", "1")
    pasted(at).set_value("1 " * 300_000).run()
    assert "600,000 characters were pasted; at most 500,000 are read" in fine(at)


def test_a_file_of_numbers_steers_as_pasted_ones_do(model):
    at = open_page(change="steer", along="vector").run()
    vector = np.random.default_rng(1).standard_normal(model.cfg.d_model).astype(np.float32)
    stream = io.BytesIO()
    np.save(stream, vector)
    (uploader,) = at.file_uploader
    uploader.set_value(("probe.npy", stream.getvalue(), "application/octet-stream")).run()
    assert "steered along the pasted vector into layer" in fine(at)
    assert np.array_equal(np.array(pasted(at).value.split(", "), np.float32), vector)
    (uploader,) = at.file_uploader
    uploader.set_value(("probe.npy", b"no array", "application/octet-stream")).run()
    assert "the file is not used: the file is no NumPy array" in fine(at)


def test_bad_values_of_the_address_are_sentences(tiny_folder):
    at = local(
        "predictions", tiny_folder, prompt="some words", colour="red", token="500", top="99", right="two words",
        new="0", temperature="-1", topk="x", topp="7", stop="now", change="all", factor="99", along="x", into="-3",
    ).run()  # fmt: skip
    shown = fine(at)
    for sentence in (
        "Colour must be one of", "Token 500 does not exist", "Top 99 is outside", "answer must be one token",
        "New 0 is outside", "Temperature -1 is outside", "Topk must be a whole number", "Topp 7 is outside",
        "Stop must be one of", "Change must be one of", "Factor 99 is outside", "Along must be one of", "Into -3 is",
    ):  # fmt: skip
        assert sentence in shown, sentence


@pytest.mark.parametrize("colour", ["probability", "loss", "rank", "entropy"])
def test_a_hostile_prompt_is_text(tiny_folder, colour):
    at = local("predictions", tiny_folder, prompt=HOSTILE, colour=colour, new="4").run()
    offered(at).click().run()
    assert "<img src=x" not in fine(at)
    strips = [c.proto.json for c in at.get("bidi_component") if "lens-strip" in c.proto.json]
    assert strips
    assert not any("<img" in one for one in strips)


def test_one_token_an_empty_prompt_and_a_full_context(tiny_folder):
    fine(local("predictions", tiny_folder, prompt="x", bos="off").run())
    assert "The prompt is empty" in local("predictions", tiny_folder, prompt=" ").run().info[0].value
    at = local("predictions", tiny_folder, prompt="some words to read " * 30).run()
    assert "the prompt fills all 90 tokens" in fine(at)


def test_planted_models_write_too():
    at = open_page(model="planted-induction", new="6").run()
    fine(at)
    offered(at).click().run()
    fine(at)
    bound(at.selectbox, "change").set_value("zero").run()
    assert "With 0.0 zeroed" in fine(at)
