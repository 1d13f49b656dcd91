"""Home: its text stands without a model, its presets open pages, its chain says what was found and what was not."""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from lens import HookedTransformer
from lens.analysis.head_scores import head_scores
from lens.analysis.ov_copying import ov_copying
from lens.analysis.random_tokens import repeated_tokens
from lens.figures.theme import number
from lens.ui.fields import DEFAULT_MODEL, DEFAULT_PROMPT, common_fields, parse
from lens.ui.limits import AT_HOME
from lens.ui.menu import page_of
from lens.ui.pages.home import start as home
from lens.ui.shared.chain.link import NAMES
from tests.ui.conftest import REAL, app_page, bound, fine, llama_folder, markdown

ROOT = Path(__file__).parents[2]
open_home = partial(app_page, "", model=REAL)


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory, tokenizer) -> Path:
    torch.manual_seed(0)  # a model without circuits, and the same one each time: what it has by chance stays what it is
    return llama_folder(tmp_path_factory, tokenizer, max_position_embeddings=80)


def outline(shown: str) -> dict[str, tuple[str, str]]:
    """Link of the chain -> (state, words)."""
    found = re.findall(r'<li class="(\w*)" data-step="\d"><b>([\w ]+)</b><span[^>]*>(.*?)</span>', shown)
    return {name: (state, words) for state, name, words in found}


def test_home_follows_the_strongest_head_of_the_real_model():
    at = open_home().run()
    shown = fine(at)
    assert at.query_params == {"model": REAL}
    assert home.QUESTION in shown
    assert f"{REAL} · 30 layers of 9 heads · 135 M parameters" in shown
    assert outline(shown)["copies"] == ("found", "0.59, above its null")
    assert outline(shown)["matters"] == ("later", "not computed yet")
    assert outline(shown)["was born"] == ("later", "not computed")
    assert "Not computed because it takes about" in markdown(at)
    assert "Not computed because no checkpoints of smollm2-135m-instruct are known" in markdown(at)
    assert "rank 1 of 270" in shown
    assert "Head 18.6 reads 25 random tokens, then the same 25 again" in markdown(at)
    assert "It is the strongest." in markdown(at)
    assert {metric.label: metric.value for metric in at.metric}["Rank"] == "1 of 270"
    assert "Q4_1" in shown


def test_home_follows_a_pinned_head_and_leads_back():
    at = open_home(pins="17.3").run()
    assert "Head 17.3 reads" in markdown(at)
    assert "The strongest is 18.6." in markdown(at)
    at.button(key="home:best").click().run()
    assert "Head 18.6 reads" in markdown(at)
    assert at.query_params == {"model": REAL, "layer": "18", "head": "6", "pins": "17.3"}
    at.button(key="home:pin").click().run()
    assert at.query_params["pins"] == "17.3,18.6"
    at.button(key="home:pin").click().run()
    assert at.query_params == {"model": REAL, "layer": "18", "head": "6", "pins": "17.3"}


def test_without_an_induction_head_the_chain_says_so(tiny_folder):
    at = open_home(model="local:tiny", n="12")
    at.session_state["lens:paths"] = {"local:tiny": str(tiny_folder)}
    shown = fine(at.run())
    assert [outline(shown)[name][0] for name in ("attends", "scores")] == ["none", "none"]
    assert outline(shown)["matters"][0] == "none"
    assert outline(shown)["was born"] == ("later", "not computed")
    assert "within chance" in shown
    assert "No head attends this way more than chance allows" in markdown(at)
    assert "None of the 12 heads exceeds" in markdown(at)
    assert "None of the 12 heads exceeds the null threshold" in shown


def test_without_an_address_home_tells_the_whole_chain_of_the_shipped_model():
    at = app_page("").run()
    shown = fine(at)
    assert at.query_params == {}
    assert f"{DEFAULT_MODEL} · 2 layers of 4 heads · 0.56 M parameters" in shown
    links = outline(shown)
    assert list(links) == list(NAMES)
    assert {state for state, _ in links.values()} == {"found"}
    model = HookedTransformer.from_pretrained(DEFAULT_MODEL)
    repeated = repeated_tokens(model, 25, 16, 0)
    induction = head_scores(model, repeated)["induction"].score.mean
    layer, head = strongest = tuple(int(i) for i in np.unravel_index(int(induction.argmax()), induction.shape))
    assert links["scores"][1] == f"{number(float(induction[strongest]))}, rank 1 of 8"
    assert links["copies"][1] == f"{number(float(ov_copying(model).full.score[strongest]))}, above its null"
    # by hand: its output at every position taken from a run whose first copy is of other tokens, one forward
    point, other = f"blocks.{layer}.attn.hook_z", repeated.tokens.clone()
    other[:, 1:26] = repeated.control[:, 26:]
    _, source = model.run_with_cache(other, names_filter=point)

    def replace(z, hook):
        z[:, :, head] = source[point][:, :, head]

    run = partial(model.run_with_hooks, repeated.tokens, return_type="loss", loss_per_token=True)
    loss = [run(fwd_hooks=hooks)[:, 26:].mean().item() for hooks in ([(point, replace)], [])]
    assert links["matters"][1] == f"+{number(loss[0] - loss[1])} nats without it"
    assert links["was born"][1].startswith("between ")
    assert f"Head {layer}.{head} of {DEFAULT_MODEL} was born between" in markdown(at)
    labels = [link.proto.label for link in at.get("page_link")]
    assert {f"{page} of {layer}.{head}" for page in ("Attention", "OV copying", "Training dynamics")} <= set(labels)


def test_a_decoy_attends_and_scores_and_does_neither_copy_nor_matter():
    at = open_home(model="planted-decoy").run()
    links = outline(fine(at))
    assert [links[name][0] for name in NAMES] == ["found", "found", "found", "none", "found", "none", "later"]
    assert "There is nothing it could need it for: the model is not seen to use the repetition" in markdown(at)


def test_a_planted_circuit_is_found_link_by_link():
    at = open_home(model="planted-induction").run()
    links = outline(fine(at))
    assert [links[name][0] for name in NAMES] == ["found", "found", "found", "found", "found", "found", "later"]


def test_a_link_that_takes_long_is_computed_after_a_click():
    at = open_home(n="15", seqs="8").run()
    next(one for one in at.button if (one.key or "").startswith("start:matters-")).click().run()
    links = outline(fine(at))
    assert links["matters"][1].endswith("nats without it")
    assert "Removed alike, 8 other heads of its layer" in markdown(at)


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
    assert "is not on this machine" in markdown(at)


@pytest.mark.parametrize("preset", [*home.STARTERS, *home.MORE], ids=lambda preset: preset.title)
def test_presets_hold_valid_values_and_name_the_model(preset):
    page = page_of(preset.page)
    fields = (*common_fields(AT_HOME), *page.options)
    values, notes = parse(fields, preset.query)
    assert notes == []
    assert preset.query.keys() <= values.keys()
    assert (ROOT / page.file).is_file()


def test_every_preset_is_a_link():
    at = open_home().run()
    labels = [link.proto.label for link in at.get("page_link")]
    assert set(labels) >= {f"{preset.title}\n\n{preset.words}" for preset in (*home.STARTERS, *home.MORE)}


def test_a_preset_replaces_everything_that_was_set():
    at = open_home(prompt="mine", layer="3", n="10", seqs="2").run()
    at.switch_page("pages/head_scores.py")
    at.query_params.clear()
    at.query_params["model"] = REAL
    assert "45 of 270 heads" in fine(at.run())
    assert bound(at.text_area, "prompt").value == DEFAULT_PROMPT
    assert at.query_params == {"model": REAL}, "rewriting the address would trap the Back button"
    at.number_input(key="view:sequence").set_value(2).run()
    assert at.query_params == {"model": REAL, "sequence": "2"}


def test_what_stands_before_the_numbers_imports_no_torch():
    code = "import sys, lens.ui.pages.home.start, lens.ui.pages.head_scores.controls; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
