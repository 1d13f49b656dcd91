"""Attribution: parts that sum to the model's number, sources, neurons, many prompts, odd addresses, its Python."""

import numpy as np
import pytest
import torch

from lens import HookedTransformer
from lens.analysis.answer.direct_attribution import (
    Target,
    direct_attribution,
    neuron_attribution,
    source_split,
    task_attribution,
)
from lens.analysis.interventions.tasks import parse_pairs, task_of, to_pairs
from lens.figures.theme import number
from lens.ui.fields import DEFAULT_PROMPT
from lens.ui.shared.wording import signed
from tests.families.variants import VARIANTS
from tests.helpers import hf_gpt2
from tests.load.models import save
from tests.ui.conftest import app_page, bound, fine, local, printed, python_of

HOSTILE = "</script><img src=x onerror=alert(1)> and so on"


@pytest.fixture(scope="module")
def model() -> HookedTransformer:
    return HookedTransformer.from_pretrained("lens-2l")


def page(**query: str):
    return app_page("attribution", **query)


def number_of(model, kind, folded, at=-1):
    """The page's default number by hand: the likeliest token, and the next likeliest."""
    logits = model(model.to_tokens(DEFAULT_PROMPT))[0, at]
    right, wrong = logits.topk(2).indices.tolist()
    if kind == "log_prob":
        return float(logits.log_softmax(-1)[right])
    return float(logits[right] - (logits[wrong] if kind == "logit_diff" else logits.mean() if folded else 0))


@pytest.mark.parametrize("kind", ["logit", "logit_diff", "log_prob"])
@pytest.mark.parametrize("weights", ["folded", "raw"])
def test_the_table_sums_to_the_models_own_number(model, kind, weights):
    at = page(kind=kind, weights=weights, more="table").run()
    shown = fine(at)
    table = next(frame.value for frame in at.dataframe if "part" in frame.value.columns)
    value = number_of(model, kind, weights == "folded")
    assert table["value"].sum() == pytest.approx(value, abs=1e-4)
    assert table["part"].iloc[-1] == "remainder"
    assert abs(table["value"].iloc[-1]) < 1e-4
    assert f"{number(value)} {'nats' if kind == 'log_prob' else 'logits'}. All heads add" in shown
    assert ("final norm bias" in set(table["part"])) is (weights == "raw")


def test_the_sources_of_the_chosen_head_and_the_python(model):
    at = page(layer="0", head="3").run()
    shown = fine(at)
    tokens = model.to_tokens(DEFAULT_PROMPT)
    right = model(tokens)[0, -1].argmax()[None]
    target = Target("logit", torch.tensor([tokens.shape[1] - 1]), right, folded=True)
    split = source_split(model, tokens, target, (0, 3))
    assert f"Head 0.3 adds {signed(float(split.parts.sum()))}, most of it from" in shown
    out = printed(python_of(at)[0]).splitlines()
    found = direct_attribution(model, tokens, target)
    assert out[0].split()[1] == str(float(found.value))
    assert eval(out[-1]) == split.parts[0].tolist()
    assert len(out) == 2 + len(found.writes)
    assert at.query_params == {"layer": "0", "head": "3"}


def test_a_planted_head_is_the_only_one_beyond_what_any_does_for_a_random_token():
    shown = fine(page(model="planted-induction", kind="logit_diff").run())
    assert "All heads add +10.00; the largest parts are head 1.2 +10.00" in shown
    assert "1 of 8 heads (head 1.2) more than" in shown
    assert "Head 1.2 adds +10.00, most of it from" in shown


def test_position_and_tokens_are_chosen_and_stand_in_the_address():
    at = page(at="5").run()
    fine(at)
    bound(at.selectbox, "at").select_index(7).run()
    assert at.query_params["at"] == "7"
    bound(at.text_input, "right").set_value(" on").run()
    assert at.query_params["right"] == " on"
    assert "Logit of ·on above the mean after 7" in fine(at)
    shown = fine(page(right=" on", wrong=" on", kind="logit_diff").run())
    assert "Both tokens are the same: their difference is 0." in shown


def test_neurons_and_models_without_them(tmp_path, tokenizer):
    assert "attention layers only: no MLP, so no neurons" in fine(page().run())
    folder = save(hf_gpt2(vocab_size=len(tokenizer), n_positions=90), tmp_path / "gpt2", tokenizer)
    at = local("attribution", folder, prompt="one two three").run()
    shown = fine(at)
    tiny = HookedTransformer.from_pretrained(str(folder))
    tokens = tiny.to_tokens("one two three")
    right = tiny(tokens)[0, -1].argmax()[None]
    target = Target("logit", torch.tensor([tokens.shape[1] - 1]), right, folded=True)
    top = neuron_attribution(tiny, tokens, target)
    assert f"has the largest part, {signed(float(top.parts[0, 0]))}" in shown
    assert " MLPs" in shown
    table = next(frame.value for frame in at.dataframe if "neuron" in frame.value.columns)
    assert table.iloc[:, 1].tolist() == pytest.approx(top.parts[0].tolist(), abs=1e-5)


def test_over_many_prompts_with_interval_and_the_other_run(model):
    at = page(more="prompts", task="repeated").run()
    shown = fine(at)
    pairs = task_of(model, "repeated", 16, 0, "swap", "curly", 10).pairs
    clean, other = (task_attribution(model, pairs, side) for side in ("clean", "corrupted"))
    table = next(frame.value for frame in at.dataframe if "other run" in frame.value.columns)
    assert table["mean"].tolist() == pytest.approx(clean.parts.mean(0).tolist(), abs=1e-4)
    assert table["other run"].tolist() == pytest.approx(other.parts.mean(0).tolist(), abs=1e-4)
    assert (table["CI low"] <= table["mean"] + 1e-9).all()
    assert table[table["beyond chance"].astype(bool)]["part"].tolist() == ["1.1"]
    assert f"The number is {number(float(clean.value.mean()))} logits ({number(float(other.value.mean()))}" in shown
    assert "n = 16 pairs" in shown


OWN = [
    '{"clean": "The cat sat on the mat. The cat sat on the", '
    '"corrupted": "The cat sat on the mat. The car sat on the", "answer": [" m", " f"], "wrong": " th"}',
    "The red cat and the red | The red car and the red | c | th",
]
REFUSED = {
    "The cat sat on | The car sat on | threeandahalf | th": "an answer must be one token",
    "The cat | The cat sat on the mat | c | th": "The clean prompt has 4 tokens, the corrupted one",
    f"{HOSTILE} the cat | {HOSTILE} the car | wordofmanytokens | th": "an answer must be one token",
}


def test_own_pairs_are_taken_apart_and_the_python_says_the_same(model):
    at = page(more="prompts", task="own", own="\n".join([*OWN, *REFUSED])).run()
    shown = fine(at)
    pairs = to_pairs(model, parse_pairs("\n".join(OWN)), True)
    clean = task_attribution(model, pairs, "clean")
    assert f"The number is {number(float(clean.value.mean()))} logits" in shown
    assert "2 pairs of your own, 3 left out" in shown
    assert "Some pairs have several right or wrong answers: the first of each is taken apart" in shown
    assert "Too few pairs for an interval" in shown
    warnings = [one.value.replace("\\", "") for one in at.warning]
    assert [reason for reason, one in zip(REFUSED.values(), warnings, strict=True) if reason not in one] == []
    assert "<img" not in shown
    lines = printed(python_of(at)[1]).splitlines()
    parts = [float(line.rsplit(" ", 1)[1]) for line in lines[1 : 1 + len(clean.writes)]]
    assert parts == pytest.approx(clean.parts.mean(0).tolist(), abs=1e-5)


@pytest.mark.parametrize("own", ["", next(iter(REFUSED))])
def test_own_pairs_that_cannot_be_read_leave_the_rest_of_the_page(own):
    at = page(more="prompts", task="own", own=own).run()
    fine(at)
    assert len(python_of(at)) == 1
    assert len(at.warning) == bool(own)


def test_few_pairs_carry_no_verdict():
    shown = fine(page(more="prompts", task="repeated", pairs="4").run())
    assert "Too few pairs for an interval, so no part is told from chance." in shown


def test_bad_values_become_defaults_with_notes_and_a_hostile_prompt_is_text():
    at = page(at="99", layer="9", kind="x", right=" the cat", prompt=HOSTILE, pairs="0").run()
    shown = fine(at)
    for sentence in (
        "Token 99 does not exist",
        "Layer 9 does not exist",
        "Kind must be one of",
        "only the first counts",
    ):
        assert sentence in shown
    assert "<img" not in shown


def test_empty_states(tmp_path, tokenizer):
    at = page(prompt=" ").run()
    fine(at)
    assert "The prompt is empty" in at.info[0].value
    folder = save(VARIANTS["llama"](), tmp_path / "bare")
    assert "has no tokenizer" in fine(local("attribution", folder).run())


def test_capped_logits_are_not_read_above_their_mean(tmp_path, tokenizer):
    folder = save(VARIANTS["gemma2"](), tmp_path / "capped")
    capped = HookedTransformer.from_pretrained(str(folder))
    assert capped.cfg.final_softcap is not None
    ids = torch.arange(5)[None]
    target = Target("logit", torch.tensor([4]), torch.tensor([3]), folded=True)
    with pytest.raises(ValueError, match="a constant shift matters"):
        direct_attribution(capped, ids, target)
    found = direct_attribution(capped, ids, target._replace(folded=False))
    assert np.isfinite(found.parts).all()
