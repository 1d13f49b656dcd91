"""Every sweep equals one forward pass per cell, in every structure of model."""

import pytest
import torch

from lens.analysis.interventions import (
    Experiment,
    Grid,
    Intervention,
    Pairs,
    available_sites,
    find_site,
    run_sweep,
)
from lens.analysis.interventions.sites import n_layers_of
from tests.analysis.interventions import plain
from tests.families.variants import VARIANTS
from tests.helpers import in_lens

CLEAN = ((5, 9, 31, 7, 12, 40, 3, 77), (6, 2, 8, 51, 17, 60, 44), (11, 64, 9, 70, 2))
CORRUPTED = ((5, 9, 31, 8, 12, 40, 2, 77), (6, 2, 9, 51, 17, 60, 44), (12, 64, 9, 70, 2))
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
    sides = {"clean": pairs.clean[i], "corrupted": pairs.corrupted[i]}
    ids, other = sides[intervention.base], sides[intervention.other]
    site = intervention.site
    if any(max(place.pos or 0, place.key or 0) >= len(ids) for place in cell):
        return torch.nan
    kept, own = plain.cached(model, other), plain.cached(model, ids)
    means = None
    if intervention.put == "mean":
        runs = [plain.cached(model, getattr(pairs, intervention.other)[j]) for j in range(len(pairs))]

        def means(name):
            stacked = torch.zeros_like(own[name])
            dim = 2 if site == "pattern" else 1
            for pos in range(len(ids)):
                there = [run[name] for run in runs if run[name].shape[dim] > pos]
                if site == "pattern":
                    wide = [torch.nn.functional.pad(x[:, :, pos], (0, 8 - x.shape[-1])) for x in there]
                    stacked[:, :, pos] = torch.stack(wide).mean(0)[..., : len(ids)]
                else:
                    stacked[:, pos] = torch.stack([x[:, pos] for x in there]).mean(0)
            return stacked

    new = {
        "other": lambda name, old: kept[name],
        "mean": lambda name, old: means(name),
        "zero": lambda name, old: torch.zeros_like(old),
    }[intervention.put]
    hooks = []
    if "patterns" in intervention.freeze:
        hooks += plain.freezing(own, [name for name in own if name.endswith("hook_pattern")])
    if "scales" in intervention.freeze:
        hooks += plain.freezing(own, [name for name in own if "ln" in name and name.endswith("hook_scale")])
    if "ln_final.hook_scale" in intervention.freeze:
        hooks += plain.freezing(own, ["ln_final.hook_scale"])
    hooks += plain.changes(site, cell, len(ids), new)
    return plain.logit_diff(plain.forward(model, ids, hooks), pairs.answers[i], pairs.wrong[i])


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
    model = in_lens(VARIANTS[variant]())
    for site in available_sites(model.cfg):
        check(model, Intervention(site), how_many=1)


@pytest.mark.parametrize("variant", ["gpt2", "llama-grouped", "gemma2", "gpt-neox", "bloom", "gpt-neo"])
@pytest.mark.parametrize("put", ["other", "mean", "zero"])
@pytest.mark.parametrize("freeze", [(), ("patterns",), ("scales",), ("ln_final.hook_scale",)])
def test_every_value_and_freeze(variant, put, freeze):
    model = in_lens(VARIANTS[variant]())
    for site in ("z", "resid_pre", "mlp_out", "pattern"):
        check(model, Intervention(site, put, into="clean", freeze=freeze))
