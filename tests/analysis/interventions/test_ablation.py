"""Removing heads: known circuits break as they must, controls are what they claim, chance is chance."""

import pytest
import torch

from lens import HookedTransformer
from lens.analysis.crossed import resamples
from lens.analysis.interventions import Metric, Pairs, Share, Sweep, effect, engine, outline, run_sweep, sweep_group
from lens.analysis.interventions.ablation import (
    Joint,
    Removed,
    Target,
    ablation,
    backup,
    beside_controls,
    cells_of,
    chance,
    disagreeing,
    joint,
    read_heads,
    share_of_gap,
    single_heads,
    size_of,
    with_parts,
)
from lens.analysis.interventions.ablation import removed as effects_of
from lens.analysis.interventions.last_prepared import LastPrepared
from lens.analysis.interventions.recording import record
from lens.analysis.interventions.tasks import chance_loss, induction, repeat_pairs
from lens.analysis.random_tokens import repeated_tokens
from lens.analysis.verdicts import Gap, Verdict
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


THERE = Gap(2.0, 1.9, 2.1, 16, 1e-5, Verdict("found", "they differ"))
NOWHERE = Gap(0.1, -0.1, 0.3, 16, 1e-5, Verdict("none", "it may be 0"))


def way(values: list[float], gap: Gap = THERE) -> Removed:
    """One way of removing, every interval ±0.05."""
    value = torch.tensor(values)
    share = Share(*((values[0] + end) / gap.mean for end in (0, -0.05, 0.05))) if gap.found else None
    return Removed(value, value - 0.05, value + 0.05, 16, "", torch.zeros(16), gap, share, gap.rounding)


def test_the_effects_of_a_sweep_are_those_of_its_parts():
    _, cells, sweep = removed(planted("planted-induction"), [INDUCTION])
    found = effects_of(sweep)
    torch.testing.assert_close(found.value, effect(sweep).value)
    assert found.share == share_of_gap(sweep)
    assert found.before == pytest.approx(float(sweep.base.double().mean()))
    assert beside_controls(found, len(cells.alone)).as_much == 0
    assert size_of(found.share.value) == "most"


def test_controls_stand_after_the_members():
    assert beside_controls(way([0.5, 9.0, 0.1, -0.6]), 1)[:2] == (1, 2)
    assert beside_controls(way([0.5, 9.0]), 1) is None


def test_ways_disagree_only_beyond_both_intervals_and_where_there_is_a_gap():
    assert disagreeing({"other": way([1.0]), "zero": way([0.1])}) == {"zero": pytest.approx(0.05)}
    assert disagreeing({"other": way([1.0]), "zero": way([0.97])}) == {}
    assert disagreeing({"other": way([1.0], NOWHERE), "zero": way([0.1], NOWHERE)}) == {}


@pytest.mark.parametrize(
    ("together", "gap", "verdict"),
    [
        (Joint(1.0, 0.2, 0.8, 0.7, 0.9), THERE, "backup"),
        (Joint(1.0, 1.8, -0.8, -0.9, -0.7), THERE, "one path"),
        (Joint(1.0, 0.99, 0.01, 0.005, 0.015), THERE, "none"),
        (Joint(1.0, 0.8, 0.2, -0.1, 0.5), THERE, "none"),
        (Joint(1.0, 0.2, 0.8, None, None), THERE, "no interval"),
        (Joint(1.0, 0.2, 0.8, 0.7, 0.9), NOWHERE, "no gap"),
        (Joint(-1.0, -0.2, -0.8, -0.9, -0.7), THERE._replace(mean=-2.0), "backup"),
        (None, THERE, "partial"),
        (None, NOWHERE, ""),
    ],
)
def test_backup_follows_the_interval_and_the_direction_of_the_gap(together, gap, verdict):
    assert backup(way([1.0], gap), together) == verdict


def test_the_largest_head_is_found_among_those_that_are_computed():
    values = torch.tensor([[0.5, -1.0], [torch.nan, 0.25]])
    found = read_heads(values, torch.full((2, 2), 0.4), THERE)
    assert found == ((0, 1), -1.0, -0.5, 3, 2, -0.25)
    assert read_heads(values, None, NOWHERE)[2:5] == (None, 3, None)
    assert read_heads(torch.full((2, 2), torch.nan), None, THERE) is None


def test_ways_of_removing_and_other_cells_share_the_two_runs(monkeypatch):
    model = HookedTransformer.from_pretrained("planted-induction")
    task, recorded = induction(model, n=6, n_pairs=3), []
    cells = cells_of(model.cfg, Target(((1, 0),)))

    def counted(*args):
        recorded.append(args[2])
        return record(*args)

    experiments = [ablation(task.pairs, task.metric, cells, put) for put in ("other", "mean", "zero")]
    experiments.append(single_heads(task.pairs, task.metric, "mean"))
    alone = []
    for experiment in reversed(experiments):
        monkeypatch.setattr(engine, "_recorded", LastPrepared())
        alone.insert(0, run_sweep(model, experiment).values)
    monkeypatch.setattr(engine, "_recorded", LastPrepared())
    monkeypatch.setattr(engine, "record", counted)
    together = [run_sweep(model, experiment).values for experiment in experiments]
    assert recorded == ["clean", "corrupted"]
    for one, other in zip(together, alone, strict=True):
        assert torch.equal(one, other)
    run_sweep(model, ablation(task.pairs, task.metric, cells, "zero", frozen=True))  # reads the patterns as well
    assert len(recorded) == 4
