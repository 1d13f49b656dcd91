"""The tokens of a pair's virtual weights, against the dense matrix between whole vocabularies."""

import pytest
import torch

from lens.analysis.composition import virtual_weights
from lens.analysis.names import Head
from lens.analysis.virtual_tokens import virtual_tokens
from tests.analysis.shaken import GROUPED, make_model
from tests.analysis.test_composition import hand_made

PAIR = (Head(0, 1), Head(2, 3))


@torch.no_grad()
@pytest.mark.parametrize("mode", ["Q", "K", "V"])
def test_ends_are_the_extremes_of_both_vocabularies(mode):
    model = make_model(**GROUPED)
    found = virtual_tokens(model, PAIR, mode, 5, size=(3, 4))
    U, S, Vh = torch.linalg.svd(virtual_weights(model, *PAIR, mode, 5).AB)
    out = model.embed.W_E if mode != "V" else (model.ln_final.w[:, None] * model.unembed.W_U).T
    torch.testing.assert_close(found.share, (S.square() / S.square().sum())[:3], atol=1e-5, rtol=1e-4)
    assert found.norm == pytest.approx(S.norm().item(), rel=1e-4)
    for i in range(3):
        sides = [model.embed.W_E @ U[:, i], out @ Vh[i]]
        flip = 1 if sides[0].sub(sides[0].mean()).argmax() == found.read[i, 0, 0] else -1  # a direction has no sign
        for side, ids, at in zip(sides, (found.read, found.written), (found.read_at, found.written_at)):
            centred = flip * (side - side.mean())
            for end, sign in enumerate((1, -1)):
                want = (sign * centred).topk(4)
                assert ids[i, end].tolist() == want.indices.tolist()
                torch.testing.assert_close(at[i, end], sign * want.values, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_planted_pair_names_its_tokens():
    """0.0 reads direction 0, and 1.0 then looks for keys along direction 2."""
    model = hand_made()
    model.embed.W_E.zero_()
    model.embed.W_E[3, 0] = model.embed.W_E[1, 2] = 2.0
    found = virtual_tokens(model, (Head(0, 0), Head(1, 0)), "Q", size=(1, 1))
    assert found.share.item() == pytest.approx(1)
    read, written = (side[0, int(found.read[0, 0, 0] != 3), 0].item() for side in (found.read, found.written))
    assert (read, written) == (3, 1)


def test_more_directions_or_tokens_than_there_are():
    found = virtual_tokens(make_model(), PAIR, "K", size=(99, 999))
    assert found.read.shape == (8, 2, 97)
    assert found.share.sum().item() == pytest.approx(1)
