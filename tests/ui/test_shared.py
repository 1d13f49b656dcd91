"""What pages share: heads, labels of tokens, numbers in words, one head's attention, running an experiment."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lens import HookedTransformer
from lens.analysis.interventions import run_sweep
from lens.analysis.interventions.ablation import single_heads
from lens.analysis.interventions.tasks import induction
from lens.analysis.largest_head import largest_head
from lens.analysis.names import Head
from lens.ui.fields import common_fields, parse
from lens.ui.labels import short_labels, token_labels
from lens.ui.limits import AT_HOME
from lens.ui.shared import heads
from lens.ui.shared.patterns import stripe
from lens.ui.shared.wording import capital, interval, percent, plain, sentence, signed
from lens.ui.view import ViewState
from tests.ui.conftest import fine


def view(**query: str) -> ViewState:
    fields = common_fields(AT_HOME)
    values, _ = parse(fields, query)
    return ViewState(fields, values)


@pytest.fixture(scope="module")
def model() -> HookedTransformer:
    return HookedTransformer.from_pretrained("planted-induction")


def test_the_current_head_is_the_selected_one_else_the_last_pin_else_the_strongest():
    best = largest_head(np.array([[0.1, np.nan], [0.9, 0.3]]))
    assert best == Head(1, 0)
    assert heads.current(view(), best) == best
    assert heads.current(view(pins="0.1,1.1"), best) == Head(1, 1)
    assert heads.current(view(pins="0.1", layer="0", head="0"), best) == Head(0, 0)


def test_heads_are_heads_wherever_the_view_hands_them_out():
    seen = view(pins="0.1", layer="1", head="2")
    assert [type(one) for one in (*seen["pins"], seen.selected, seen.current())] == [Head] * 3
    seen.toggle_pin(1, 2)
    assert [str(pin) for pin in seen["pins"]] == ["0.1", "1.2"]
    heads.go(seen, Head(3, 4))
    assert seen.selected == Head(3, 4)
    assert heads.from_label(heads.label((3, 4))) == Head(3, 4)


def test_labels_of_tokens(model):
    assert token_labels(SimpleNamespace(tokenizer=None), np.array([3, 1])) == ["3", "1"]
    assert len(token_labels(model, [1, 2, 3])) == 3
    assert short_labels(["12345678", "123456789"]) == ["12345678", "12345678…"]


def test_numbers_in_words():
    assert (interval(0.1, 0.25), interval(None, None)) == (" [0.10, 0.25]", "")
    assert (percent(-0.004), percent(-0.5), percent(1.2)) == ("0%", "−50%", "120%")
    assert (signed(0.5), signed(-0.5)) == ("+0.50", "−0.50")
    assert (sentence("one of two"), capital("")) == ("One of two.", "")
    assert plain("[a](b) *c*") == r"\[a\]\(b\) \*c\*"


def test_the_cells_that_a_score_averages():
    assert stripe("induction", 2, 1).cells == [(3, 2), (4, 3)]
    assert stripe("entropy", 2, 1).cells == []


ATTENTION = """
import numpy as np
import streamlit as st
from lens.analysis.names import Head
from lens.ui.frame import frame
from lens.ui.models import open_model
from lens.ui.shared.patterns import attention, marked
with frame("Home", question="Where does it look?") as view:
    tokens = np.array([0, 5, 6, 5, 6])
    st.session_state["pattern"] = attention(open_model(view), tokens, Head(1, 2))
    st.session_state["cells"] = marked("induction", tokens, None).cells
"""
EXPERIMENT = """
import streamlit as st
from lens.analysis.interventions.ablation import single_heads
from lens.analysis.interventions.tasks import induction
from lens.ui.frame import frame
from lens.ui.models import open_model
from lens.ui.shared import experiments
with frame("Home", question="What does each head do?") as view:
    model = open_model(view)
    task = induction(model, n=6, n_pairs=2)
    experiment = single_heads(task.pairs, task.metric)
    before = experiments.is_computed(model, experiment)
    sweep, complete, _ = experiments.run(model, experiment)
    st.session_state["known"] = [before, complete, experiments.is_computed(model, experiment)]
    st.session_state["values"] = sweep.values
"""


def test_one_heads_attention_on_one_sequence(app, model):
    at = app(ATTENTION)
    at.query_params["model"] = "planted-induction"
    fine(at.run())
    _, cache = model.run_with_cache(torch.tensor([[0, 5, 6, 5, 6]]))
    want = cache["blocks.1.attn.hook_pattern"][0, 2].numpy()
    assert np.allclose(at.session_state["pattern"], want, atol=1e-6)
    assert at.session_state["cells"] == [(3, 2), (4, 3)]


def test_an_experiment_runs_as_a_whole_and_is_known_after_that(app, model):
    at = app(EXPERIMENT)
    at.query_params["model"] = "planted-induction"
    fine(at.run())
    assert at.session_state["known"] == [False, True, True]
    task = induction(model, n=6, n_pairs=2)
    want = run_sweep(model, single_heads(task.pairs, task.metric)).values
    assert torch.allclose(at.session_state["values"], want, atol=1e-5)
