"""A second model, checkpoint or prompt beside the first: numbers, sentences, addresses from strangers, exports."""

import json
import re
from functools import partial

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from lens import HookedTransformer
from lens.analysis.compare import alike, by_name
from lens.analysis.text_attention import text_attention
from lens.figures.theme import number
from lens.ui.fields import DEFAULT_PROMPT
from lens.ui.memory import residents
from lens.ui.shared.compare import pairs, words
from lens.ui.shared.compare.draw import sides
from tests.ui.conftest import REAL, app_page, bound, fine, html, local, markdown, printed

CHECKPOINT = "lens-2l@checkpoints/tokens_000001433600.safetensors"
OTHER_PROMPT = "The dog sat on the mat. The dog sat on the"
HOSTILE = "</script><img src=x onerror=alert(1)> $x$ ![a](http://b.example/c) `{0}` %{z}"
TITLE = '<h3 class="lens-beside">'
PAGES = ("attention", "head_scores", "logit_lens")


def notices(at: AppTest) -> list[str]:
    return re.findall(r'lens-line notice"><b>Notice</b><span>(.*?)</span></div>', fine(at))


def asked(at: AppTest, name: str) -> str:
    value = at.query_params[name]
    return value if isinstance(value, str) else value[0]


def programs(at: AppTest) -> list[str]:
    return [code.value for code in at.code if "values_of" in code.value]


@pytest.mark.parametrize("page", PAGES)
def test_a_checkpoint_beside_the_model(page):
    at = app_page(page, with_model=CHECKPOINT).run()
    shown = fine(at)
    assert '<h3 class="lens-beside">Beside <b>lens-2l@tokens_000001433600</b></h3>' in shown
    assert words.TWO_TIMES in shown
    assert words.SAME_RUN_ONLY not in shown
    assert "left out." not in shown, "one tokenizer, one text: everything has a counterpart"
    assert "beside `` lens-2l@tokens_000001433600 ``" in at.expander[0].label


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("model", ["lens-3l", REAL])
def test_a_model_of_another_shape_is_aligned_by_depth(page, model):
    query = {"n": "5", "seqs": "2"} if page == "head_scores" else {}
    at = app_page(page, with_model=model, **query).run()
    shown = fine(at)
    assert "layer 1 | 2" in shown or "row 0 | 1" in shown or "layer 0 | 1" in shown or " | " in notices(at)[0]
    if page != "logit_lens":
        assert "Heads of models of different shape have no counterpart" in shown
    if model == REAL and page == "logit_lens":
        assert "10 of 18 tokens of lens-2l and 5 of 13 tokens of smollm2-135m-instruct have no counterpart" in shown
    assert words.TWO_MODELS in shown


def test_the_numbers_are_those_of_both_models():
    at = app_page("attention", with_model=CHECKPOINT).run()
    name, _, revision = CHECKPOINT.partition("@")
    models = [HookedTransformer.from_pretrained(name), HookedTransformer.from_pretrained(name, revision=revision)]
    first, second = (text_attention(m, m.to_tokens(DEFAULT_PROMPT)).content_dependence.numpy() for m in models)
    layer, head = np.unravel_index(abs(second - first).argmax(), first.shape)
    said = notices(at)[0]
    assert f"at head {layer}.{head}: {number(first[layer, head])} in lens-2l, {number(second[layer, head])} in" in said


def test_swapped_sides_swap_the_numbers():
    name, _, revision = CHECKPOINT.partition("@")
    there = notices(app_page("head_scores", with_model=CHECKPOINT).run())[0]
    back = notices(app_page("head_scores", model=name, revision=revision, with_model=name).run())[0]
    assert "at head 1.1: 0.72 in lens-2l, 0.031 in lens-2l@tokens_000001433600 (−0.69)" in there
    assert "at head 1.1: 0.031 in lens-2l@tokens_000001433600, 0.72 in lens-2l (+0.69)" in back
    assert "The interval of the difference leaves out 0 for 6 of 8 heads." in there
    assert "The interval of the difference leaves out 0 for 6 of 8 heads." in back


@pytest.mark.parametrize("page", ["attention", "logit_lens"])
def test_another_prompt_is_aligned_by_text(page):
    at = app_page(page, with_prompt=OTHER_PROMPT).run()
    shown = fine(at)
    assert f"Beside <q>{OTHER_PROMPT}</q>" in shown
    assert words.TWO_TEXTS in shown
    assert "4 of 18 tokens of the first prompt and 4 of 18 tokens of the second prompt have no counterpart" in shown


def test_a_score_of_random_tokens_reads_no_second_prompt():
    at = app_page("head_scores", with_prompt=OTHER_PROMPT).run()
    assert words.NOT_READ in fine(at)
    assert not programs(at)
    at = app_page("head_scores", with_prompt=OTHER_PROMPT, on="text").run()
    assert "in the first prompt" in notices(at)[0]


@pytest.mark.parametrize("page", PAGES)
def test_the_same_model_and_prompt_differ_in_nothing(page):
    at = app_page(page, with_model="lens-2l", with_prompt=DEFAULT_PROMPT).run()
    fine(at)
    assert [info.value for info in at.info] == [words.SAME]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no-such-model", "Lens knows no model &#x27;no-such-model&#x27;"),
        ("/etc/passwd", "never by a path"),
        ("local:secret", "is a local model of another session; open it by hand: nothing is compared with it"),
        ("lens-2l@../../x", "after the @ of a model stands a branch, tag or checkpoint name".capitalize()),
        ("x.gguf", "an address cannot open a file on this machine".capitalize()),
    ],
)
def test_a_bad_second_model_is_left_out_with_a_note(name, said):
    at = app_page("logit_lens", with_model=name).run()
    assert said in fine(at)
    assert TITLE not in html(at)
    assert "with_model" not in at.query_params


def test_a_checkpoint_that_does_not_exist_leaves_the_page_whole():
    at = app_page("logit_lens", with_model="lens-2l@checkpoints/tokens_000000000007.safetensors").run()
    assert not at.exception
    (error,) = at.error
    assert "lens-2l has no checkpoint" in error.value
    assert "The mean KL to the output goes from" in html(at)


def test_hosted_only_listed_models_stand_beside(monkeypatch):
    monkeypatch.setenv("LENS_HOSTED", "1")
    at = app_page("logit_lens", with_model="someone/model").run()
    assert "is not one of the models offered here: nothing is compared with it" in fine(at)


def test_a_model_that_is_not_here_is_offered_and_the_page_stays_whole():
    at = app_page("logit_lens", with_model="pythia-70m").run()
    shown = fine(at)
    assert "`pythia-70m` is not on this machine. It can be fetched from the Hugging Face Hub" in markdown(at)
    assert [button.label for button in at.button if button.label.startswith("Download")] == ["Download pythia-70m"]
    assert "The mean KL to the output goes from" in shown


def test_a_second_model_without_what_the_page_needs_says_so():
    at = app_page("logit_lens", model=REAL, source="mlp", with_model="lens-2l", prompt="a b").run()
    assert "Not computed because lens-2l has no MLP." in fine(at)
    at = app_page("head_scores", on="task", score="direct_effect", with_model="lens-3l").run()
    assert "the pairs of a task are made for one model" in html(at)


def test_two_models_that_do_not_fit_are_not_loaded_in_turns(monkeypatch):
    app_page("logit_lens").run()
    monkeypatch.setattr(residents(), "budget", 3_000_000)
    at = app_page("logit_lens", with_model="lens-3l").run()
    assert "Set LENS_MODEL_MEMORY to change that." in fine(at)


@pytest.mark.parametrize("page", PAGES)
def test_hostile_prompts_are_shown_as_text(page):
    query = {"on": "text"} if page == "head_scores" else {}
    at = app_page(page, with_prompt=HOSTILE, prompt=f"a {HOSTILE} b", **query).run()
    shown = fine(at)
    assert "<img" not in shown
    assert "&lt;img src=x" in shown
    assert "`` </script><img src=x onerror=alert(1)> $x$ ![a](http://b.example/c) '{0}' %{z} ``" in at.expander[0].label
    for chart in at.get("plotly_chart"):
        assert "<img" not in chart.proto.spec


def test_long_texts_are_compared_at_their_beginning_and_say_so():
    at = app_page("attention", prompt="one two three " * 60, with_model=CHECKPOINT).run()
    assert "The first 64 tokens that both have are compared," in fine(at)


@pytest.mark.parametrize(
    ("page", "query"),
    [
        ("attention", {"with_model": CHECKPOINT}),
        ("attention", {"with_model": "lens-3l", "reads": "repeat", "n": "8"}),
        ("attention", {"with_model": CHECKPOINT, "with_prompt": OTHER_PROMPT}),
        ("head_scores", {"with_model": "lens-3l", "score": "previous", "n": "8"}),
        ("head_scores", {"with_prompt": OTHER_PROMPT, "on": "text"}),
        ("logit_lens", {"with_model": REAL, "number": "rank"}),
        ("logit_lens", {"with_model": "lens-3l", "about": "next", "number": "logprob"}),
    ],
)
def test_the_exported_python_gives_the_numbers_of_the_sentence(page, query):
    at = app_page(page, **query).run()
    said = notices(at)
    assert programs(at)
    for code, sentence in zip(programs(at), said):
        first, second, difference = map(float, printed(code).strip().rpartition(")")[2].split())
        assert f": {number(first)} in " in sentence
        assert f", {number(second)} in " in sentence
        assert number(difference) in sentence


def test_the_choice_stays_from_page_to_page_until_it_is_stopped():
    at = app_page("attention", with_model=CHECKPOINT).run()
    assert asked(at, "with_model") == CHECKPOINT
    at.switch_page("pages/logit_lens.py").run()
    assert TITLE in fine(at)
    at.button(key="compare:stop:compare").click().run()
    assert TITLE not in fine(at)
    assert "with_model" not in at.query_params


def test_the_controls_choose_a_model_its_checkpoint_and_a_prompt():
    at = app_page("logit_lens").run()
    bound(at.selectbox, "with_model").select("lens-3l").run()
    assert asked(at, "with_model") == "lens-3l"
    (checkpoint,) = (box for box in at.selectbox if box.label == "at checkpoint")
    checkpoint.set_value("checkpoints/tokens_000001433600.safetensors").run()
    assert asked(at, "with_model").startswith("lens-3l@checkpoints/tokens_")
    bound(at.text_area, "with_prompt").input(OTHER_PROMPT).run()
    assert "<b>lens-3l@tokens_" in fine(at)
    assert asked(at, "with_prompt") == OTHER_PROMPT


def test_a_local_model_stands_beside_under_its_name(tiny_folder):
    at = local("attention", tiny_folder, model="lens-2l", with_model=f"local:{tiny_folder.name}").run()
    assert "Beside <b>tiny</b>" in fine(at)


def test_pages_that_cannot_compare_have_no_control():
    at = app_page("ablation", with_model=CHECKPOINT).run()
    assert not [box for box in at.selectbox if box.label == "Compare with"]
    assert "beside" not in at.expander[0].label


# --- pairs

QUANTITY = partial(pairs.Quantity, "loss", "nats", "A definition.", "values = 0")


def test_both_have_one_scale_and_the_difference_is_centred_on_zero():
    pair = pairs.heads(QUANTITY(), np.array([[0.0, 1.0]]), np.array([[3.0, 0.5]]))
    first, second, difference = sides(pair, ("a", "b"))
    assert first.ends == second.ends == (0.0, 3.0)
    assert difference.ends == (-3.0, 3.0)
    assert difference.values.tolist() == [[3.0, -0.5]]


def test_names_that_one_side_lacks_are_left_out_and_counted():
    pair = pairs.names(QUANTITY(), {"embed": 1.0, "0.1": 2.0, "mlp": 3.0}, {"0.1": 1.5, "embed": 1.0})
    assert pair.frame().to_dict("list") == {
        "part": ["embed", "0.1"], "first": [1.0, 2.0], "second": [1.0, 1.5], "difference": [0.0, -0.5],
    }  # fmt: skip
    assert words.left_out(pair, ("a", "b")) == "1 of 3 parts of a has no counterpart and is left out."
    assert words.notice(pair, ("a", "b")) == (
        "Loss differs most at 0.1: 2.00 in a, 1.50 in b (−0.50 nats). The mean size of the difference over 2 parts is "
        "0.25 nats."
    )


def test_nothing_in_common_and_nothing_that_differs_are_said():
    empty = pairs.names(QUANTITY(), {"x": 1.0}, {"y": 1.0})
    assert words.notice(empty, ("a", "b")) == "Loss: nothing of a has a counterpart in b."
    same = pairs.names(QUANTITY(), {"x": 1.0}, {"x": 1.0})
    assert words.notice(same, ("a", "b")) == "Loss: no difference in any of 1 parts."


DRAWN = """
import numpy as np
from lens.ui.frame import frame
from lens.analysis.compare import alike
from lens.ui.shared.compare import pairs
from lens.ui.shared.compare.draw import draw_pair
with frame("Attention", question="?") as view:
    what = pairs.Quantity("loss", "nats", "A definition.", "values = 0", signed=True)
    along = pairs.Along("position", ["0: <s>", "1: a"], alike(2), "tokens", "alike(2)")
    draw_pair(view, pairs.tokens(what, np.array([1.0, -2.0]), np.array([1.0, 3.0]), along), ("a", "b"), "one")
    draw_pair(view, pairs.names(what, {"<s>": 1.0, "b": 2.0}, {"b": 1.0, "<s>": 5.0}), ("a", "b"), "two")
    draw_pair(view, pairs.names(what, {"x": 1.0}, {"y": 2.0}), ("a", "b"), "three")
"""


def test_strips_and_bars(app):
    at = app(DRAWN).run()
    shown = fine(at)
    assert shown.count('class="lens-strip"') == 3
    assert "&lt;s&gt;" in shown
    charts = [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]
    assert [chart["layout"]["title"]["text"] for chart in charts] == ["a; diamonds: b", "Difference: second − first"]
    assert "nothing of a has a counterpart in b." in shown


WAITS = """
import numpy as np
import streamlit as st
from lens.ui.frame import frame
from lens.ui.models import open_model
from lens.ui.shared.compare import pairs
from lens.ui.shared.compare.section import compare
def numbers(view, model):
    return np.full((model.cfg.n_layers, model.cfg.n_heads), float(len(view.prompt)))
def pair(sides, first, second):
    return [pairs.heads(pairs.Quantity("length", "characters", "Of the prompt.", "values = 0"), first, second)]
with frame("Attention", question="?") as view:
    model = open_model(view)
    compare(view, model, st.container(), numbers(view, model), numbers, pair, seconds=lambda *_: 9)
    st.write(f"the view still has {len(view.prompt)} characters")
"""


def test_long_work_waits_for_a_click(app):
    at = app(WAITS)
    at.query_params.update({"with_model": "lens-2l", "with_prompt": "abc", "prompt": "ab"})
    at.run()
    assert notices(at) == []
    (start,) = (button for button in at.button if button.label == "Compute, about 9 s")
    start.click().run()
    assert notices(at) == [
        "Length differs most at head 0.0: 2.00 in the first prompt, 3.00 in the second prompt (+1.00 characters). The "
        "mean size of the difference over 8 heads is 1.00 characters."
    ]
    assert "the view still has 2 characters" in markdown(at)


def test_matches_of_other_lengths_are_refused():
    along = pairs.Along("position", ["a"], by_name("a", "ab"), "tokens", "")
    with pytest.raises(ValueError, match="one match for each axis"):
        pairs.tokens(QUANTITY(), np.ones(2), np.ones(2), along._replace(match=alike(1)))
