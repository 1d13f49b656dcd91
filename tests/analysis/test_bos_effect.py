import pytest
import torch
import torch.nn.functional as F

from lens.analysis.bos_effect import BosEffect, bos_effect
from tests.analysis.shaken import make_model


@pytest.fixture
def text():
    return torch.randint(1, 90, (1, 9), generator=torch.Generator().manual_seed(4))


def test_both_losses_are_about_the_same_tokens(model, text):
    found = bos_effect(model, text)
    with torch.no_grad():
        alone = model(text)[0]
        after_bos = model(torch.cat([torch.zeros(1, 1, dtype=torch.long), text], 1))[0]
    close = {"atol": 1e-5, "rtol": 1e-5}
    want = F.cross_entropy(alone[:-1], text[0, 1:], reduction="none")
    torch.testing.assert_close(found.without, want, **close)
    torch.testing.assert_close(found.with_bos, F.cross_entropy(after_bos[1:-1], text[0, 1:], reduction="none"), **close)
    assert found.first == pytest.approx(F.cross_entropy(after_bos[0], text[0, 0]).item(), abs=1e-5)
    assert found.difference == pytest.approx(found.mean_with - found.mean_without)
    assert found.mean_without == pytest.approx(want.mean().item(), abs=1e-5)
    assert found.n == 8


def test_the_token_that_changes_most_in_either_direction_is_named():
    found = BosEffect(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.5, 5.0, 1.0]), 2.0, 2.5, -0.5, 3, 4.0)
    assert found.changes.tolist() == [-0.5, -3.0, 2.0]
    assert found.most_changed == 1


def test_a_model_that_sees_one_token_only_does_not_care(text):
    model = make_model()
    with torch.no_grad():
        for block in model.blocks:
            block.attn.W_O.zero_()
        model.pos_embed.W_pos.zero_()
    assert bos_effect(model, text).difference == pytest.approx(0, abs=1e-6)


def test_what_cannot_be_compared_is_said(text):
    model = make_model()
    with pytest.raises(ValueError, match="at least two tokens"):
        bos_effect(model, text[:, :1])
    model.bos = model.bos._replace(id=None, reason="it has none")
    with pytest.raises(ValueError, match="shaken has no BOS token: it has none"):
        bos_effect(model, text)


def test_progress_runs_from_start_to_end(text):
    seen = []
    bos_effect(make_model(), text, progress=lambda fraction, stage: seen.append(fraction))
    assert seen == sorted(seen)
    assert 0 < seen[0] < 0.5
    assert seen[-1] == 1
