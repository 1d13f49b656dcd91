"""Rotations until a verdict is clear: hand-made draws, and the whole null where nothing stops."""

import numpy as np
import pytest
import torch

from lens import HookedTransformer
from lens.analysis import sequential_null as sequential
from lens.analysis.copying_verdicts import by_weights
from lens.analysis.ov_copying import DRAWS, copying_of, null_band, null_scores_of, ov_cores
from lens.analysis.sequential_null import COMMON, FIRST, LOOKS, next_step, sequential_null, unclear


def normal(n: int, *shape: int, seed: int = 0) -> torch.Tensor:
    """Scores of rotations of heads, standard deviation a tenth."""
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed)) / 10


def test_a_head_goes_on_only_while_its_distance_is_near_the_reach():
    draws = normal(COMMON, 1, 40)
    centre, spread = draws.mean(0), draws.std(0)
    distance = torch.zeros(1, 40)
    distance[0, :4] = torch.tensor([0.5, 3.2, -3.2, 12.0])
    score = centre + distance * spread
    score[0, 4] = 0.09  # less than counts, whatever its rotations say
    assert unclear(score, score.abs(), draws).nonzero().tolist() == [[0, 1], [0, 2]]
    assert next_step(score, score.abs(), draws) == ((COMMON, 80), ((0, 1), (0, 2)))
    more = normal(40, 1, 40, seed=1)
    more[:, 0, 3:] = torch.nan
    more[:, 0, 0] = torch.nan
    assert unclear(score, score.abs(), torch.cat([draws, more])).nonzero()[:, 1].tolist() in ([], [1], [2], [1, 2])


def test_all_heads_go_to_the_common_number_first_and_none_beyond_the_last():
    score = torch.full((1, 3), 5.0)
    assert next_step(score, score, normal(FIRST, 1, 3)) == ((FIRST, COMMON), None)
    assert next_step(score, score, normal(COMMON, 1, 3)) is None  # all are clear
    assert next_step(score, score, normal(DRAWS, 1, 3)) is None
    assert next_step(torch.full((1, 3), torch.nan), torch.zeros(1, 3), normal(COMMON, 1, 3)) is None


def test_rotations_in_parts_are_those_of_the_analysis():
    model = HookedTransformer.from_pretrained("lens-2l")
    cores = ov_cores(model)
    full = copying_of(cores).full
    whole, found = null_scores_of((0, DRAWS), cores.full, 3), sequential_null(cores.full, full, 3)
    drawn = found.isfinite()
    assert torch.equal(found[drawn], whole[: len(found)][drawn])
    assert drawn[:COMMON].all()
    rows = drawn.sum(0)
    assert set(rows.unique().tolist()) <= {*LOOKS, DRAWS}
    assert int(rows.sum()) <= whole.numel() / 2  # half of its heads are clear at once
    largest = full.eigenvalues[..., 0].abs()
    want, got = (by_weights(full.score, largest, null_band(draws)).sign for draws in (whole, found))
    assert torch.equal(want[rows < DRAWS], got[rows < DRAWS])
    assert ((got == want) | (got == 0)).all()  # the reach from fewer rotations is the stricter one


def test_where_no_verdict_is_clear_it_is_the_whole_null(monkeypatch):
    model = HookedTransformer.from_pretrained("lens-2l")
    cores = ov_cores(model)
    monkeypatch.setattr(sequential, "unclear", lambda score, largest, draws: torch.ones_like(score, dtype=torch.bool))
    found = sequential_null(cores.full, copying_of(cores).full, 3)
    assert torch.equal(found, null_scores_of((0, DRAWS), cores.full, 3))
    assert null_band(found).most == null_band(found).n == DRAWS


@pytest.mark.parametrize("at", [2.0, 3.4, 6.0])
def test_the_risk_of_stopping_early_is_the_stated_one(at):
    """Normal draws, 20 heads a time, one of which lies ``at`` standard deviations from its null: it is stopped with
    another verdict than endless draws give, as by the reach it was held against, in at most ``RISK`` of cases."""
    wrong, n = 0, 400
    for seed in range(n):
        draws, score = normal(DRAWS, 1, 20, seed=seed), torch.zeros(1, 20)
        score[0, 0] = at / 10
        for look in LOOKS:
            seen = draws[:look].clone()
            if not bool(unclear(score, score.abs(), seen)[0, 0]):
                reach = null_band(seen).reach
                judged = abs(float((score - seen.mean(0))[0, 0] / seen.std(0)[0, 0])) > reach
                wrong += judged != (at > reach)
                break
    assert wrong <= 3  # 99.9% of binomial counts with n = 400 and p = .001
    assert np.isclose(sequential.RISK, 1e-3)
