"""Composition with one receiver, against dense products of the weights."""

import pytest
import torch

from lens.analysis.feeders import feeders
from tests.analysis import dense
from tests.analysis.shaken import GROUPED, make_model


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, GROUPED, {"d_mlp": 0, "norm": None}], ids=str)
def test_against_dense_products(changes):
    model = make_model(**changes)
    found, eye = feeders(model, (2, 1)), torch.eye(model.cfg.d_model)
    into = [dense.linear_norm(block.ln1, eye) for block in model.blocks]
    W_Q, W_K, W_V, W_O = dense.head_weights(model, 2, 1)
    qk = into[2] @ W_Q @ (into[2] @ W_K).T
    reads = {"Q": qk, "K": qk.T, "V": into[2] @ W_V @ W_O}
    for mode, reader in reads.items():
        assert found.scores[mode].shape == (2, 4)
        for layer, head in ((0, 0), (1, 3)):
            _, _, V, O = dense.head_weights(model, layer, head)  # noqa: E741
            ov = into[layer] @ V @ O
            ov = ov - ov.mean(1, keepdim=True) if model.cfg.norm == "LN" else ov
            want = (ov @ reader).norm() / ov.norm() / reader.norm()
            assert float(found.scores[mode][layer, head]) == pytest.approx(float(want), abs=1e-5)
    assert found.chance == pytest.approx(32**-0.5)


def test_what_is_not_computed_says_why():
    first = feeders(make_model(), (0, 1))
    assert first.scores == {}
    assert "no head is in an earlier layer" in first.missing["V"]
    odd = feeders(make_model(**GROUPED, qk_norm="head"), (1, 0))
    assert list(odd.scores) == ["V"]
    assert "normalised" in odd.missing["Q"]
    with pytest.raises(ValueError, match=r"no head 3\.0"):
        feeders(make_model(), (3, 0))
