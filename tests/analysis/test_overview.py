import math

import pytest
import torch

from lens.analysis import overview as overview_module
from lens.analysis.attention import head_patterns
from lens.analysis.names import Head, head_labels, parse_head
from lens.analysis.overview import overview, thumbnail, unexplained
from lens.analysis.streaming import uniform_pattern

P = 40


def looking(back: int) -> torch.Tensor:
    pattern = torch.zeros(P, P)
    pattern[torch.arange(P), (torch.arange(P) - back).clamp(min=0)] = 1
    return pattern


def near() -> torch.Tensor:
    return torch.stack([(torch.arange(P) > q - 16) & (torch.arange(P) <= q) for q in range(P)]).float().tril()


HABITS = {
    "uniform": uniform_pattern(P),
    "first": looking(P),
    "itself": looking(0),
    "previous": looking(1),
    "4 back": looking(4),
    "window": near() / near().sum(-1, keepdim=True),
    "mixture": 0.5 * looking(P) + 0.3 * looking(1) + 0.2 * uniform_pattern(P),
}


@pytest.mark.parametrize("name", HABITS)
def test_habits_that_do_not_read_the_text_tell_nothing(name):
    assert unexplained(HABITS[name][None]).item() == pytest.approx(0, abs=0.01)


def test_heads_that_read_the_text_tell_much_and_sharper_ones_more():
    generator = torch.Generator().manual_seed(0)
    anywhere = torch.zeros(P, P)
    anywhere[torch.arange(P), (torch.rand(P, generator=generator) * (torch.arange(P) + 1)).long()] = 1
    induction = looking(P // 2 - 1)
    half = 0.5 * induction + 0.5 * looking(P)
    found = unexplained(torch.stack([*HABITS.values(), half, anywhere, induction]))
    assert found[:7].max() < 0.02
    assert found[-3] > 0.3
    assert found[-2] > 1
    assert found[-3] < found[-1]


def test_it_is_the_kl_from_a_mixture_so_never_negative_and_at_most_that_from_uniform():
    pattern = torch.randn(5, P, P).masked_fill(torch.ones(P, P).triu(1).bool(), -torch.inf).softmax(-1)
    found = unexplained(pattern)
    from_uniform = (torch.special.entr(pattern).sum(-1) * -1 + torch.arange(1, P + 1).log())[:, 1:].mean(-1)
    assert (found >= 0).all()
    assert (found <= from_uniform + 1e-3).all()


@pytest.mark.parametrize("n_pos", [2, 3, 6, 17, 40])
def test_every_habit_is_a_distribution_over_the_keys(n_pos):
    keys = overview_module._mass(torch.ones(1, n_pos, n_pos).tril())[0]  # number of keys in each zone
    total = (overview_module._habits(n_pos) * keys).sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total))
    assert torch.equal(keys.sum(-1), torch.arange(2.0, n_pos + 1))


@pytest.mark.parametrize("n_pos", [2, 3, 5, 17, 20])
def test_short_texts(n_pos):
    found = unexplained(torch.stack([uniform_pattern(n_pos), torch.eye(n_pos)]))
    assert found.tolist() == pytest.approx([0, 0], abs=0.01)


def test_thumbnails_take_the_largest_of_each_block():
    pattern = torch.zeros(1, 5, 5)
    pattern[0, 3, 1], pattern[0, 4, 4] = 0.5, 1
    assert thumbnail(pattern, 2)[0].tolist() == [[0, 0, 0], [128, 0, 0], [0, 0, 255]]
    assert torch.equal(thumbnail(pattern, 1), (pattern * 255).round().to(torch.uint8))


def test_overview_of_a_model(model):
    tokens = torch.randint(1, 90, (1, 21), generator=torch.Generator().manual_seed(0))
    steps = []
    found = overview(model, tokens, size=8, progress=lambda fraction, stage: steps.append(fraction))
    heads = [parse_head(label, model.cfg) for label in head_labels(model.cfg)]
    pattern = head_patterns(model, tokens, heads).pattern[0]
    assert found.block == 3
    assert found.thumbnails.shape == (3, 4, 7, 7)
    assert torch.equal(found.thumbnails.flatten(0, 1), thumbnail(pattern, 3))
    torch.testing.assert_close(found.telling.flatten(), unexplained(pattern), atol=1e-5, rtol=0)
    assert found.most_telling == max(heads, key=lambda head: found.telling[head])
    assert steps[-1] == 1
    assert math.isfinite(found.telling.sum())
    with pytest.raises(ValueError, match="two tokens"):
        overview(model, tokens[:, :1])


def test_smollm2_an_induction_head_is_most_telling_where_a_text_repeats(smollm2):
    text = "Mr Dursley was the director of a firm called Grunnings. Mrs Potter lived in Quomatarus. "
    found = overview(smollm2, smollm2.to_tokens(text * 2))
    assert isinstance(found.most_telling, Head)
    assert found.thumbnails.shape[2] <= 48
    assert found.telling[18, 6] > found.telling.quantile(0.9)
