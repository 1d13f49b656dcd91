"""Attribution patching is the first-order term of the exact sweep, and exact in the softmax."""

import pytest
import torch

from lens.analysis.interventions import Experiment, Grid, Intervention, Metric, Noise, Pairs, available_sites, run_sweep
from lens.analysis.interventions.agreement import agreement
from lens.analysis.interventions.attribution import attribution
from lens.analysis.interventions.entries import one_key
from lens.analysis.interventions.pairs import with_noise
from tests.analysis.interventions.test_exact import CLEAN, CORRUPTED, PAIRS, some_cells
from tests.families.variants import VARIANTS
from tests.helpers import in_lens


@pytest.fixture(scope="module", params=["gpt2", "llama-grouped", "gemma2", "qwen3", "olmo2"])
def double(request):
    return in_lens(VARIANTS[request.param]()).double()


@pytest.mark.parametrize("freeze", [(), ("patterns",), ("scales",)])
def test_first_order_of_small_changes(double, freeze):
    """The other run differs by tiny noise, so second-order terms are a thousand times smaller."""
    near = with_noise(PAIRS, Noise((1, 3), scale=1e-4))
    for site in available_sites(double.cfg) if not freeze else ("z", "q", "v", "mlp_out"):
        cells = some_cells(double, site, 1)[:-1]  # the last one has places in two layers
        experiment = Experiment(near, Intervention(site, into="clean", freeze=freeze), Grid(sets=cells))
        exact, (found,) = run_sweep(double, experiment), attribution(double, [experiment])
        wanted = exact.values - exact.base
        got = found.values - found.base
        assert torch.equal(wanted.isnan(), got.isnan())
        scale = float(wanted.nan_to_num().abs().max())
        torch.testing.assert_close(got.nan_to_num(), wanted.nan_to_num(), rtol=2e-2, atol=1e-12 + 2e-3 * scale)


def test_all_sites_share_one_backward_and_chunks_do_not_matter(double):
    experiments = [
        Experiment(PAIRS, Intervention(site), Grid(("layer", "pos")), Metric("loss", "all"))
        for site in ("resid_pre", "z", "q", "k", "pattern")
    ]
    together, alone = attribution(double, experiments), [attribution(double, [one], budget=1)[0] for one in experiments]
    for a, b in zip(together, alone):
        torch.testing.assert_close(a.values, b.values, equal_nan=True, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(a.base, run_sweep(double, a.experiment).base)
        torch.testing.assert_close(a.other, run_sweep(double, a.experiment).other)


def test_kl_of_the_clean_run_to_itself_has_no_slope(double):
    experiment = Experiment(PAIRS, Intervention("z", "zero", into="clean"), Grid(("layer",)), Metric("kl"))
    (found,) = attribution(double, [experiment])
    assert found.base.abs().max() < 1e-12
    assert (found.values - found.base).abs().max() < 1e-9


def test_one_key_equals_a_softmax_for_each_key():
    generator = torch.Generator().manual_seed(0)
    scores, replaced, gradient = (torch.randn(2, 3, 5, 5, generator=generator, dtype=torch.float64) * 3 for _ in "abc")
    above = torch.ones(5, 5).triu(1).bool()
    scores, replaced = scores.masked_fill(above, -torch.inf), replaced.masked_fill(above, -torch.inf)
    found = one_key(scores.softmax(-1), scores, replaced, gradient)
    for key in range(5):
        changed = scores.clone()
        changed[..., key] = replaced[..., key]
        wanted = (gradient * (changed.softmax(-1) - scores.softmax(-1))).sum(-1)
        torch.testing.assert_close(found[..., key], wanted)


def test_queries_see_through_a_saturated_pattern():
    """Attention that is all on one key has no gradient, though another query would look elsewhere."""
    model = in_lens(VARIANTS["gpt2"]()).double()
    with torch.no_grad():
        model.blocks[2].attn.W_Q *= 30
    experiment = Experiment(PAIRS, Intervention("q"), Grid(("layer", "head"), layers=(2,)))
    exact, (found,) = run_sweep(model, experiment), attribution(model, [experiment])
    assert agreement(exact, found).correlation > 0.95


def test_agreement_finds_the_worst_cell():
    model = in_lens(VARIANTS["gpt2"]())
    experiment = Experiment(
        Pairs(CLEAN[:1], CORRUPTED[:1], ((3,),), ((20,),)), Intervention("z"), Grid(("layer", "pos"))
    )
    exact = run_sweep(model, experiment)
    values = exact.values.clone()
    values[1, 5] += 50
    found = agreement(exact, exact._replace(values=values))
    assert found.worst[0] == 1 * 8 + 5
    assert agreement(exact, exact).correlation == pytest.approx(1)


def test_refusals():
    model = in_lens(VARIANTS["gpt2"]())
    rank = Experiment(PAIRS, Intervention("z"), Grid(("layer",)), Metric("rank"))
    with pytest.raises(ValueError, match="no gradient"):
        attribution(model, [rank])
    other = Experiment(PAIRS, Intervention("z", into="clean"), Grid(("layer",)))
    with pytest.raises(ValueError, match="share"):
        attribution(model, [Experiment(PAIRS, Intervention("z"), Grid(("layer",))), other])
