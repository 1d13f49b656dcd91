"""A cell computed by hand is the model's own, in every family."""

import math

import pytest
import torch

from lens import HookedTransformer
from lens.analysis.answer.by_hand import cell_by_hand
from tests.families.conftest import lens_of
from tests.families.variants import VARIANTS

TOKENS = torch.randint(0, 110, (1, 13), generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_cell_by_hand_is_the_models_own_in_every_family(variant):
    model = lens_of(variant)
    for head in {(0, 0), (model.cfg.n_layers - 1, model.cfg.n_heads - 1)}:
        _, cache = model.run_with_cache(TOKENS)
        for query, key in ((12, 10), (9, 9), (0, 0)):
            cell = cell_by_hand(model, head, TOKENS, query, key)
            assert cell.difference < 1e-5
            pattern = cache["pattern", head[0]][0, head[1]]
            assert torch.equal(cell.actual, pattern[query])
            own = cache["attn_scores", head[0]][0, head[1], query]
            torch.testing.assert_close(cell.scores, own, atol=1e-4, rtol=1e-4)
            assert cell.attention[key] == pytest.approx(float(pattern[query, key]), abs=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_step_follows_from_the_one_before(variant):
    model = lens_of(variant)
    head = (model.cfg.n_layers - 1, 1)
    cell = cell_by_hand(model, head, TOKENS, 12, 9)
    _, cache = model.run_with_cache(TOKENS)
    torch.testing.assert_close(cell.q.linear, cache["q", head[0]][0, 12, 1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        cell.k.linear, cache["k", head[0]][0, 9, 1 // model.cfg.group_size], atol=1e-5, rtol=1e-4
    )
    assert (cell.q.normed is None) == (model.cfg.qk_norm is None)
    assert (cell.q.rotated is None) == (model.cfg.positions != "rotary")
    if cell.q.rotated is not None:
        rotated = cache[f"blocks.{head[0]}.attn.hook_rot_q"][0, 12, 1]
        torch.testing.assert_close(cell.q.rotated, rotated, atol=1e-5, rtol=1e-4)
    assert cell.dot == pytest.approx(float(cell.q.final @ cell.k.final), abs=1e-4)
    assert cell.scaled == pytest.approx(cell.dot / cell.divisor)
    cap = cell.softcap
    assert cell.capped == pytest.approx(cell.scaled if cap is None else cap * math.tanh(cell.scaled / cap), abs=1e-5)
    assert (cell.bias != 0) == (model.cfg.positions == "alibi")
    assert float(cell.scores[9]) == pytest.approx(cell.capped + cell.bias, abs=1e-5)
    assert float(cell.attention.sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["lens-2l", "planted-induction"])
def test_models_without_an_mlp_too(name):
    model = HookedTransformer.from_pretrained(name)
    tokens = TOKENS % model.cfg.d_vocab
    assert cell_by_hand(model, (1, 1), tokens, 8, 3).difference < 1e-5


def test_a_cell_that_cannot_be_seen_is_refused():
    with pytest.raises(ValueError, match="does not see key 7"):
        cell_by_hand(lens_of("gpt2"), (0, 0), TOKENS, 3, 7)
    with pytest.raises(ValueError, match="no cell 13-1"):
        cell_by_hand(lens_of("gpt2"), (0, 0), TOKENS, 13, 1)
    with pytest.raises(ValueError, match="query 12 of layer 0 does not see key 2"):
        cell_by_hand(lens_of("mistral"), (0, 0), TOKENS, 12, 2)
