"""LENS_DTYPE: models in another format, said with every number, and what that does to the numbers."""

import io
import json
import tokenize

import plotly.graph_objects as go
import pytest
import torch

from lens import HookedTransformer
from lens.analysis.selftest import SEED, SEQUENCES
from lens.analysis.selftest.instruments import INSTRUMENTS
from lens.analysis.selftest.result import judge
from lens.analysis.selftest.subject import TOOLS, make_subject
from lens.launch import main
from lens.load.number_format import number_format, rounding_words
from lens.ui.export import to_html, to_json
from lens.ui.fields import DEFAULT_PROMPT, common_fields
from lens.ui.limits import AT_HOME
from lens.ui.menu import MENU
from lens.ui.view import ViewState
from tests.ui.conftest import app_page, fine, python_of

SAID = "Computed in bfloat16: every weight and activation is rounded to 8 binary digits, about 1 part in 250."
OWN = ("deck", "findings", "method", "training_dynamics")  # open no model, or their own in float32, and say so
VIEWS = {page.path: {"model": "lens-1l"} for page in MENU if page.path not in OWN} | {
    "head": {"model": "planted-induction", "layer": "1", "head": "0"},
    "ablation": {"model": "planted-induction"},
    "patching": {"model": "planted-induction", "more": "path"},
    "qk_attribution": {"layer": "1", "head": "1"},
    "neurons": {"model": "planted-induction"},
    "composition": {},
}
NAMED = ("induction", "previous", "copying", "attribution", "ablation_one", "patching", "qk_attribution", "logit_lens")


@pytest.fixture
def bfloat16(monkeypatch):
    monkeypatch.setenv("LENS_DTYPE", "bfloat16")


def test_the_format_is_float32_unless_the_environment_names_another(monkeypatch):
    assert number_format() == "float32"
    monkeypatch.setenv("LENS_DTYPE", "float16")
    assert number_format() == "float16"
    assert rounding_words(torch.float16).startswith("Computed in float16")
    assert rounding_words("float32") == rounding_words(torch.float64) == ""


def test_a_wrong_name_is_said_before_anything_starts(monkeypatch, capsys):
    monkeypatch.setenv("LENS_DTYPE", "int8")
    assert main([]) == 2
    assert (
        "LENS_DTYPE='int8' is no format that the app opens models in; use float32, bfloat16" in capsys.readouterr().err
    )


@pytest.mark.parametrize("path", VIEWS)
def test_every_page_works_in_bfloat16_and_says_so(bfloat16, path):
    at = app_page(path, **VIEWS[path]).run()
    assert ">bfloat16</span>" in fine(at)
    assert SAID in fine(at)
    for code in python_of(at):
        if "from_pretrained" in code:
            assert "dtype='bfloat16'" in code
            list(tokenize.generate_tokens(io.StringIO(code).readline))


def test_files_say_the_format(monkeypatch):
    import streamlit as st

    monkeypatch.setitem(st.session_state, "lens:run", {"model": "lens-2l", "revision": None, "dtype": "bfloat16"})
    fields = common_fields(AT_HOME)
    view = ViewState(fields, {field.name: field.default for field in fields})
    assert json.loads(to_json(view, {"x": 1}))["computed_with"] == {"model": "lens-2l", "dtype": "bfloat16"}
    for figure in (go.Figure(go.Scatter(y=[1, 2])), "<div>strip</div>"):
        assert "lens-2l · bfloat16 · &lt;b&gt;" in to_html(figure, "lens-2l · bfloat16 · <b>").decode()


@pytest.mark.parametrize(("form", "nats", "probability"), [("bfloat16", 2e-3, 0.02), ("float16", 5e-5, 0.002)])
def test_the_error_of_a_format_is_as_small_as_the_readme_says(form, nats, probability):
    exact, rounded = (HookedTransformer.from_pretrained("lens-2l", dtype=one) for one in ("float32", form))
    tokens = exact.to_tokens(DEFAULT_PROMPT)
    (p, patterns), (q, others) = (model.run_with_cache(tokens) for model in (exact, rounded))
    p, q = p.float().log_softmax(-1), q.float().log_softmax(-1)
    assert (p.exp() * (p - q)).sum(-1).max() < nats
    for layer in range(2):
        name = f"blocks.{layer}.attn.hook_pattern"
        assert (patterns[name] - others[name].float()).abs().max() < probability


@torch.no_grad()
@pytest.mark.parametrize("name", ["planted-decoy"])
def test_verdicts_on_planted_models_are_those_of_float32(name):
    both = [
        make_subject(HookedTransformer.from_pretrained(name, dtype=one), SEQUENCES, SEED, TOOLS)
        for one in ("float32", "bfloat16")
    ]
    chosen = [instrument for instrument in INSTRUMENTS if instrument.name in NAMED]
    assert len(chosen) == len(NAMED)
    for instrument in chosen:
        readings = [instrument.measure(subject) for subject in both]
        exact, rounded = (judge(reading, instrument.smallest, instrument.striking) for reading in readings)
        assert exact == rounded, instrument.name
        assert readings[1].value == pytest.approx(readings[0].value, rel=0.01, abs=0.01), instrument.name
