"""Removing heads: known circuits break as they must, controls are what they claim, chance is chance."""

import pytest
import torch

from lens import HookedTransformer
from lens.analysis.crossed import resamples
from lens.analysis.interventions import Metric, Pairs, Sweep, effect, outline, run_sweep, sweep_group
from lens.analysis.interventions.ablation import (
    Target,
    ablation,
    cells_of,
    chance,
    joint,
    share_of_gap,
    single_heads,
    with_parts,
)
from lens.analysis.interventions.tasks import chance_loss, induction, repeat_pairs
from lens.analysis.random_tokens import repeated_tokens
from lens.planted import closed_form
from lens.planted.layout import INDUCTION, PREVIOUS, SECOND
from tests.analysis.shaken import make_model


def planted(name: str) -> HookedTransformer:
    return HookedTransformer.from_pretrained(name)


def removed(model, heads, put="other", frozen=False, seed=0):
    """Task, cells and sweep of one ablation on repeated random tokens."""
    task, cells = induction(model, n=10), cells_of(model.cfg, Target(tuple(heads)), seed)
    return task, cells, run_sweep(model, ablation(task.pairs, task.metric, cells, put, frozen))


@pytest.mark.parametrize("head", [INDUCTION, PREVIOUS])
def test_without_a_planted_head_the_second_copy_is_as_hard_as_the_first(head):
    model = planted("planted-induction")
    _, cells, sweep = removed(model, [head])
    found = effect(sweep)
    assert sweep.base.mean() < 0.01
    after = (sweep.base.mean() + found.value[0]).item()
    assert after == pytest.approx(closed_form.UNIFORM, abs=0.01)
    assert share_of_gap(sweep).value == pytest.approx(1, abs=0.01)
    assert len(cells.controls) == model.cfg.n_heads - 1
    assert found.value[1:].abs().max() < 1e-3
    assert chance_loss(induction(model, n=10)) < after  # it does not even know that the tokens are those of the block


@pytest.mark.parametrize("put", ["other", "mean", "zero"])
def test_without_the_decoy_nothing_changes(put):
    model = planted("planted-decoy")
    task, _, sweep = removed(model, [INDUCTION, PREVIOUS], put)
    assert effect(sweep).value.abs().max() < 1e-3
    assert share_of_gap(sweep) is None  # nothing to lose: the repeat is as hard as its control
    grid = run_sweep(model, single_heads(task.pairs, task.metric, put))
    assert effect(grid).value.abs().max() < 1e-3


def test_redundant_heads_do_together_what_neither_does_alone():
    model = planted("planted-redundant")
    _, cells, sweep = removed(model, [INDUCTION, SECOND])
    found = joint(sweep, cells)
    assert found.together > 4
    assert found.sum_alone < 0.1
    assert found.low > 4
    assert found.extra == pytest.approx(found.together - found.sum_alone, abs=1e-5)
    _, cells, series = removed(planted("planted-induction"), [INDUCTION, PREVIOUS])
    assert joint(series, cells).high < -4  # two links of one path: each alone already loses all of it
    _, cells, one = removed(model, [INDUCTION])
    assert joint(one, cells) is None


def test_kept_patterns_leave_a_head_that_only_looks_without_effect():
    model = planted("planted-induction")
    _, _, sweep = removed(model, [PREVIOUS], frozen=True)
    assert effect(sweep).value[0].abs() < 1e-3  # it matters only through where the induction head looks
    _, _, sweep = removed(model, [INDUCTION], frozen=True)
    assert effect(sweep).value[0] > 4


def test_a_head_alone_is_its_cell_of_the_grid():
    model = make_model(n_layers=2)
    pairs = Pairs(((1, 2, 3, 4), (4, 3, 2, 1)), ((1, 5, 3, 4), (4, 6, 2, 1)))
    metric = Metric("loss", where="all")
    cells = cells_of(model.cfg, Target(((0, 1), (1, 0))))
    for put in ("other", "mean", "zero"):
        sets, grid = (
            run_sweep(model, e) for e in (ablation(pairs, metric, cells, put), single_heads(pairs, metric, put))
        )
        torch.testing.assert_close(sets.values[1], grid.values[0, 1])
        torch.testing.assert_close(sets.values[2], grid.values[1, 0])
        assert chance(grid).reach is None
        assert joint(sets, cells).low is None


def test_groups_fill_the_empty_sweep_bit_by_bit():
    model = make_model(n_layers=2)
    pairs = Pairs(((1, 2, 3, 4, 5),) * 3, ((1, 5, 3, 4, 5), (1, 2, 6, 4, 5), (1, 2, 3, 7, 5)))
    experiment = single_heads(pairs, Metric("loss", where="all"))
    first, whole = outline(model, experiment, budget=1), run_sweep(model, experiment)
    parts = [sweep_group(group, model, experiment, budget=1) for group in range(first.n_groups)]
    half = with_parts(first.empty, parts[: len(parts) // 2])
    assert half.values.isnan().any()
    known = ~half.values.isnan()
    torch.testing.assert_close(half.values[known], whole.values[known])
    torch.testing.assert_close(with_parts(first.empty, parts).values, whole.values)


def test_controls_are_of_the_same_layers_and_never_chosen():
    cfg = make_model(n_layers=3, n_heads=4).cfg
    chosen = ((0, 1), (2, 0), (2, 3))
    cells = cells_of(cfg, Target(chosen), seed=3)
    assert len(set(cells.controls)) == len(cells.controls) > 1
    for control in cells.controls:
        assert sorted(layer for layer, _ in control.heads) == [0, 2, 2]
        assert not set(control.heads) & set(chosen)
    assert cells_of(cfg, Target(chosen), seed=3) == cells
    assert len(cells.alone) == 3
    assert len(cells.sets) == 4 + len(cells.controls)


def test_a_whole_layer_has_no_control_and_says_why():
    cfg = make_model(n_layers=3, n_heads=4).cfg
    cells = cells_of(cfg, Target(tuple((1, head) for head in range(4))))
    assert cells.controls == ()
    assert cells.note == "no control: layer 1 has 0 other heads, and 4 would be needed"


def test_an_mlp_is_compared_with_those_of_other_layers():
    model = make_model(n_layers=3)
    cells = cells_of(model.cfg, Target(mlps=(1,)))
    assert [one.mlps for one in cells.controls] == [(0,), (2,)]
    pairs = Pairs(((1, 2, 3),), ((4, 2, 3),))
    sweep = run_sweep(model, ablation(pairs, Metric("kl"), cells, "zero"))
    assert (effect(sweep).value > 0).all()


def test_bad_targets_are_refused_in_words():
    with pytest.raises(ValueError, match="one of the two"):
        Target()
    with pytest.raises(ValueError, match=r"no head 7\.0"):
        cells_of(make_model().cfg, Target(((7, 0),)))


def worlds(values):
    """A sweep whose effects are these [layer, head, pair]."""
    n = values.shape[-1]
    task = induction(planted("planted-random"), n=4, n_pairs=n)
    grid = single_heads(task.pairs, task.metric)
    return Sweep(values, torch.zeros(values.shape), torch.zeros(n), torch.ones(n), {}, grid)


def test_the_band_of_chance_is_that_of_resamples_in_their_own_errors():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 4, 16, generator=generator) * torch.tensor([0.1, 1, 3, 10])[:, None]
    sweep = worlds(values)
    reach = chance(sweep).reach
    error = values.std(-1) / 4
    assert (reach / error).std() < 1e-5  # each head its own spread, all of them one factor
    flat, far = values.reshape(8, 16).double(), []
    for weight in resamples(sweep.experiment.pairs).weight:
        drawn = flat.repeat_interleave(weight.long(), dim=1)
        own = torch.maximum(drawn.std(1) / 4, 0.3 * error.flatten())
        far.append(((drawn.mean(1) - flat.mean(1)) / own).abs().max())
    assert float((reach / error).mean()) == pytest.approx(float(torch.stack(far).quantile(0.95)), rel=1e-5)


def test_effects_of_rounding_are_never_beyond_chance():
    """The same 4e-9 nats in every pair: no spread between pairs, and nothing but rounding."""
    sweep = worlds(torch.full((2, 4, 16), 4e-9))
    assert not (effect(sweep).value.abs() > chance(sweep._replace(base=torch.full((16,), 2.0))).reach).any()
    small = sweep._replace(values=2.0 + torch.full((2, 4, 16), 2.4e-7), base=torch.full((16,), 2.0))
    assert not (effect(small).value.abs() > chance(small).reach).any()


@pytest.mark.parametrize("bos", [True, False])
def test_both_runs_of_a_repeat_predict_the_same_tokens(bos):
    drawn = repeated_tokens(planted("planted-random"), 5, 8, seed=1, prepend_bos=bos)
    pairs = repeat_pairs(drawn)
    for clean, corrupted in zip(pairs.clean, pairs.corrupted):
        assert clean[:bos] == corrupted[:bos]
        assert clean[bos : bos + 5] == clean[bos + 5 :] == corrupted[bos + 5 :]
        assert not set(corrupted[bos : bos + 5]) & set(clean[bos:])
