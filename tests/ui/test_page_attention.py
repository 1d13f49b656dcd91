"""The Attention page: its numbers against the model itself, its sentences, odd prompts and addresses, its exports."""

import contextlib
import io
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from lens import HookedTransformer
from lens.analysis.attention import head_patterns, hide_first, value_weighted_patterns
from lens.analysis.names import Head
from lens.analysis.random_tokens import repeated_tokens
from lens.analysis.streaming import uniform_pattern
from lens.analysis.text_attention import head_habits, text_attention
from lens.figures.theme import number
from lens.ui.calls import result_store
from lens.ui.export import reproduce, to_html, to_json
from lens.ui.fields import DEFAULT_MODEL, DEFAULT_PROMPT, BadValue, common_fields, parse
from lens.ui.limits import AT_HOME
from lens.ui.models import Prompt
from lens.ui.pages.attention import PAGE, indices, numbers, words
from lens.ui.pages.attention.numbers import HeadValues
from lens.ui.pages.attention.views import figure_of
from lens.ui.shared.patterns import Reading
from lens.ui.view import ViewState
from tests.ui.conftest import REAL, app_page, bound, fine, llama_folder, local

open_page = partial(app_page, "attention", model=REAL)
HOSTILE = "</script><img src=x onerror=alert(1)> $x$ ![a](http://b.example/c) {0} %{z}"
MEASURES = ("attention", "log", "moved")


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory, tokenizer) -> Path:
    """A shaken LLaMA of a few thousand weights that reads 5000 tokens, as a folder."""
    return llama_folder(tmp_path_factory, tokenizer, vocab_size=len(tokenizer) + 5, max_position_embeddings=5000)


@pytest.fixture
def tiny(tiny_folder):
    """``tiny(prompt="a b", ...)``: the page with a tiny model open, run once."""

    return lambda **query: local("attention", tiny_folder, **query).run()


@pytest.fixture(scope="module")
def model(tiny_folder) -> HookedTransformer:
    return HookedTransformer.from_pretrained(str(tiny_folder))


def line(at: AppTest) -> str:
    """The one line about the current head."""
    return next(element.value for element in at.markdown if element.value.startswith("Head **"))


def components(at: AppTest, word: str) -> list[str]:
    return [c.proto.json for c in at.get("bidi_component") if word in c.proto.json]


def chart(at: AppTest) -> str:
    (element,) = at.get("plotly_chart")
    return element.proto.spec


def seen_of(model, tokens, **how) -> SimpleNamespace:
    """What the page gets from the cache: the same result as arrays."""
    found = text_attention(model, tokens, **how)
    return SimpleNamespace(**{name: getattr(found, name) for name in found._fields} | {
        name: getattr(found, name).numpy()
        for name in ("pattern", "streams", "value_length", "content_dependence", "pictures")
    })  # fmt: skip


# --- the page with the real model


def test_the_default_page_describes_the_head_as_the_model_computes_it():
    at = open_page(layer="5", head="5").run()
    shown = fine(at)
    model = HookedTransformer.from_pretrained(REAL)
    tokens = model.to_tokens(DEFAULT_PROMPT)
    mine = head_habits(head_patterns(model, tokens, [Head(5, 5)]).pattern[0, 0])
    even = head_habits(uniform_pattern(tokens.shape[1]))
    assert f"first token **{words.percent(mine.first.item())}** ({words.percent(even.first.item())})" in line(at)
    assert f"entropy **{mine.entropy.item():.2f} nats** ({even.entropy.item():.2f})" in line(at)
    assert "rank 1 of 270" in line(at)
    assert f"n = {tokens.shape[1] - 1}" in line(at)
    assert "Head 5.5 is the most content-dependent of 270 on this text" in shown
    assert "its numbers are not those of the bf16 base model" in shown
    assert "BOS &lt;|endoftext|&gt; (id 0) stands first" in shown
    assert "ablate or patch" in shown
    assert at.query_params == {"model": REAL, "layer": "5", "head": "5"}


def test_the_most_content_dependent_button_goes_there():
    at = open_page().run()
    button = at.button(key="attention:content")
    assert button.label.startswith("Most content-dependent: 5.5 · 1.13 nats")
    assert "Nats per query" in button.proto.help
    button.click().run()
    fine(at)
    assert at.query_params == {"model": REAL, "layer": "5", "head": "5"}


# --- odd prompts and addresses, with a tiny model


def test_one_token_says_that_there_is_nothing_to_see(tiny):
    at = tiny(prompt="x", bos="off")
    assert "nothing to see" in fine(at)
    assert not at.get("plotly_chart")


@pytest.mark.parametrize("look", ["matrix", "text", "maps", "all"])
@pytest.mark.parametrize("first", ["auto", "hide"])
def test_two_tokens_are_drawn_in_every_view(tiny, look, first):
    fine(tiny(prompt="x", look=look, first=first))


def test_an_empty_prompt_is_said_and_nothing_is_lost(tiny):
    at = tiny(prompt=" ", layer="2", look="maps", pins="1.1")
    assert not at.exception
    assert "The prompt is empty" in at.info[0].value
    assert {key: at.query_params[key] for key in ("layer", "look", "pins")} == {
        "layer": "2", "look": "maps", "pins": "1.1",
    }  # fmt: skip


def test_an_unknown_model_becomes_the_default_with_a_note():
    assert "nonsense" in fine(open_page(model="nonsense").run())


def test_bad_values_of_the_address_are_sentences(tiny):
    at = tiny(
        prompt="some words to read", look="zz", over="zz", several="0,x,99", measure="1", first="", start="-4",
        query="4000", layer="77", head="a",
    )  # fmt: skip
    shown = fine(at)
    for sentence in (
        "Look must be one of matrix, text, maps, all",
        "Several is written like 0,3,5; left out",
        "Measure must be one of",
        "Start -4 is outside",
        "Layer 77 does not exist",
        "Head must be a whole number",
    ):
        assert sentence in shown
    assert at.query_params["several"] == "0,99"  # not looked at before heads of a layer are shown
    at.segmented_control(key="view:over").set_value("layer").run()
    assert "several names heads that this model does not have" in fine(at).lower()
    assert at.query_params["several"] == "0"


@pytest.mark.parametrize("look", ["matrix", "text", "maps", "all"])
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("first", ["show", "hide"])
def test_the_longest_prompt_is_drawn_thinned_and_says_so(tiny, look, measure, first):
    at = tiny(prompt="word " * 790, look=look, measure=measure, first=first, query="700", over="layer", several="0,1")
    shown = fine(at)
    assert "tokens: showing the first" in shown
    size = max(len(chart(at)) if at.get("plotly_chart") else 0, *map(len, components(at, "{") or [""]))
    assert size < 2_600_000
    assert ("drawn in blocks" if look in ("matrix", "all") else "are drawn.") in shown
    if first == "hide" and look != "all":
        assert "is hidden; it had" in shown


def test_a_stretch_of_a_long_prompt_says_what_lies_before_it(tiny):
    at = tiny(prompt="one two three four " * 60, start="300")
    shown = fine(at)
    assert "of what these queries look at lies before token 300." in shown
    box = bound(at.selectbox, "start")
    assert "300: " in " ".join(box.options)
    box.set_value(next(option for option in box.options if option.startswith("128: "))).run()
    fine(at)
    assert at.query_params["start"] == "128"
    bound(at.selectbox, "start").set_value("all, in blocks").run()
    assert "drawn in blocks" in fine(at)
    assert "start" not in at.query_params


def test_a_locked_query_stays_at_its_place_when_the_prompt_changes(tiny):
    at = tiny(prompt="some words to read", query="3")
    assert bound(at.selectbox, "query").value.startswith("3: ")
    at.text_area(key="view:prompt").set_value("other words to read here").run()
    fine(at)
    assert at.query_params["query"] == "3"
    bound(at.selectbox, "query").set_value("none").run()
    fine(at)
    assert "query" not in at.query_params


@pytest.mark.parametrize("look", ["matrix", "text", "maps", "all"])
def test_a_hostile_prompt_is_text_in_every_view(tiny, look):
    at = tiny(prompt=HOSTILE, look=look, query="5", first="hide")
    shown = fine(at)
    assert "<img src=x" not in shown
    assert not any("<img" in element.value or "](http" in element.value for element in (*at.markdown, *at.caption))
    if look in ("text", "maps"):
        (drawn,) = components(at, '"element"')
        assert "<\\u2060" in drawn or "<\u2060" in drawn
        assert "<img" not in drawn


def test_what_the_number_means_stands_under_the_figure(tiny):
    prompt = "some words to read"
    assert "Raw attention scores cannot be compared" in fine(tiny(prompt=prompt, measure="log"))
    assert "Attention times the length of what is moved" in fine(tiny(prompt=prompt, measure="moved"))
    shown = fine(tiny(prompt=prompt, measure="log", look="maps"))
    assert "here the colours are attention itself" in shown


def test_pins_of_different_layers_are_laid_over_each_other(tiny):
    at = tiny(prompt="some words to read", pins="0.1,2.3", over="pins", layer="2", head="3", query="4")
    assert "2 heads" in chart(at)
    assert "Both agree on the strongest key" in fine(at)
    strips = components(at, "lens-strip")
    assert "2.3: attention from query 4" in strips[0]  # the current head first
    assert "0.1: attention from query 4" in strips[1]
    at.button(key="attention:pin").click().run()
    fine(at)
    assert at.query_params["pins"] == "0.1"
    at = tiny(prompt="some words to read", over="pins")
    assert "No head is pinned" in fine(at)


def test_a_changed_head_computes_nothing(tiny):
    at = tiny(prompt="a text that nobody has read before")
    before = len(result_store())
    at.number_input(key="view:layer").set_value(2).run()
    at.number_input(key="view:head").set_value(3).run()
    at.segmented_control(key="view:measure").set_value("moved").run()
    fine(at)
    assert len(result_store()) == before


# --- numbers


@pytest.fixture(scope="module")
def tokens(model):
    return model.to_tokens("When Mary and John went to the store, Mary gave a drink to")


@pytest.mark.parametrize("keep_bytes", [10**9, 10])
def test_shown_numbers_are_those_of_the_analyses(model, tokens, keep_bytes, monkeypatch):
    monkeypatch.setattr(numbers, "analyse", lambda function, *args: function(*args).numpy())
    seen, heads = seen_of(model, tokens, keep_bytes=keep_bytes), [Head(2, 1), Head(0, 3)]
    plain = head_patterns(model, tokens, heads).pattern[0]
    lengths = value_weighted_patterns(model, tokens, heads).pattern[0]
    shares = value_weighted_patterns(model, tokens, heads, renormalise=True).pattern[0]
    for measure, share, want in (("attention", False, plain), ("moved", False, lengths), ("moved", True, shares)):
        shown = numbers.values_of(model, seen, heads, measure, hide=False, share=share)
        np.testing.assert_allclose(shown.values, want, atol=1e-5)
        assert shown.hidden is None
    for measure, share, want in (("attention", False, plain), ("moved", True, shares)):
        shown = numbers.values_of(model, seen, heads, measure, hide=True, share=share)
        np.testing.assert_allclose(shown.values, hide_first(want).pattern, atol=1e-5)
        np.testing.assert_allclose(shown.hidden, hide_first(want).hidden, atol=1e-5)
    shown = numbers.values_of(model, seen, heads, "moved", hide=True)
    np.testing.assert_allclose(shown.values[:, :, 1:], lengths[:, :, 1:], atol=1e-5)  # lengths stay lengths
    assert not shown.values[:, :, 0].any()
    np.testing.assert_allclose(shown.hidden, lengths[:, :, 0] / lengths.sum(-1), atol=1e-5)


def ramp(size: int) -> HeadValues:
    weights = np.tril(np.random.default_rng(0).random((1, size, size))).astype(np.float32)
    return HeadValues([(0, 0)], weights / weights.sum(-1, keepdims=True), None)


def test_a_text_that_fits_is_drawn_whole():
    labels = ["<s>"] * 5
    for look in ("matrix", "text"):
        part = numbers.part_for(look, ramp(5), labels, None)
        assert part.labels == [f"{i}: <s>" for i in range(5)]
        assert part.words == ""
        assert [part.row(q) for q in (None, 0, 4)] == [None, 0, 4]


def test_a_long_text_is_drawn_in_blocks_that_keep_their_largest():
    size = 2 * numbers.SIDE + 10
    shown, labels = ramp(size), [f"t{i}" for i in range(size)]
    part = numbers.part_for("matrix", shown, labels, None)
    assert part.block == 3
    assert part.labels[:2] == ["0: t0", "1–3: t1"]
    assert part.labels[-1].startswith(f"{size - (size - 1) % 3 if (size - 1) % 3 else size - 3}–{size - 1}: ")
    assert len(part.labels) == len(part.values[0]) <= numbers.SIDE + 1
    assert [part.row(q) for q in (0, 1, 3, 4)] == [0, 1, 1, 2]
    assert part.values[0, 2, 1] == shown.values[0, 4:7, 1:4].max()
    assert "blocks of 3" in part.words


def test_a_stretch_counts_what_lies_before_it():
    shown = HeadValues([(0, 0)], np.zeros((1, 600, 600), np.float32), None)
    shown.values[0, :, 0] = 0.75
    shown.values[0, np.arange(600), np.arange(600)] = 0.25
    part = numbers.part_for("matrix", shown, [str(i) for i in range(600)], 400)
    assert part.labels[0] == "400: 400"
    assert part.values.shape == (1, 200, 200)
    assert "Tokens 400 to 599 of 600" in part.words
    assert "75% of what these queries look at lies before token 400" in part.words
    assert [part.row(q) for q in (399, 400, 599)] == [None, 0, 199]


@pytest.mark.parametrize("n_heads", [1, 9, 32, 96])
def test_a_circuitsvis_view_has_a_bounded_size(n_heads):
    assert n_heads * numbers.longest("text", n_heads) ** 2 <= numbers.NUMBERS
    assert (n_heads + 1) * numbers.longest("maps", n_heads) ** 2 <= numbers.CELLS
    assert numbers.longest("maps", 9) > 64


def test_what_is_drawn_without_the_first_token_has_no_column_for_it(model):
    shown = ramp(6)
    hidden = hide_first(torch.tensor(shown.values))
    shown = HeadValues(shown.heads, hidden.pattern.numpy(), hidden.hidden.numpy())
    part = numbers.part_for("matrix", shown, list("abcdef"), None)
    figure = figure_of(model, shown, part, "attention", 3)
    assert np.isnan(figure.data[0].z[:, 0]).all()
    assert "not on the first token" in figure.layout.title.subtitle.text
    assert "hidden" in figure.data[0].colorbar.title.text


# --- sentences


def test_one_head_says_where_queries_look_and_its_strongest_pair():
    values = np.zeros((4, 4), np.float32)
    values[0, 0] = values[1, 0] = 1
    values[2, 1], values[2, 2] = 0.7, 0.3
    values[3, 3] = 1
    told = words.one_head(values, list("abcd"), "1.2", hidden=False, locked=2)
    assert told.startswith("Query 2 'c' looks most at 1 'b' (0.70) and 2 'c' (0.30).")
    assert "Where 3 queries look most: 1 at the first token, 1 at the token before and 1 at themselves." in told
    assert told.endswith("The strongest pair away from the first token of head 1.2: 3 'd' → 3 'd', 1.00.")


def test_the_only_key_left_to_a_query_is_no_finding():
    values = np.zeros((3, 3), np.float32)
    values[1, 1], values[2, 1], values[2, 2] = 1, 0.4, 0.6
    told = words.one_head(values, list("abc"), "1.2", hidden=True, locked=None)
    assert "The strongest pair of head 1.2: 2 'c' → 2 'c', 0.60." in told


def test_hidden_words_count_the_crumbs():
    hidden = np.array([1, 0.999, 0.5, 0.2])
    told = words.hidden_words(hidden, "1.2", "<s>", "attention")
    assert "it had 57% of the attention of 1.2 (mean of 3 queries)" in told
    assert "in 1 rows, over 99% of it" in told
    assert "length moved" in words.hidden_words(hidden, "1.2", "<s>", "moved")
    assert words.hidden_words(None, "1.2", "<s>", "attention") == ""


def test_several_heads_say_who_leads_and_how_often_they_agree():
    values = np.zeros((2, 4, 4), np.float32)
    values[:, :, 0] = 0.1
    values[0, [1, 2, 3], [1, 1, 2]] = 0.9
    values[1, [1, 2, 3], [1, 2, 3]] = [0.8, 0.9, 0.9]
    told = words.several_heads(values, ["0.0", "1.1"], None, list("abcd"))
    assert "5 pairs have at least a tenth" in told
    assert "most often 0.0 (3) and 1.1 (2)" in told
    assert "Both agree on the strongest key there in 1 of 3 queries" in told


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0%"), (0.0004, "<0.1%"), (0.05, "5.0%"), (0.4, "40%"), (np.nan, "not defined")]
)
def test_percent(share, text):
    assert words.percent(share) == text


def test_indices_read_what_they_write():
    field = indices("several")
    assert field.read(field.write((3, 0, 8))) == (3, 0, 8)
    assert field.read("") == ()
    with pytest.raises(BadValue, match="left out '-1'") as bad:
        field.read("1,1,-1")
    assert bad.value.use == (1,)


# --- exports


def view_of(**query: str) -> ViewState:
    fields = (*common_fields(AT_HOME), *PAGE.options)
    values, _ = parse(fields, query)
    names = {field.name for field in PAGE.options}
    shared = {name: value for name, value in values.items() if name not in names}
    return ViewState(fields, shared, {name: values[name] for name in names})


def run_code(view: ViewState, code: str, folder: Path) -> dict:
    """What the exported program computes, with a tiny model in the place of the default one."""
    program = reproduce(view, code)
    assert f"from_pretrained('{DEFAULT_MODEL}')" in program
    found: dict = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(program.replace(DEFAULT_MODEL, str(folder)), found)
    return found


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("hide", [False, True])
@pytest.mark.parametrize("measure", MEASURES)
def test_the_exported_python_gives_the_numbers_of_the_page(model, tiny_folder, measure, hide, share):
    prompt = "some words to read again, some words"
    tokens = model.to_tokens(prompt)
    shown = numbers.values_of(model, seen_of(model, tokens), [(1, 2), (0, 0)], measure, hide, share)
    part = numbers.part_for("matrix", shown, model.to_str_tokens(tokens), None)
    figure = figure_of(model, shown, part, measure, None)
    taken = numbers.heads_export(
        shown, Reading(Prompt(prompt, tokens, model.to_str_tokens(tokens))), measure, share, figure
    )
    view = view_of(prompt=prompt)
    found = run_code(view, taken.code, tiny_folder)
    np.testing.assert_allclose(found["values"].numpy(), taken.payload["values"], atol=1e-5)
    rows = taken.table()
    assert len(rows) == 2 * tokens.shape[1] * (tokens.shape[1] + 1) // 2
    last = rows.iloc[-1]
    np.testing.assert_allclose(last.iloc[-1], taken.payload["values"][1, -1, -1], atol=1e-6)
    assert '"first_token_hidden"' in to_json(view, taken.payload)
    assert b"plotly" in to_html(taken.figure)[:3_000_000].lower()


def test_the_exported_overview_gives_the_numbers_of_the_page(model, tiny_folder):
    prompt = "some words to read again, some words"
    tokens = model.to_tokens(prompt)
    seen = seen_of(model, tokens)
    taken = numbers.overview_export(seen, Reading(Prompt(prompt, tokens, model.to_str_tokens(tokens))), None)
    found = run_code(view_of(prompt=prompt), taken.code, tiny_folder)
    best = np.unravel_index(seen.content_dependence.argmax(), seen.content_dependence.shape)
    assert (found["layer"], found["head"]) == best
    np.testing.assert_allclose(found["seen"].content_dependence, seen.content_dependence, atol=1e-6)
    rows = taken.table()
    assert len(rows) == model.cfg.n_layers * model.cfg.n_heads
    np.testing.assert_allclose(rows.content_dependence_nats.max(), seen.content_dependence.max())
    assert list(rows.columns[:3]) == ["layer", "head", "first_token"]


def test_on_a_repeat_the_page_reads_the_tokens_of_head_scores_and_says_what_lies_on_its_cells():
    at = open_page(model=DEFAULT_MODEL, layer="1", head="1", reads="repeat", n="10", seqs="16", seed="3").run()
    shown = fine(at)
    model = HookedTransformer.from_pretrained(DEFAULT_MODEL)
    repeated = repeated_tokens(model, n=10, n_seqs=16, seed=3)
    pattern = head_patterns(model, repeated.tokens[:1], [Head(1, 1)]).pattern[0, 0].numpy()
    share = np.mean([pattern[q, q - 9] for q in range(11, 21)])
    assert f"head 1.1 gives {number(float(share))} of the attention of 10 queries" in shown
    assert "10 random tokens, twice: the first of the sequences of Head scores, seed 3." in shown
    with contextlib.redirect_stdout(io.StringIO()):
        names: dict = {}
        exec(at.code[0].value, names)
    np.testing.assert_array_equal(names["tokens"].numpy(), repeated.tokens[:1].numpy())
    np.testing.assert_allclose(names["values"][0].numpy(), pattern, atol=1e-5)


def test_without_a_switch_the_page_reads_the_prompt_as_old_addresses_mean_it():
    at = open_page(model=DEFAULT_MODEL, layer="1", head="1", prompt="one two one two").run()
    assert "random tokens, twice" not in fine(at)
    assert "reads" not in at.query_params
