"""Home: its text stands without a model, its presets open pages, its chain says what was found and what was not."""

import subprocess
import sys
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from lens.ui.fields import DEFAULT_MODEL, DEFAULT_PROMPT, common_fields, parse
from lens.ui.limits import AT_HOME
from lens.ui.menu import page_of
from lens.ui.pieces import home
from lens.ui.pieces.attention import OPTIONS as ATTENTION_OPTIONS
from lens.ui.pieces.head_scores import OPTIONS as SCORE_OPTIONS
from lens.ui.pieces.tokens_options import OPTIONS as TOKEN_OPTIONS
from tests.helpers import hf_llama
from tests.load.models import save
from tests.ui.conftest import bound, html

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory, tokenizer) -> Path:
    model = hf_llama(vocab_size=len(tokenizer), max_position_embeddings=80)
    return save(model, tmp_path_factory.mktemp("model") / "tiny", tokenizer)


def open_home(**query: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    at.query_params.update(query)
    return at


def fine(at: AppTest) -> str:
    assert not at.exception
    assert not at.error
    return html(at)


def words(at: AppTest) -> str:
    return " ".join(element.value for element in at.markdown)


def test_home_follows_the_strongest_head_of_the_real_model():
    at = open_home().run()
    shown = fine(at)
    assert at.query_params == {}
    assert home.QUESTION in shown
    assert f"{DEFAULT_MODEL} · 30 layers of 9 heads · 135 M parameters" in shown
    assert shown.count('class="found"') == 2
    assert "rank 1 of 270" in shown
    assert "Head 18.6 reads 25 random tokens, then the same 25 again" in words(at)
    assert "It is the strongest." in words(at)
    assert {metric.label: metric.value for metric in at.metric}["Rank"] == "1 of 270"
    assert shown.count("Not computed yet: no page of this version") == 3
    assert "Q4_1" in shown


def test_home_follows_a_pinned_head_and_leads_back():
    at = open_home(pins="17.3").run()
    assert "Head 17.3 reads" in words(at)
    assert "The strongest is 18.6." in words(at)
    at.button(key="home:best").click().run()
    assert "Head 18.6 reads" in words(at)
    assert at.query_params == {}


def test_without_an_induction_head_the_chain_says_so(tiny_folder):
    at = open_home(model="local:tiny", n="12")
    at.session_state["lens:paths"] = {"local:tiny": str(tiny_folder)}
    shown = fine(at.run())
    assert shown.count('class="none"') == 2
    assert "within chance" in shown
    assert "No head attends this way more than chance allows" in words(at)
    assert "None of the 12 heads exceeds" in words(at)
    assert "None of the 12 heads exceeds the null threshold" in shown


@pytest.mark.parametrize("query", [{"prompt": ""}, {"prompt": "x"}, {"prompt": "cat " * 1000}])
def test_the_prompt_does_not_matter_at_home(query):
    assert "rank 1 of 270" in fine(open_home(**query).run())


def test_bad_values_and_unknown_models_are_notes():
    at = open_home(model="no-such", n="x", seqs="0", pins="99.99")
    shown = fine(at.run())
    for sentence in ("no-such", "N must be a whole number", "Seqs 0 is outside", "This model has no head 99.99"):
        assert sentence in shown


def test_a_model_that_is_not_here_leaves_the_text_on_the_page():
    at = open_home(model="nobody/nothing").run()
    shown = fine(at)
    assert home.QUESTION in shown
    assert "computing" in shown
    assert "is not on this machine" in words(at)


@pytest.mark.parametrize("preset", home.PRESETS, ids=lambda preset: preset.title)
def test_presets_hold_valid_values_and_name_the_model(preset):
    page = page_of(preset.page)
    options = {"head_scores": SCORE_OPTIONS, "tokens": TOKEN_OPTIONS, "attention": ATTENTION_OPTIONS}
    fields = (*common_fields(AT_HOME), *options[page.path])
    values, notes = parse(fields, preset.query)
    assert notes == []
    assert preset.query.keys() <= values.keys()
    assert (ROOT / page.file).is_file()


def test_every_preset_is_a_link():
    at = open_home().run()
    labels = [link.proto.label for link in at.get("page_link")]
    assert set(labels) >= {preset.title for preset in home.PRESETS}


def test_a_preset_replaces_everything_that_was_set():
    at = open_home(prompt="mine", layer="3", n="10", seqs="2").run()
    at.switch_page("pages/head_scores.py")
    at.query_params.clear()
    at.query_params["model"] = DEFAULT_MODEL
    assert "45 of 270 heads" in fine(at.run())
    assert bound(at.text_area, "prompt").value == DEFAULT_PROMPT
    assert at.query_params == {"model": DEFAULT_MODEL}, "rewriting the address would trap the Back button"
    at.number_input(key="view:sequence").set_value(2).run()
    assert at.query_params == {"sequence": "2"}


def test_what_stands_before_the_numbers_imports_no_torch():
    code = "import sys, lens.ui.pieces.home, lens.ui.pieces.head_scores; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
