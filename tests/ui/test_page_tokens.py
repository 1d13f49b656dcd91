"""The Tokens page: numbers against the model itself, odd prompts and addresses, and the Python of its exports."""

import contextlib
import io
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from lens import HookedTransformer
from lens.analysis.loss import NextToken
from lens.ui.calls import result_store
from lens.ui.export import reproduce
from lens.ui.fields import DEFAULT_MODEL, DEFAULT_PROMPT, common_fields, parse
from lens.ui.labels import token_labels
from lens.ui.limits import AT_HOME
from lens.ui.pages.tokens import PAGE
from lens.ui.pages.tokens import cut as tokens_cut
from lens.ui.pages.tokens import padding as tokens_padding
from lens.ui.pages.tokens import prompt as tokens_prompt
from lens.ui.pages.tokens import repeat as tokens_repeat
from lens.ui.pages.tokens.prompt import colouring, hovers, scored_tokens, table
from lens.ui.view import ViewState
from tests.ui.conftest import REAL, app_page, bound, fine, html, llama_folder, local

open_page = partial(app_page, "tokens", model=REAL)
HOSTILE = "</script><img src=x onerror=alert(1)> $x$ ![a](http://b.example/c)"


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory, tokenizer) -> Path:
    """A shaken LLaMA of a few thousand weights that reads 3000 tokens, as a folder."""
    return llama_folder(tmp_path_factory, tokenizer, vocab_size=len(tokenizer) + 5, max_position_embeddings=3000)


@pytest.fixture
def tiny(tiny_folder):
    """``tiny(prompt="a b", ...)``: the page with the tiny model open, run once."""

    return lambda **query: local("tokens", tiny_folder, **query).run()


def metrics(at: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def strip_of(at: AppTest) -> str:
    """The markup that the page hands to its strip of chips."""
    return next(c.proto.json for c in at.get("bidi_component") if "lens-strip" in c.proto.json)


def test_the_default_page_tells_the_loss_of_the_default_prompt():
    at = open_page().run()
    shown = fine(at)
    model = HookedTransformer.from_pretrained(REAL)
    with torch.no_grad():
        tokens = model.to_tokens(DEFAULT_PROMPT)
        logits, loss = model(tokens, return_type="both", loss_per_token=True)
    right = (logits[0, :-1].argmax(-1) == tokens[0, 1:]).float().mean().item()
    found = metrics(at)
    assert float(found["Mean loss (nats)"]) == pytest.approx(loss.mean().item(), abs=1e-3)
    assert float(found["Perplexity"]) == pytest.approx(loss.mean().exp().item(), abs=0.1)
    assert found["Top guess right"] == f"{right:.0%}"
    assert found["Predicted tokens n"] == str(loss.shape[1])
    worst = int(loss[0].argmax()) + 1
    assert bound(at.selectbox, "token").value == f"{worst}: {token_labels(model, tokens[0].tolist())[worst]}"
    assert f"at position {worst} of the prompt: {loss.max():.2f} nats" in shown
    assert model.note in shown
    assert "stands first by the model&#x27;s own policy" in shown
    assert at.query_params == {"model": REAL}
    assert len(at.get("plotly_chart")) == 1
    assert not [key for key in result_store()._entries if key.startswith("bos_effect")]  # its fold is closed


def test_choosing_a_token_and_a_colour_goes_to_the_address(tiny):
    at = tiny(prompt="The cat sat on the mat.")
    bound(at.selectbox, "token").set_value("3: ·cat").run()
    at.segmented_control(key="view:colour").set_value("rank").run()
    fine(at)
    assert at.query_params["token"] == "3"
    assert at.query_params["colour"] == "rank"
    assert "tokens likelier than it" in strip_of(at)


def test_characters_that_are_cut_show_as_bytes_and_are_said(tiny):
    at = tiny(prompt="ab 好 😀 مرحبا")
    shown = fine(at)
    assert "fffd" not in shown + strip_of(at)
    assert "\ufffd" not in shown + strip_of(at)
    assert (
        "Characters that the vocabulary does not hold whole are cut into bytes: 好 is ⟨e5⟩ ⟨a5⟩ ⟨bd⟩, tokens" in shown
    )
    assert "; and 4 more." in shown
    assert json.dumps("⟨e5⟩")[1:-1] in strip_of(at)
    assert "cut into bytes" not in fine(tiny(prompt="plain"))


def test_two_bos_are_said(tiny):
    sentence = "&lt;bos&gt; stands twice at the beginning: once in the text and once because BOS is put in front."
    assert sentence in fine(tiny(prompt="<bos>The cat"))
    assert "stands twice" not in fine(tiny(prompt="<bos>The cat", bos="off"))
    assert "stands twice" not in fine(tiny(prompt="The cat"))
    assert f"In the second text, {sentence}" in fine(tiny(prompt="The cat", other="<bos>A", part="padding"))


def test_the_first_token_has_no_prediction(tiny):
    at = tiny(prompt="The cat sat.", token="0")
    assert "the first token has no prediction" in fine(at)
    assert len(at.get("plotly_chart")) == 0


@pytest.mark.parametrize("part", ["prompt", "padding"])
def test_an_empty_prompt_is_a_sentence(tiny, part):
    at = tiny(prompt="", part=part)
    fine(at)
    assert "The prompt is empty" in at.info[0].value
    assert at.query_params["prompt"] == ""


def test_one_token_has_nothing_to_predict(tiny):
    shown = fine(tiny(prompt="a", bos="off"))
    assert "Not computed because this is one token" in shown


def test_the_longest_prompt_is_cut_and_computed(tiny):
    at = tiny(prompt="1a" * 1200)
    shown = fine(at)
    assert f"showing the first {AT_HOME.text_tokens}" in shown
    assert metrics(at)["Predicted tokens n"] == f"{AT_HOME.text_tokens - 1:,}"


def test_more_than_the_model_can_read_is_cut_with_a_note(tiny):
    assert f"The prompt has 3601 tokens: showing the first {AT_HOME.text_tokens}." in fine(tiny(prompt="1a" * 1800))


def test_bad_values_become_defaults_with_notes():
    at = open_page(part="nonsense", colour="<b>", token="999", top="0", page="x", id="-1", case="perhaps")
    shown = fine(at.run())
    for sentence in (
        "Part must be one of prompt, cut, padding, repeat",
        "Colour must be one of loss, probability, rank, entropy",
        "Token 999 does not exist in this prompt (13 tokens)",
        "Top 0 is outside 1 to 25",
        "Id -1 is outside",
        "Case must be on or off",
    ):
        assert sentence in shown
    assert at.query_params == {"model": REAL}


def test_an_unknown_model_is_a_note():
    at = open_page(model="no-such-model").run()
    assert f"showing {DEFAULT_MODEL}" in fine(at)


@pytest.mark.parametrize("part", ["prompt", "cut", "padding", "repeat"])
def test_hostile_text_stays_text(tiny, part):
    at = tiny(prompt=HOSTILE, other=HOSTILE + "b", piece=HOSTILE, find="<img", part=part, n="3", seqs="2", table="on")
    shown = fine(at)
    assert "<img" not in shown
    assert not [m for m in at.markdown if "<img" in m.value or "![a]" in m.value]
    assert not [c for c in at.caption if "<img" in c.value or "![a]" in c.value]
    if part == "prompt":
        assert "<img" not in json.loads(strip_of(at))["html"]


def test_a_closed_fold_computes_nothing_and_an_open_one_is_in_the_address(tiny):
    def computed() -> int:
        return sum(key.startswith("bos_effect") for key in result_store()._entries)

    at = tiny(prompt="Then, Claire and Tom walked home.")
    before = computed()
    assert len(at.metric) == 4
    at = tiny(prompt="Then, Claire and Tom walked home.", compare="on")
    fine(at)
    assert computed() == before + 1
    found = metrics(at)
    assert float(found["Difference (nats)"]) == pytest.approx(
        float(found["Mean loss with BOS"]) - float(found["without"]), abs=2e-3
    )


def test_examples_are_one_click_each():
    at = open_page(part="cut").run()
    for example, pieces in (
        (" Claire", [" Claire"]),
        ("Claire", ["Cl", "aire"]),
        ("2342+2017=21445", list("2342+2017=21445")),
    ):
        at.button(key=f"cut:{example}").click().run()
        shown = fine(at)
        assert bound(at.text_input, "piece").value == example
        cells = "</td><td>".join(piece.replace(" ", "·") for piece in pieces)
        assert f"<td>{cells}</td>" in shown
    assert at.query_params == {"model": REAL, "part": "cut", "piece": "2342+2017=21445"}


def test_a_token_is_found_in_the_prompt():
    at = open_page(part="cut", piece="cat", prompt="The cat sat on the mat. The mat sat on the cat.").run()
    shown = fine(at)
    assert "·cat stands at 2 positions, first 2, last 13" in shown  # with BOS, as in GPT-2's tokens


def test_the_vocabulary_is_searched_page_by_page():
    at = open_page(part="cut", find="cat", page="2").run()
    shown = fine(at)
    frame = at.dataframe[0].value
    assert len(frame) == tokens_cut.PER_PAGE
    assert all("cat" in token for token in frame["token"])
    assert "of 49,152 tokens contain cat." in shown
    at.toggle(key="view:case").set_value(False).run()
    assert any("CAT" in token or "Cat" in token for token in at.dataframe[0].value["token"])
    at.text_input(key="view:find").set_value("no token has this").run()
    assert "0 of 49,152 tokens" in fine(at)
    assert "page" not in at.query_params


def test_an_id_is_looked_up():
    at = open_page(part="cut", id="41369").run()
    assert "<td>·Claire</td>" in fine(at)
    assert "<td>20 43 6c 61 69 72 65</td>" in html(at)


def test_rows_of_the_vocabulary_that_no_token_uses_are_said(tiny):
    at = tiny(part="cut")
    fine(at)
    assert "The model has 5 more rows" in at.caption[0].value


@pytest.mark.parametrize("side", ["left", "right"])
def test_pads_are_shown_and_change_nothing(tiny, side):
    at = tiny(part="padding", prompt="The cat sat on the mat.", other="The mat.", pad=side)
    shown = fine(at)
    assert '<td class="pad">' in shown
    assert "receive attention 0 from every head" in shown
    frame = at.dataframe[0].value
    assert frame["largest change of a logit"].max() < 1e-4
    assert frame["loss in the batch (nats)"].tolist() == pytest.approx(frame["loss alone (nats)"].tolist(), abs=1e-5)
    assert (frame["the same without the mask"][1] > 0.1) == (side == "left")


def test_texts_of_one_length_have_no_pad(tiny):
    assert "there is no pad" in fine(tiny(part="padding", prompt="The cat", other="The cat"))


def test_an_empty_second_text_is_a_sentence(tiny):
    at = tiny(part="padding", other="")
    fine(at)
    assert "second text is empty" in at.info[0].value


@pytest.mark.parametrize("bos", ["auto", "off"])
def test_repeated_tokens_are_drawn_and_scored(tiny, bos):
    at = tiny(part="repeat", n="6", seqs="16", seed="3", bos=bos)
    shown = fine(at)
    assert "the same tokens the first time" in shown
    assert "lens-strip" in shown
    assert len(at.get("plotly_chart")) == 1


def test_few_sequences_have_no_interval(tiny):
    at = tiny(part="repeat", n="6", seqs="3")
    assert "no interval: 3 sequences" in fine(at)


def test_the_repeated_tokens_need_no_prompt(tiny):
    fine(tiny(part="repeat", n="4", seqs="2", prompt=""))


def test_too_long_blocks_are_moved(tiny):
    at = open_page(part="repeat", n="100000", seqs="2")
    fine(at.run())
    assert at.number_input(key="view:n").value == 25


def hand_made() -> NextToken:
    row = lambda *values: np.array([values], np.float32)  # noqa: E731
    ranks = np.array([[4, 0, -1]])
    top, prob = np.zeros((1, 3, 1), int), np.zeros((1, 3, 1), np.float32)
    nan = np.nan
    probs, tied = row(0.1, 0.4, nan), np.where(ranks < 0, -1, 0)
    return NextToken(row(2, 1, nan), probs, ranks, row(3, 2, 1), top, prob, ranks >= 0, tied)


def test_numbers_stand_at_the_token_they_are_about(tiny_llama):
    tokens = scored_tokens(tiny_llama, ["<bos>", "a", "b"], np.array([0, 5, 6]), hand_made())
    np.testing.assert_array_equal(tokens.by.loss, np.array([np.nan, 2, 1], np.float32))
    assert tokens.by.rank.tolist() == [-1, 4, 0]
    np.testing.assert_array_equal(tokens.by.entropy, np.array([np.nan, 3, 2], np.float32))
    assert np.flatnonzero(tokens.by.is_guess).tolist() == [2]
    assert tokens.by.worst.tolist() == [1, 2]
    tie = hand_made()._replace(tied=np.array([[0, 49, -1]]))
    tied = scored_tokens(tiny_llama, ["<bos>", "a", "b"], np.array([0, 5, 6]), tie)
    assert np.flatnonzero(tied.by.is_guess).tolist() == []  # on top with all others is no guess
    assert not table(tied)["top guess"].any()
    assert "rank 1, tied with 49" in hovers(tied)[2]
    frame = table(tokens)
    assert frame["rank"].isna().tolist() == [True, False, False]
    assert frame["top guess"].tolist() == [False, False, True]
    for by in ("loss", "probability", "rank", "entropy"):
        values, scale = colouring(tokens, by, 50)
        assert np.isnan(values[0])
        assert np.nanmax(values) <= scale.high


def view_of(**query: str) -> ViewState:
    shared, own = common_fields(AT_HOME), PAGE.options
    return ViewState((*shared, *own), parse(shared, query)[0], parse(own, query)[0])


def test_the_python_of_every_export_computes_the_same_numbers():
    at = open_page(part="padding", pad="left").run()
    padded = at.dataframe[0].value
    at = open_page(part="repeat", n="5", seqs="4", seed="2").run()
    spoken = html(at)
    view = view_of(model=REAL, pad="left", find="zebra")
    codes = [
        tokens_prompt.code(17),
        "mean_loss = summary.mean_loss",
        tokens_cut.code(view),
        tokens_padding.code(view),
        "padded = padding_check(model, batch.tokens, batch.mask)",
        tokens_repeat.code(5, 4, 2, True),
    ]
    scope, out = {}, io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(reproduce(view, "\n".join(codes)), scope)  # the page's own text
    assert scope["mean_loss"] == pytest.approx(float(metrics(open_page().run())["Mean loss (nats)"]), abs=1e-3)
    assert "ids=[41369]" in out.getvalue()
    assert scope["padded"].loss.tolist() == pytest.approx(padded["loss in the batch (nats)"].tolist(), abs=1e-5)
    assert scope["padded"].unmasked.tolist() == pytest.approx(
        padded["the same without the mask"].tolist(), rel=1e-3, abs=1e-3
    )
    assert f"The second copy loses {scope['found'].second.mean:.2f} nats" in spoken
