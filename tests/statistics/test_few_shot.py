"""How often a head carries a task in models of random weights, in which nothing can."""

import pytest
import torch

from lens.analysis.few_shot.function_vectors import function_vectors, vector_map, vector_null
from lens.analysis.interventions import Pairs, run_sweep
from tests.statistics.random_models import KINDS, models
from tests.statistics.rates import check_rate

N, SHOTS = 24, 8


def prompts(d_vocab: int, seed: int) -> Pairs:
    """Questions and answers of one random token each; in the corrupted prompts every label is that of the next."""
    generator = torch.Generator().manual_seed(seed)
    words = (1 + torch.randperm(d_vocab - 1, generator=generator)[: 2 * N]).reshape(2, N).tolist()
    clean, corrupted = [], []
    for asked in range(N):
        slots = [(asked + 1 + shift) % N for shift in torch.randperm(N - 1, generator=generator)[:SHOTS].tolist()]
        for side, labels in ((clean, slots), (corrupted, slots[1:] + slots[:1])):
            examples = [token for at, label in zip(slots, labels) for token in (words[0][at], words[1][label])]
            side.append((0, *examples, words[0][asked]))
    answers = tuple((answer,) for answer in words[1])
    return Pairs(tuple(clean), tuple(corrupted), answers, names=tuple(range(N)))


@pytest.mark.statistics
@pytest.mark.parametrize("kind", KINDS)
def test_in_random_weights_no_head_carries_a_task_more_often_than_the_rate_allows(kind):
    found = []
    for seed, model in enumerate(models(kind)):
        pairs = prompts(model.cfg.d_vocab, seed)
        sweeps = [run_sweep(model, one(pairs)) for one in (vector_map, vector_null)]
        found.append(bool(function_vectors(*sweeps).found.any()))
    check_rate(found)
