"""The Model page: every tab against the model itself, odd models, odd addresses, and the Python of its exports."""

import contextlib
import io
import json
import os
import re
from functools import partial
from pathlib import Path

import pytest
import streamlit as st
import torch
from streamlit.testing.v1 import AppTest

from lens import HookedTransformer
from lens.analysis.fidelity import CHECKS
from lens.analysis.memory import activations, axes_of, forecast
from lens.figures.facts import size
from lens.load.entries import ENTRIES, REFUSED
from lens.process import center_unembed, fold_layer_norm
from lens.ui.export import reproduce
from lens.ui.fields import common_fields, parse
from lens.ui.limits import AT_HOME
from lens.ui.pages.model import PAGE, TABS
from lens.ui.pages.model import config as model_config
from lens.ui.pages.model import fidelity as model_fidelity
from lens.ui.pages.model import folding as model_folding
from lens.ui.pages.model import memory as model_memory
from lens.ui.pages.model import names as model_names
from lens.ui.pages.model import table as model_table
from lens.ui.view import ViewState
from tests.helpers import hf_gpt2, hf_llama
from tests.load.models import save
from tests.load.toys import new_repository
from tests.ui.conftest import REAL, app_page, fine, local

open_page = partial(app_page, "model", model=REAL)
HOSTILE = "</script><img src=x onerror=alert(1)> $x$ ![a](http://b.example/c)"


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tokenizer) -> dict[str, Path]:
    """A LLaMA with grouped keys and values, a GPT-2 with learned biases, an attention-only toy without a tokenizer."""
    root = tmp_path_factory.mktemp("models")
    size = len(tokenizer) + 5
    save(hf_llama(vocab_size=size, num_key_value_heads=2, max_position_embeddings=200), root / "llama", tokenizer)
    save(hf_gpt2(vocab_size=size, n_positions=200), root / "gpt2", tokenizer)
    new_repository(root / "toy", d_vocab=113)
    return {name: root / name for name in ("llama", "gpt2", "toy")}


@pytest.fixture
def tiny(folders):
    """``tiny("gpt2", part="folding", ...)``: the page with a tiny model open, run once."""
    return lambda name="gpt2", **query: local("model", folders[name], **query).run()


def rows_of(at: AppTest) -> dict[str, list[str]]:
    """The tree of names: every row under its name."""
    data = next(json.loads(c.proto.json) for c in at.get("bidi_component") if '"groups"' in c.proto.json)
    return {row[0]: row for group in data["groups"] for row in group["rows"]}


def fact(shown: str, name: str) -> str:
    return re.search(rf'<th scope="row">{re.escape(name)}</th><td class="value">(.*?)</td>', shown)[1]


def test_the_default_page_is_the_default_model_in_numbers():
    at = open_page().run()
    shown = fine(at)
    cfg = HookedTransformer.from_pretrained(REAL).cfg
    for name in ("n_layers", "n_heads", "n_kv_heads", "d_model", "d_mlp", "d_vocab", "n_ctx"):
        assert fact(shown, name) == str(getattr(cfg, name))
    assert fact(shown, "weights") == "134,515,008"
    assert "30 layers of 9 heads, 3 of which share their keys and values." in shown
    assert "&lt;|endoftext|&gt; (id 0) stands first" in shown
    assert "separated its training documents" in shown
    assert "every row of W_E has a token" in shown
    assert "Not used by this structure, and left out: alibi_scale, alibi_bf16" in at.caption[0].value
    assert at.query_params == {"model": REAL}


@pytest.mark.parametrize("name", ["llama", "gpt2", "toy"])
@pytest.mark.parametrize("part", [part for part in TABS if part != "models"])
def test_every_tab_opens_for_every_kind_of_model(tiny, name, part):
    at = tiny(name, part=part, prompt="The cat sat on the mat.", length="20")
    shown = fine(at)
    if part != "fidelity":
        assert "lens-line notice" in shown
        assert "lens-line misreading" in shown


def test_a_model_without_a_tokenizer_says_so_and_what_follows(tiny):
    shown = fine(tiny("toy"))
    assert fact(shown, "tokenizer") == "none"
    assert "put its tokenizer.json beside the weights" in shown
    shown = fine(tiny("toy", part="works"))
    assert '<th scope="row">Attention</th><td class="state">' in shown
    assert "No text can be read" in shown
    at = tiny("toy", part="activations", prompt="")
    assert "shapes are shown for 16 tokens" in fine(at)
    assert rows_of(at)["blocks.0.attn.hook_pattern"][1] == "[1, 4, 16, 16]"
    assert "which no text names" not in fine(tiny("toy", part="norms"))
    assert "id " in tiny("toy", part="norms").dataframe[0].value["token"][0]


def test_weights_are_searched_and_named_as_in_code(tiny, folders):
    at = tiny("llama", part="weights")
    model = HookedTransformer.from_pretrained(str(folders["llama"]))
    rows = rows_of(at)
    assert list(rows) == [name for name, _ in model.named_parameters()]
    assert rows["blocks.1.attn.W_K"][1:3] == ["[2, 32, 8]", "512"]
    assert rows["blocks.0.attn.b_Q"][4] == "all 0: this model has none"
    at.text_input(key="view:find").set_value("1.attn W_").run()
    assert set(rows_of(at)) == {f"blocks.1.attn.W_{letter}" for letter in "QKVO"}
    assert at.query_params["find"] == "1.attn W_"
    at.text_input(key="view:find").set_value("no such name").run()
    fine(at)
    assert "No name contains this" in at.info[0].value


@pytest.mark.parametrize("name", ["llama", "gpt2"])
@torch.no_grad()
def test_activations_are_those_of_a_run_of_the_prompt(tiny, folders, name):
    at = tiny(name, part="activations", prompt="The cat sat on the mat.")
    model = HookedTransformer.from_pretrained(str(folders[name]))
    _, cache = model.run_with_cache("The cat sat on the mat.")
    rows = rows_of(at)
    assert set(rows) == set(model.hook_dict)
    for hook, x in cache.items():
        assert rows[hook][1] == str(list(x.shape))
    assert rows["blocks.0.attn.hook_result"][3] == "only on request"


def test_the_axes_of_an_activation_fit_its_shape(tiny_gpt2, tiny_llama):
    for model in (tiny_gpt2, tiny_llama):
        sizes = model.cfg.axes | {"batch": 2, "pos": 7, "query": 7, "key": 7, "1": 1}
        for one in activations(model.cfg, 2, 7):
            assert tuple(sizes[word] for word in axes_of(one.name).split()) == one.shape, one.name


@pytest.mark.parametrize("part", ["activations", "fidelity"])
def test_an_empty_prompt_is_a_sentence(tiny, part):
    at = tiny(part=part, prompt="")
    fine(at)
    assert "The prompt is empty" in at.info[0].value


def test_one_token_is_enough(tiny):
    at = tiny(part="activations", prompt="a", bos="off")
    fine(at)
    assert rows_of(at)["blocks.0.attn.hook_pattern"][1] == "[1, 4, 1, 1]"
    at = tiny(part="fidelity", prompt="a", bos="off")
    start(at)
    assert f"{len(CHECKS)} of {len(CHECKS)} checks hold on 1 tokens" in fine(at)


def test_folding_shows_the_learned_unigram_bias_and_a_ratio(tiny, folders):
    at = tiny("gpt2", part="folding", a=" the", b=" Mary")
    fine(at)
    model = HookedTransformer.from_pretrained(str(folders["gpt2"]))
    bias = center_unembed(fold_layer_norm(model)).b_U
    a, b = (model.to_single_token(text) for text in (" the", " Mary"))
    metrics = {metric.label: float(metric.value.replace(",", "")) for metric in at.metric}
    assert metrics["b_U of a"] == pytest.approx(bias[a].item(), abs=1e-3)
    assert metrics["Ratio a : b"] == pytest.approx((bias[a] - bias[b]).exp().item(), rel=2e-3)
    assert at.dataframe[0].value["b_U (logits)"][0] == pytest.approx(bias.max().item(), abs=1e-4)


def test_two_tokens_or_none_are_no_ratio_but_a_sentence(tiny):
    at = tiny("gpt2", part="folding", a="cat sat", b="")
    shown = fine(at)
    assert "&#x27;cat sat&#x27; is" in shown
    assert "wanted exactly one" in shown
    assert "a token is missing" in shown
    assert not at.metric


def test_a_model_without_a_unigram_bias_says_why(tiny):
    assert "Not computed because the final norm is RMSNorm, which has no bias to fold" in fine(
        tiny("llama", part="folding")
    )


def test_norms_of_a_tied_model_are_the_same_on_both_sides(tiny, folders):
    model = HookedTransformer.from_pretrained(str(folders["gpt2"]))
    for side in ("embed", "unembed"):
        at = tiny("gpt2", part="norms", side=side)
        assert "W_E and W_U are one memory here" in fine(at)
        assert at.dataframe[0].value["length"][0] == pytest.approx(model.W_E.norm(dim=1).max().item(), rel=1e-5)


def test_memory_of_another_length_and_format(tiny, folders):
    at = tiny("llama", part="memory", length="50", batch="3", dtype="bfloat16")
    shown = fine(at)
    found = forecast(HookedTransformer.from_pretrained(str(folders["llama"])), 3, 50, torch.bfloat16)
    assert fact_after_state(shown, "run_with_cache") == size(found.cache)
    assert fact_after_state(shown, "total") == size(found.total)
    assert at.dataframe[0].value["bytes"].sum() == found.cache
    assert '<tr class="good"><th scope="row">total</th><td class="state">fits</td>' in shown


def fact_after_state(shown: str, name: str) -> str:
    pattern = rf'<th scope="row">{name}</th><td class="state">[^<]*</td><td class="value">(.*?)</td>'
    return re.search(pattern, shown)[1]


def test_more_than_the_context_is_moved_with_a_note(tiny):
    shown = fine(tiny("llama", part="memory", length="5000"))
    assert "Length 5000 is outside 1 to 200 here: showing 200" in shown


def start(at: AppTest) -> AppTest:
    (button,) = [button for button in at.button if button.label.startswith("Check it")]
    return button.click().run()


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_fidelity_is_computed_on_request_and_green(tiny, name):
    at = tiny(name, part="fidelity", prompt="Then, Claire and Tom walked home.")
    assert '<td class="state">' not in fine(at)
    start(at)
    shown = fine(at)
    assert shown.count('<td class="state">holds</td>') == len(CHECKS)
    assert "transformers gives the same logits from the files of the folder" in shown
    again = tiny(name, part="fidelity", prompt="Then, Claire and Tom walked home.")
    assert "checks hold" in fine(again)  # known already: nothing to ask


def test_fidelity_of_a_toy_says_what_does_not_apply(tiny):
    at = tiny("toy", part="fidelity")
    start(at)
    shown = fine(at)
    assert "checked on the ids 0 to 15 instead of the prompt" in shown
    assert "not computed because the model has attention layers only." in shown
    assert "transformers does not know this architecture" in shown
    assert "FAILS" not in shown


def test_a_model_that_computes_something_else_is_red(tmp_path, tokenizer):
    """The files change after the model was opened: as if Lens had read them wrongly."""
    folder = save(hf_gpt2(vocab_size=len(tokenizer)), tmp_path / "broken", tokenizer)
    at = open_page(model="local:broken", part="fidelity", prompt="The cat")
    at.session_state["lens:paths"] = {"local:broken": str(folder)}
    at.run()
    other = hf_gpt2(vocab_size=len(tokenizer))
    with torch.no_grad():
        other.transformer.h[1].mlp.c_fc.weight[3, 4] += 0.05
    stamp = folder.stat()
    save(other, folder, tokenizer)
    os.utime(folder, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # the app sees the same model
    start(at)
    shown = fine(at)
    assert re.search(r'<tr class="bad"><th scope="row">Hugging Face</th><td class="state">FAILS</td>', shown)
    assert shown.count('<td class="state">FAILS</td>') == 1
    assert "1 of 9 checks FAIL on" in shown


def test_all_models_are_listed_without_opening_one():
    at = open_page(part="models").run()
    shown = fine(at)
    assert '<div class="lens-badge"' not in shown  # no model, no computation
    rows = at.dataframe[0].value.set_index("model")
    assert set(rows.index) == {entry.alias for entry in (*ENTRIES, *REFUSED)}
    assert rows.loc["lens-2l", "on disk"]
    assert rows.loc["smollm2-135m-instruct", "on disk"]
    assert rows.loc["gpt2", "float32"] == pytest.approx(497.76, abs=0.01)
    assert rows.loc["pythia-70m", "checkpoints"] == "154, by steps"
    assert rows.loc["attn-only-2l", "checkpoints"] == "163, by tokens"
    assert rows.loc["gelu-1l", "checkpoints"] == "by tokens, number known to the Hub"
    assert rows.loc["olmoe", "refused"].startswith("is a mixture of experts")
    assert rows.loc["llama-65b", "runs here"] != "yes"
    at.segmented_control(key="view:list").set_value("local").run()
    assert at.dataframe[0].value["on disk"].all()
    assert at.query_params["list"] == "local"


def test_a_row_opens_offers_or_refuses_its_model():
    at = open_page(part="models").run()
    rows = at.dataframe[0].value
    view = view_of(part="models")
    with pytest.MonkeyPatch.context() as patch:
        state: dict = {}
        patch.setattr(st, "session_state", state)
        for name in ("gpt2", "olmoe"):
            state[model_table.KEY] = {"selection": {"rows": [list(rows["model"]).index(name)]}}
            model_table.choose(view, rows)
        assert (view.model, view.part) == ("gpt2", "config")
        assert "olmoe is a mixture of experts" in state["lens:refused"]


def test_a_model_that_is_not_here_is_offered_with_its_size():
    at = open_page(model="gpt2").run()
    fine(at)
    assert "It can be fetched from the Hugging Face Hub (548 MB)." in " ".join(m.value for m in at.markdown)
    assert "Download gpt2" in [button.label for button in at.button]


def test_bad_values_become_defaults_with_notes():
    at = open_page(part="nonsense", side="left", length="0", batch="x", dtype="int4", list="<b>").run()
    shown = fine(at)
    for sentence in (
        "Part must be one of config, works",
        "Side must be one of embed, unembed",
        "Length 0 is outside 1 to",
        "Batch must be a whole number",
        "Dtype must be one of float32",
        "List must be one of all, local",
    ):
        assert sentence in shown
    assert at.query_params == {"model": REAL}


@pytest.mark.parametrize("part", ["config", "weights", "activations", "folding", "fidelity"])
def test_hostile_text_stays_text(tiny, part):
    at = tiny(prompt=HOSTILE, find="<img", a=HOSTILE[:60], b="<img src=x onerror=alert(1)>", part=part)
    shown = fine(at)
    assert "<img" not in shown
    assert not [m for m in at.markdown if "<img" in m.value or "![a]" in m.value]


def view_of(**query: str) -> ViewState:
    shared, own = common_fields(AT_HOME), PAGE.options
    return ViewState((*shared, *own), parse(shared, query)[0], parse(own, query)[0])


def test_the_python_of_every_export_runs_and_computes_the_same():
    model = HookedTransformer.from_pretrained(REAL)
    view = view_of(model=REAL, length="64", batch="2", dtype="bfloat16")
    codes = [
        model_config.CODE,
        model_names.WEIGHTS_CODE,
        model_folding.code(view, missing=True),
        model_memory.code(view),
    ]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(reproduce(view, "\n".join(codes)), {})  # the page's own text
    assert "134515008" in out.getvalue()
    assert str(forecast(model, 2, 64, torch.bfloat16)) in out.getvalue()


def test_the_python_of_the_card_runs_all_checks(tiny_gpt2, tiny_llama):
    for model in (tiny_gpt2, tiny_llama):
        scope, out = {"model": model, "tokens": model.to_tokens("The cat sat.")}, io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(model_fidelity.code(model, 4), scope)
        assert out.getvalue().count(" True ") == len(CHECKS) - 1  # there are no files to open again


def test_the_python_of_folding_computes_the_ratio(tiny_gpt2):
    view, scope, out = view_of(a=" the", b=" Mary"), {"model": tiny_gpt2}, io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(model_folding.code(view, missing=False), scope)
    assert float(out.getvalue().split("(")[-1].rstrip(")\n")) == pytest.approx(
        (scope["bias"][scope["a"]] - scope["bias"][scope["b"]]).exp().item(), rel=1e-3
    )
