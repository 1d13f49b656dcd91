"""Directions of OV and QK by QR and a small core, against the SVD of the dense matrix."""

import pytest
import torch

from lens.analysis.svd_view import directions, half_of_squares
from tests.analysis import dense
from tests.analysis.shaken import GROUPED, make_model


@pytest.fixture(params=[{}, GROUPED, {"norm": None, "d_mlp": 0}], ids=str)
def model(request):
    return make_model(**request.param)


@torch.no_grad()
@pytest.mark.parametrize("circuit", ["OV", "QK"])
@pytest.mark.parametrize("folded", [True, False])
def test_against_the_dense_matrix(model, circuit, folded):
    layer, head, k = 1, 3, 4
    W_Q, W_K, W_V, W_O = dense.head_weights(model, layer, head)
    eye, block = torch.eye(model.cfg.d_model), model.blocks[layer]
    into = dense.linear_norm(block.ln1, eye) if folded else eye
    matrix = into @ W_V @ W_O if circuit == "OV" else into @ W_Q @ (into @ W_K).T
    U, S, Vh = torch.linalg.svd(matrix)
    found = directions(model, (layer, head), circuit, n=3, k=k, folded=folded)
    torch.testing.assert_close(found.singular, S[:8], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.share[-1], torch.tensor(1.0))
    W_E = model.embed(torch.arange(model.cfg.d_vocab)[None])[0]
    for one in range(3):
        left = (W_E - W_E.mean(0)) @ U[:, one]
        if circuit == "OV":
            right = dense.linear_norm(model.ln_final, Vh[one]) @ model.unembed.W_U
            right = right - right.mean()
        else:
            right = (W_E - W_E.mean(0)) @ Vh[one]
        # A pair of singular vectors has no sign, so both ends may have changed places; on both sides at once.
        same_way = torch.equal(left.topk(k).indices, found.left.high[one])
        sign = 1 if same_way else -1
        for side, want in ((found.left, sign * left), (found.right, sign * right)):
            assert side.high[one].tolist() == want.topk(k).indices.tolist()
            assert side.low[one].tolist() == want.topk(k, largest=False).indices.tolist()
            torch.testing.assert_close(side.high_value[one], want.topk(k).values, atol=1e-3, rtol=1e-3)


def test_bad_questions_are_refused(model):
    with pytest.raises(ValueError, match="'OV' or 'QK'"):
        directions(model, (0, 0), "MLP")
    with pytest.raises(ValueError, match=r"no head 9\.0"):
        directions(model, (9, 0))


def test_half_of_a_matrix_stands_in_its_strongest_directions():
    assert half_of_squares(torch.tensor([0.6, 0.9, 1.0])) == 1
    assert half_of_squares(torch.tensor([0.25, 0.5, 0.75, 1.0])) == 2
