"""What must hold in any model: runs patched with themselves, whole runs, weights set to zero, threads, no-ops."""

import threading

import pytest
import torch

from lens.analysis.interventions import (
    STATUS,
    Experiment,
    Grid,
    Intervention,
    Metric,
    Pairs,
    Place,
    available_sites,
    heads_set,
    outline,
    run_sweep,
    sweep_group,
)
from lens.analysis.interventions.engine import assemble
from tests.analysis.interventions import plain
from tests.analysis.interventions.test_exact import CLEAN, PAIRS
from tests.analysis.shaken import GROUPED, make_model

SAME = Pairs(CLEAN, CLEAN, PAIRS.answers, PAIRS.wrong)


@pytest.fixture(scope="module", params=["learned", "grouped", "attn_only"])
def model(request):
    return make_model(**{"learned": {}, "grouped": GROUPED, "attn_only": {"d_mlp": 0}}[request.param])


def test_patching_a_run_with_itself_changes_nothing(model):
    for site in available_sites(model.cfg):
        sweep = run_sweep(model, Experiment(SAME, Intervention(site), Grid(("layer",))))
        assert torch.equal(sweep.values, sweep.base.expand_as(sweep.values))
        assert (sweep.status == STATUS.index("no change: what is put there equals what stands there")).all()


def test_every_stream_of_the_first_layer_recovers_the_clean_run(model):
    sweep = run_sweep(model, Experiment(PAIRS, Intervention("resid_pre"), Grid(("layer",))))
    torch.testing.assert_close(sweep.values, sweep.other.expand_as(sweep.values), rtol=1e-4, atol=1e-4)


def test_a_head_set_to_zero_is_a_head_without_W_O(model):
    sweep = run_sweep(model, Experiment(PAIRS, Intervention("z", "zero", into="clean"), Grid(("layer", "head"))))
    for layer, head in ((0, 1), (2, 3)):
        W_O = model.blocks[layer].attn.W_O
        kept = W_O.detach().clone()
        with torch.no_grad():
            W_O[head] = 0
            wanted = [plain.logit_diff(plain.forward(model, ids), a, w) for ids, a, w in answers()]
            W_O.copy_(kept)
        torch.testing.assert_close(sweep.values[layer, head], torch.tensor(wanted), rtol=1e-4, atol=1e-4)


def answers():
    return zip(CLEAN, PAIRS.answers, PAIRS.wrong)


def test_frozen_norms_and_patterns_make_the_output_linear_in_a_head(model):
    """Replacing two heads of the last layer is the sum of replacing each, once the final scale stays."""
    both = (heads_set([(2, 0), (2, 1)]), heads_set([(2, 0)]), heads_set([(2, 1)]))
    if model.cfg.attn_only:
        frozen = Intervention("z", "zero", into="clean", freeze=("scales", "patterns"))
        sweep = run_sweep(model, Experiment(PAIRS, frozen, Grid(sets=both)))
        change = sweep.values - sweep.base
        torch.testing.assert_close(change[0], change[1] + change[2], rtol=1e-3, atol=1e-4)
    free = run_sweep(model, Experiment(PAIRS, Intervention("z", "zero", into="clean"), Grid(sets=both)))
    change = free.values - free.base
    assert (change[0] - change[1] - change[2]).abs().max() > 1e-2


def test_weights_changed_in_place_are_not_answered_from_memory(model):
    experiment = Experiment(PAIRS, Intervention("z"), Grid(("layer",)))
    before = run_sweep(model, experiment).base
    with torch.no_grad():
        model.unembed.W_U *= 2
        after = run_sweep(model, experiment).base
        model.unembed.W_U /= 2
    assert (after - before).abs().max() > 0.1


def test_groups_in_any_order_and_half_done_sweeps(model):
    experiment = Experiment(PAIRS, Intervention("resid_pre"), Grid(("layer", "pos")))
    budget = 60_000
    seen = outline(model, experiment, budget)
    assert seen.n_groups > 3
    assert seen.n_cells == 3 * 8 * 3
    done = {}

    def stop(fraction, stage):
        if fraction > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(model, experiment, stop, done, budget)
    assert 0 < len(done) < seen.n_groups
    half = assemble(model, experiment, done.values(), budget)
    whole = run_sweep(model, experiment, done=done, budget=budget)
    there = ~half.values.isnan()
    assert torch.equal(half.values[there], whole.values[there])
    assert half.values.isnan().sum() > whole.values.isnan().sum()
    assert there.any()
    backwards = [sweep_group(i, model, experiment, budget) for i in reversed(range(seen.n_groups))]
    again = assemble(model, experiment, backwards, budget)
    assert torch.equal(again.values.nan_to_num(), whole.values.nan_to_num())
    assert sum(len(part.value) for part in backwards) == seen.n_computed


def test_two_threads_with_different_interventions_give_the_numbers_of_runs_alone(model):
    experiments = [
        Experiment(PAIRS, Intervention("z", "zero", into="clean"), Grid(("layer", "head"))),
        Experiment(PAIRS, Intervention("resid_pre", freeze=("patterns",)), Grid(("layer", "pos"))),
        Experiment(PAIRS, Intervention("pattern"), Grid(("layer", "head")), Metric("loss", "all")),
    ]
    alone = [run_sweep(model, one).values for one in experiments]
    found, start = {}, threading.Barrier(len(experiments))

    def work(i):
        start.wait()
        for _ in range(3):
            found.setdefault(i, []).append(run_sweep(model, experiments[i]).values)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(experiments))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, wanted in enumerate(alone):
        assert len(found[i]) == 3
        for got in found[i]:
            torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5, equal_nan=True)


def test_only_cells_in_reach_are_computed(model):
    """Before the first difference nothing changes; in the last layer only the last position is read."""
    one = PAIRS.take([0])  # differs first at 3; 8 tokens, and the last one reads
    status = run_sweep(model, Experiment(one, Intervention("attn_out"), Grid(("layer", "pos")))).status[..., 0]
    assert status[:, :3].eq(1).all()
    assert status[:2, 3:].eq(0).all()
    assert status[2].tolist() == [1, 1, 1, 2, 2, 2, 2, 0]
    read_early = Metric("logit", where=(4,))
    status = run_sweep(model, Experiment(one, Intervention("z"), Grid(("layer", "pos")), read_early)).status[..., 0]
    assert status[0].tolist() == [1, 1, 1, 0, 0, 2, 2, 2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Intervention("resid_pre", "median"), "put='median'"),
        (lambda: Intervention("resid_pre", "add"), "vector"),
        (lambda: Metric("accuracy"), "kind='accuracy'"),
        (lambda: Metric("loss", "first"), "where='first'"),
        (lambda: Grid(), "axes to sweep over"),
        (lambda: Grid(("pos",)), "No layer|no layer"),
        (lambda: Grid(("layer", "depth")), "different axes"),
        (lambda: Pairs(((1, 2),), ((1, 2, 3),)), "same number of tokens"),
        (lambda: Pairs(((1, 2),), ((1, 3),), answers=((1,), (2,))), "2 answers for 1 pairs"),
    ],
)
def test_refused_values(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("intervention", "grid", "metric", "message"),
    [
        (Intervention("mlp"), Grid(("layer",)), Metric(), "must be one of"),
        (Intervention("z"), Grid(sets=((Place(7),),)), Metric(), "no layer 7"),
        (Intervention("z"), Grid(sets=((Place(0, head=9),),)), Metric(), "no head 9"),
        (Intervention("resid_pre"), Grid(("layer", "head")), Metric(), "no axis 'head'"),
        (Intervention("z"), Grid(("layer",)), Metric("loss", (7,)), "read nowhere"),
        (Intervention("z", "add", vector=(1.0,)), Grid(("layer",)), Metric(), "1 numbers"),
    ],
)
def test_refused_experiments(intervention, grid, metric, message):
    with pytest.raises(ValueError, match=message):
        run_sweep(make_model(), Experiment(PAIRS, intervention, grid, metric))


def test_a_metric_without_answers_is_refused():
    experiment = Experiment(Pairs(CLEAN, CLEAN), Intervention("z"), Grid(("layer",)))
    with pytest.raises(ValueError, match="needs answers"):
        run_sweep(make_model(), experiment)
