import pytest
import torch

from lens.analysis import content_dependence as module
from lens.analysis.content_dependence import content_dependence, most_content_dependent, zones
from lens.analysis.names import Head
from lens.analysis.streaming import uniform_pattern
from lens.analysis.text_attention import text_attention

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
    assert content_dependence(zones(HABITS[name][None])).item() == pytest.approx(0, abs=0.01)


def test_heads_that_read_the_text_tell_much_and_sharper_ones_more():
    generator = torch.Generator().manual_seed(0)
    anywhere = torch.zeros(P, P)
    anywhere[torch.arange(P), (torch.rand(P, generator=generator) * (torch.arange(P) + 1)).long()] = 1
    induction = looking(P // 2 - 1)
    half = 0.5 * induction + 0.5 * looking(P)
    found = content_dependence(zones(torch.stack([*HABITS.values(), half, anywhere, induction])))
    assert found[:7].max() < 0.02
    assert found[-3] > 0.3
    assert found[-2] > 1
    assert found[-3] < found[-1]


def test_it_is_the_kl_from_a_mixture_so_never_negative_and_at_most_that_from_uniform():
    pattern = torch.randn(5, P, P).masked_fill(torch.ones(P, P).triu(1).bool(), -torch.inf).softmax(-1)
    found = content_dependence(zones(pattern))
    from_uniform = (torch.special.entr(pattern).sum(-1) * -1 + torch.arange(1, P + 1).log())[:, 1:].mean(-1)
    assert (found >= 0).all()
    assert (found <= from_uniform + 1e-3).all()


@pytest.mark.parametrize("n_pos", [2, 3, 6, 17, 40])
def test_every_habit_is_a_distribution_over_the_keys(n_pos):
    keys = module._mass(torch.ones(1, n_pos, n_pos).tril())[0]  # number of keys in each zone
    total = (module._habits(n_pos) * keys).sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total))
    assert torch.equal(keys.sum(-1), torch.arange(2.0, n_pos + 1))


@pytest.mark.parametrize("n_pos", [2, 3, 5, 17, 20])
def test_short_texts(n_pos):
    found = content_dependence(zones(torch.stack([uniform_pattern(n_pos), torch.eye(n_pos)])))
    assert found.tolist() == pytest.approx([0, 0], abs=0.01)


def test_the_most_content_dependent_head_is_the_first_of_the_largest():
    assert most_content_dependent(torch.tensor([[0.1, 0.3], [0.3, 0.2]])) == Head(0, 1)


def test_smollm2_an_induction_head_depends_on_content_where_a_text_repeats(smollm2):
    text = "Mr Dursley was the director of a firm called Grunnings. Mrs Potter lived in Quomatarus. "
    scores = text_attention(smollm2, smollm2.to_tokens(text * 2)).content_dependence
    assert scores[18, 6] > scores.quantile(0.9)
