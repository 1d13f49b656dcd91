"""Every sweep equals one forward pass per cell, in every structure of model."""

import pytest
import torch

from lens.analysis.interventions import (
    Experiment,
    Grid,
    Intervention,
    Metric,
    Noise,
    Pairs,
    Place,
    available_sites,
    find_site,
    run_sweep,
    with_noise,
)
from lens.analysis.interventions.pairs import noise_of
from lens.analysis.interventions.sites import n_layers_of
from tests.analysis.interventions import plain
from tests.families.variants import VARIANTS
from tests.helpers import in_lens

CLEAN = ((5, 9, 31, 7, 12, 40, 3, 77), (6, 2, 8, 51, 17, 60, 44), (11, 64, 9, 70, 2))
CORRUPTED = ((5, 9, 31, 8, 12, 40, 2, 77), (6, 2, 9, 51, 17, 60, 44), (12, 64, 9, 70, 2))
ALL_SITES = ("gpt2", "llama-grouped", "gemma2", "gpt-neox", "bloom", "olmo2")
FINAL = "ln_final.hook_scale"
PAIRS = Pairs(CLEAN, CORRUPTED, answers=((3,), (10, 11), (12,)), wrong=((20, 21), (22,), (23,)))


def some_cells(model, site_name, how_many, seed=0):
    """A few cells of every kind that the site has: one position, all positions, one head, several places at once."""
    site, generator = find_site(site_name, model.cfg), torch.Generator().manual_seed(seed)
    layers = list(n_layers_of(site, model.cfg))
    grids = [Grid(("layer",)), Grid(("layer", "pos"))]
    grids += [Grid(("layer", axis)) for axis in site.axes if axis not in ("pos", "key")]
    grids += [Grid(("layer", "pos", "head"))] if "head" in site.axes else []
    grids += [Grid(("pos", "key"), layer=layers[-1], head=1)] if site_name == "pattern" else []
    chosen = []
    for grid in grids:
        cells = grid.cells(site, model.cfg, 8)
        order = torch.randperm(len(cells), generator=generator)[:how_many].tolist()
        chosen += [cells[i] for i in order]
    chosen.append(chosen[0] + chosen[-1])
    return tuple(chosen)


def by_forwards(model, pairs, intervention, cells):
    """[cell, pair], each from one run of one prompt."""
    return torch.tensor(
        [[one_forward(model, pairs, intervention, cell, i) for i in range(len(pairs))] for cell in cells]
    )


def one_forward(model, pairs, intervention, cell, i):
    sides = {"clean": pairs.clean, "corrupted": pairs.corrupted}
    ids, site = sides[intervention.base][i], intervention.site
    if any(max(place.pos or 0, place.key or 0) >= len(ids) for place in cell):
        return torch.nan
    runs = [activations(model, other) for other in sides[intervention.other]]
    own = activations(model, ids)
    new = {
        "other": lambda name, old: runs[i][name],
        "mean": lambda name, old: mean_of([run[name] for run in runs], old, site),
        "zero": lambda name, old: torch.zeros_like(old),
    }[intervention.put]
    frozen = [name for name in own if any(FROZEN[what](name) for what in intervention.freeze)]
    hooks = plain.freezing(own, frozen) + plain.changes(site, cell, len(ids), new)
    return plain.logit_diff(plain.forward(model, ids, hooks), pairs.answers[i], pairs.wrong[i])


FROZEN = {
    "patterns": lambda name: name.endswith("hook_pattern"),
    "scales": lambda name: (".ln" in name and "mlp" not in name and name.endswith("hook_scale")) or name == FINAL,
    FINAL: lambda name: name == FINAL,
}
_activations = {}


def activations(model, ids):
    if (id(model), ids) not in _activations:
        _activations[id(model), ids] = model, plain.cached(model, ids)  # with the model, so that its id stays its own
    return _activations[id(model), ids][1]


def mean_of(runs, old, site):
    """Mean over the runs that are long enough, position by position; of patterns, query by query."""
    out, axis, n_pos = torch.zeros_like(old), 2 if site == "pattern" else 1, old.shape[2 if site == "pattern" else 1]
    for pos in range(n_pos):
        rows = [run.select(axis, pos) for run in runs if run.shape[axis] > pos]
        if site == "pattern":
            rows = [torch.nn.functional.pad(row, (0, n_pos))[..., :n_pos] for row in rows]
        out.select(axis, pos).copy_(torch.stack(rows).mean(0))
    return out


def assert_same(found, wanted):
    assert torch.equal(found.isnan(), wanted.isnan())
    scale = wanted[~wanted.isnan()].abs().max()
    torch.testing.assert_close(found.nan_to_num(), wanted.nan_to_num(), rtol=1e-4, atol=1e-4 * float(scale))


def check(model, intervention, how_many=2, pairs=PAIRS, budget=10**7):
    cells = some_cells(model, intervention.site, how_many)
    sweep = run_sweep(model, Experiment(pairs, intervention, Grid(sets=cells)), budget=budget)
    wanted = by_forwards(model, pairs, intervention, cells)
    assert_same(sweep.values, wanted)
    return sweep, wanted


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_site_of_every_structure(variant):
    """A third of the sites in each variant, another third in the next; all of them in those that differ most."""
    model = in_lens(VARIANTS[variant]())
    sites = available_sites(model.cfg)
    chosen = sites if variant in ALL_SITES else sites[list(VARIANTS).index(variant) % 3 :: 3]
    for number, site in enumerate(chosen):  # prompts of one length end at the last position alone, ragged ones do not
        check(model, Intervention(site), how_many=1, pairs=PAIRS.take([0] if number % 2 else [0, 2]))
        if variant in ALL_SITES:
            check(model, Intervention(site), how_many=1, pairs=PAIRS.take([0, 2] if number % 2 else [0]))


@pytest.fixture(scope="module", params=["gpt2", "llama-grouped", "gemma2", "gpt-neox"])
def structure(request):
    return in_lens(VARIANTS[request.param]())


@pytest.mark.parametrize("put", ["other", "mean", "zero"])
@pytest.mark.parametrize("freeze", [(), ("patterns",), ("scales", FINAL)])
def test_every_value_and_freeze(structure, put, freeze):
    for site in ("z", "resid_pre", "pattern"):
        check(structure, Intervention(site, put, into="clean", freeze=freeze), how_many=1)


@pytest.mark.parametrize("site", ["k", "pattern", "v", "resid_pre"])
def test_reading_before_the_end(structure, site):
    """Places after the last position that is read do nothing, alone or beside others."""
    cells = ((Place(0, 4), Place(0, 6)), (Place(2, 3), Place(2, 5)), (Place(1, 3),), (Place(2, 4), Place(2, 7)))
    if site == "pattern":
        cells = ((Place(0, 4, key=2), Place(0, 6, key=6)), (Place(2, key=6), Place(2, 4)))
    experiment = Experiment(PAIRS.take([0]), Intervention(site), Grid(sets=cells), Metric("logit", (4,)))
    sweep, kept = run_sweep(structure, experiment), plain.cached(structure, CLEAN[0])
    for cell, value in zip(cells, sweep.values[:, 0]):
        hooks = plain.changes(site, cell, 8, lambda name, old: kept[name])
        assert float(value) == pytest.approx(float(plain.forward(structure, CORRUPTED[0], hooks)[4, 3]), abs=1e-4)


@pytest.mark.parametrize("site", ["resid_post", "k", "z"])
def test_memory_budget_does_not_change_the_numbers(structure, site):
    experiment = Experiment(PAIRS, Intervention(site), Grid(("layer", "pos")))
    whole, pieces = (run_sweep(structure, experiment, budget=budget) for budget in (10**9, 1))
    assert_same(pieces.values, whole.values)


def test_causal_tracing_restores_a_noisy_run(structure):
    """Each of three prompts with its own noise on two embeddings; then one clean stream is put back."""
    noisy = with_noise(PAIRS, Noise((1, 3), scale=2.0, seed=5))
    change = noise_of(noisy, structure.embed.W_E, 8, structure.embed.scale)
    assert (change.abs().sum(-1) > 0).nonzero()[:, 1].unique().tolist() == [1, 3]
    sweep = run_sweep(structure, Experiment(noisy, Intervention("resid_pre"), Grid(("layer", "pos"))))
    for i, ids in enumerate(CLEAN):
        kept, added = plain.cached(structure, ids), change[i, : len(ids)]
        broken = plain.forward(structure, ids, resid_change=added)
        assert float(sweep.base[i]) == pytest.approx(
            plain.logit_diff(broken, noisy.answers[i], noisy.wrong[i]), abs=1e-4
        )
        for layer, pos in ((0, 1), (1, 3), (2, 4)):
            hooks = plain.changes("resid_pre", (Place(layer, pos),), len(ids), lambda name, old, kept=kept: kept[name])
            logits = plain.forward(structure, ids, hooks, added)
            wanted = plain.logit_diff(logits, noisy.answers[i], noisy.wrong[i])
            assert float(sweep.values[layer, pos, i]) == pytest.approx(wanted, abs=2e-4)


def test_steering_adds_the_vector(structure):
    vector = tuple(torch.randn(structure.cfg.d_model, generator=torch.Generator().manual_seed(0)).tolist())
    intervention = Intervention("resid_post", "add", into="clean", vector=vector, coefficient=-0.7)
    sweep = run_sweep(structure, Experiment(PAIRS, intervention, Grid(("layer",), pos=-1)))
    for layer in range(3):
        for i, ids in enumerate(CLEAN):
            steered = [(Place(layer, len(ids) - 1),)]
            hooks = plain.changes("resid_post", steered[0], len(ids), lambda name, x: x - 0.7 * torch.tensor(vector))
            wanted = plain.logit_diff(plain.forward(structure, ids, hooks), PAIRS.answers[i], PAIRS.wrong[i])
            assert float(sweep.values[layer, i]) == pytest.approx(wanted, abs=1e-4)


METRICS = {
    "logit": lambda logits, ids, clean, a, w: logits[-1][list(a)].mean(),
    "log_prob": lambda logits, ids, clean, a, w: logits.log_softmax(-1)[-1][list(a)].mean(),
    "prob": lambda logits, ids, clean, a, w: sum_of(logits, a),
    "prob_diff": lambda logits, ids, clean, a, w: (
        logits.softmax(-1)[-1][list(a)].sum() - logits.softmax(-1)[-1][list(w)].sum()
    ),
    "rank": lambda logits, ids, clean, a, w: sum(float(1 + (logits[-1] > logits[-1][one]).sum()) for one in a) / len(a),
    "loss": lambda logits, ids, clean, a, w: torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:])),
    "kl": lambda logits, ids, clean, a, w: kl(clean, logits),
    "function": lambda logits, ids, clean, a, w: logits[-1].amax(),
}


def sum_of(logits, ids):
    return logits.softmax(-1)[-1][list(ids)].sum()


def kl(clean, logits):
    return (clean.softmax(-1) * (clean.log_softmax(-1) - logits.log_softmax(-1))).sum(-1).mean()


@pytest.mark.parametrize("kind", METRICS)
def test_every_metric(structure, kind):
    where = "all" if kind in ("loss", "kl") else "last"
    metric = Metric(kind, where, (lambda logits, pair, pos: logits.amax(-1)) if kind == "function" else None)
    sweep = run_sweep(structure, Experiment(PAIRS, Intervention("z"), Grid(("layer", "pos")), metric))
    for i, ids in enumerate(CORRUPTED):
        kept, clean = plain.cached(structure, CLEAN[i]), plain.forward(structure, CLEAN[i])
        for layer, pos in ((0, 3), (1, 4), (2, len(ids) - 1)):
            hooks = plain.changes("z", (Place(layer, pos),), len(ids), lambda name, old, kept=kept: kept[name])
            logits = plain.forward(structure, ids, hooks)
            wanted = METRICS[kind](logits, ids, clean, PAIRS.answers[i], PAIRS.wrong[i])
            assert float(sweep.values[layer, pos, i]) == pytest.approx(float(wanted), rel=1e-4, abs=1e-4)


def test_loss_at_chosen_positions(structure):
    sweep = run_sweep(
        structure,
        Experiment(PAIRS, Intervention("mlp_out", "zero", into="clean"), Grid(("layer",)), Metric("loss", (1, -3))),
    )
    for i, ids in enumerate(CLEAN):
        hooks = plain.changes("mlp_out", (Place(1),), len(ids), lambda name, old: torch.zeros_like(old))
        logits = plain.forward(structure, ids, hooks).log_softmax(-1)
        at = {1, len(ids) - 3}
        wanted = -sum(float(logits[pos, ids[pos + 1]]) for pos in at) / len(at)
        assert float(sweep.values[1, i]) == pytest.approx(wanted, rel=1e-4)
