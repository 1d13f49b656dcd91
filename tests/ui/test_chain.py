"""The chain of evidence: what each link finds on a planted circuit, and that Home and One head say the same."""

import re

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from lens import HookedTransformer
from lens.analysis.composition import composition
from lens.analysis.head_scores import head_scores
from lens.analysis.induction_loss import first_copy_losses
from lens.analysis.interventions import run_sweep
from lens.analysis.interventions.removal import read_removal, removal_of
from lens.analysis.names import Head
from lens.analysis.ov_copying import ov_copying
from lens.analysis.random_tokens import RepeatedTokens, repeated_tokens
from lens.planted.layout import INDUCTION, PREVIOUS
from lens.ui.shared.chain.link import LINKS, NAMES, Finding
from lens.ui.shared.wording import signed
from tests.ui.conftest import ROOT, fine

PLANTED = "planted-induction"
FIND = """
from lens.analysis.largest_head import largest_head
from importlib import import_module
import streamlit as st
from lens.ui.frame import frame
from lens.ui.models import open_model
from lens.ui.shared import heads, repeats
from lens.ui.shared.chain.link import LINKS, Case
with frame("Home", question="What do the links find?") as view:
    model = open_model(view)
    sample = repeats.sample(model, repeats.settings(view, model))
    head = heads.current(view, largest_head(sample.scores["induction"].score.mean))
    case = Case(view, model, head, sample, full=False)
    st.session_state["head"] = head
    st.session_state["found"] = {
        link.name: import_module("lens.ui.shared.chain." + link.name.replace(" ", "_")).find(case) for link in LINKS
    }
"""


@pytest.fixture(scope="module")
def model() -> HookedTransformer:
    return HookedTransformer.from_pretrained(PLANTED)


@pytest.fixture(scope="module")
def repeated(model) -> RepeatedTokens:
    return repeated_tokens(model, 25, 16, 0)


@pytest.fixture
def found(app) -> dict[str, Finding]:
    at = app(FIND)
    at.query_params["model"] = PLANTED
    fine(at.run())
    assert at.session_state["head"] == Head(*INDUCTION)
    return at.session_state["found"]


def test_every_link_of_a_planted_circuit_is_found_with_the_number_of_its_analysis(found, model, repeated):
    assert {name: one.state for name, one in found.items()} == dict.fromkeys(NAMES, "found") | {"was born": "later"}
    layer, head = INDUCTION
    _, cache = model.run_with_cache(repeated.tokens[:1], names_filter=f"blocks.{layer}.attn.hook_pattern")
    pattern = cache[f"blocks.{layer}.attn.hook_pattern"][0, head]
    second = range(repeated.bos + 25, repeated.bos + 50)
    share = float(np.mean([float(pattern[q, q - 24]) for q in second]))
    assert found["attends"].numbers["on the repeat"] == pytest.approx(share, abs=1e-5)
    assert found["attends"].words == f"{share:.0%} on the repeat"
    score = float(head_scores(model, repeated)["induction"].score.mean[INDUCTION])
    assert found["scores"].numbers["induction"] == pytest.approx(score, abs=1e-6)
    assert found["scores"].numbers["induction rank"] == 1
    assert found["copies"].numbers["copying score"] == pytest.approx(float(ov_copying(model).full.score[INDUCTION]))
    fed = composition(model, "K", 24 if model.cfg.positions == "rotary" else 0)
    assert found["is fed"].numbers["feeder"] == str(Head(*PREVIOUS))
    assert found["is fed"].numbers["composition"] == pytest.approx(float(fed.scores[(*PREVIOUS, *INDUCTION)]), abs=1e-6)
    _, experiment = removal_of(model.cfg, repeated, INDUCTION, 0)
    removal = read_removal(run_sweep(model, experiment), first_copy_losses(model, repeated), 0)
    assert found["matters"].numbers["change of loss"] == pytest.approx(removal.change, abs=1e-5)
    assert found["matters"].words == f"{signed(removal.change)} nats without it"
    assert found["was born"].words == "not computed"


def test_a_head_of_layer_0_has_no_feeders(app):
    at = app(FIND)
    at.query_params.update({"model": PLANTED, "layer": "0", "head": "0"})
    fine(at.run())
    assert at.session_state["found"]["is fed"][:2] == ("layer 0 has no feeders", "none")


def outline(at: AppTest) -> dict[str, tuple[str, str]]:
    """Link -> (state, words) of a page that has been run."""
    rows = re.findall(r'<li class="(\w*)" data-step="\d"><b>([\w ]+)</b><span[^>]*>(.*?)</span>', fine(at))
    return {name: (state, words) for state, name, words in rows}


@pytest.mark.parametrize("query", [{}, {"model": PLANTED}, {"model": "planted-decoy"}, {"layer": "0", "head": "1"}])
def test_both_pages_have_the_same_links_with_the_same_numbers(query):
    short, full = (AppTest.from_file(str(ROOT / "app.py"), default_timeout=120) for _ in range(2))
    full.switch_page("pages/head.py")
    for at in (short, full):
        at.query_params.update(query)
    home, head = outline(short.run()), outline(full.run())
    assert list(home) == list(head) == list(NAMES)
    assert {name: state for name, (state, _) in home.items()} == {name: state for name, (state, _) in head.items()}
    assert [name for name in NAMES if home[name][1] not in head[name][1]] == [], "in full a link says more, never other"


def test_the_outline_escapes_what_a_link_says(app):
    at = app('import streamlit as st\nfrom lens.ui.shared.chain.link import Finding, draw_outline\n'
             'draw_outline(st.empty(), {"attends": Finding("<img src=x>", "none")})')  # fmt: skip
    shown = fine(at.run())
    assert "&lt;img src=x&gt;" in shown
    assert shown.count("computing …") == len(LINKS) - 1


@pytest.mark.parametrize(
    ("model", "fed", "read", "word"), [("lens-2l", "0.2", "0.1", "disagree"), (PLANTED, "0.1", "0.1", "agree")]
)
def test_what_weights_could_pass_stands_beside_what_was_passed(model, fed, read, word):
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    at.switch_page("pages/head.py")
    at.query_params["model"] = model
    shown = fine(at.run())
    text = f"{shown} {' '.join(one.value for one in at.markdown)}"
    assert f"By K, head {fed} feeds it most" in text
    assert f"what its keys read most on the repeats is head {read}" in text
    assert f"the two {word}." in text
