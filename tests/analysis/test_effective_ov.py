"""The OV circuits of several heads summed, against the matrices formed in full, and what a set says beyond its best."""

import pytest
import torch

from lens import HookedTransformer
from lens.analysis.effective_ov import ROTATIONS, TOKENS, EffectiveOV, effective_ov, operations
from lens.analysis.names import Head
from lens.planted.layout import INDUCTION, SECOND
from tests.analysis import dense
from tests.analysis.shaken import GROUPED, make_model

SHAPES = [{}, GROUPED, {"positions": "rotary", "post_norm": True}, {"d_mlp": 0, "norm": None}]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@torch.no_grad()
def test_ranks_are_those_of_the_sum_of_the_full_circuits(shape):
    model = make_model(**shape)
    heads = [(1, 2), (2, 1), (2, 0)]
    found = effective_ov(model, heads)
    matrices = [dense.full_ov(model, *head) for head in heads]
    for got, whole in zip([*found.alone, found.together], [*matrices, sum(matrices)]):
        values = whole[found.ids]
        own = values.gather(1, found.ids[:, None])
        assert got.tolist() == (values > own).sum(1).tolist()
    assert found.rotated.shape == (ROTATIONS, len(found.ids))
    shares = found.accuracy(1)
    assert shares.together == pytest.approx(float((found.together == 0).float().mean()))


def test_planted_twins_copy_together_and_idle_heads_do_not():
    model = HookedTransformer.from_pretrained("planted-redundant")
    twins = effective_ov(model, [INDUCTION, SECOND]).accuracy(1)
    assert twins.together == 1
    assert twins.copies.found
    assert twins.more_than_best.state == "none"
    idle = effective_ov(model, [(0, 0), (1, 3)]).accuracy(1)
    assert not idle.copies.found


def test_a_head_that_copies_less_than_another_suppresses_takes_its_copying_away():
    copying, against = (HookedTransformer.from_pretrained(f"planted-{name}") for name in ("induction", "anticopy"))
    assert effective_ov(copying, [INDUCTION]).accuracy(1).together == 1
    assert effective_ov(against, [INDUCTION]).accuracy(1).together == 0


def test_a_set_that_copies_more_than_its_best_head_is_said_to():
    """Each of two heads raises half of the tokens most; together, all."""
    n = 64
    alone = torch.ones(2, n)
    alone[0, : n // 2] = alone[1, n // 2 :] = 0
    ids, rotated = torch.arange(n), torch.full((ROTATIONS, n), 9.0)
    found = EffectiveOV((Head(0, 0), Head(0, 1)), ids, alone, torch.zeros(n), rotated, 1000, 0, "")
    shares = found.accuracy(1)
    assert shares.found.share.tolist() == [0.5, 0.5, 1.0]
    assert shares.more_than_best.found
    assert shares.gain.mean == pytest.approx(0.5)
    few = EffectiveOV((Head(0, 0),), ids[:4], alone[:1, :4], torch.zeros(4), rotated[:, :4], 1000, 0, "").accuracy(1)
    assert few.copies.state == "unknown"


def test_less_than_the_best_of_the_same_tokens_is_never_said():
    """One head raises all tokens most, the sum none; the best was chosen on those tokens, so "less" is no verdict."""
    n = 64
    alone, rotated = torch.stack([torch.zeros(n), torch.ones(n)]), torch.full((ROTATIONS, n), 9.0)
    found = EffectiveOV((Head(0, 0), Head(0, 1)), torch.arange(n), alone, torch.ones(n), rotated, 1000, 0, "")
    verdict = found.accuracy(1).more_than_best
    assert verdict.state == "none"
    assert "-1, and the best was chosen on the same tokens" in verdict.reason


def test_the_work_is_counted_product_by_product():
    cfg = make_model().cfg
    writes, rows = cfg.d_head * cfg.d_model * cfg.d_vocab, TOKENS * cfg.d_head * cfg.d_vocab
    assert operations(cfg, 3) == 2 * 3 * (writes + (1 + 1 + ROTATIONS) * rows)


def test_no_heads_are_refused():
    with pytest.raises(ValueError, match="no heads"):
        effective_ov(make_model(), [])
