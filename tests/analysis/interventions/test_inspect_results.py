"""What a cell changed, and what is said of a whole sweep: effects, shares, refusals."""

import pytest
import torch

from lens.analysis.crossed import crossed_weights, interval_of
from lens.analysis.interventions import (
    Experiment,
    Grid,
    Intervention,
    Metric,
    Pairs,
    Place,
    Sweep,
    cell_change,
    effect,
    recovered,
    run_sweep,
)
from lens.analysis.stats import bootstrap_weights
from tests.analysis.interventions.test_exact import PAIRS, some_cells
from tests.families.variants import VARIANTS
from tests.helpers import in_lens


@pytest.mark.parametrize("variant", ["gpt2", "gemma2", "gpt-neox"])
@pytest.mark.parametrize("freeze", [(), ("patterns", "scales")])
def test_a_looked_at_cell_has_the_value_of_the_sweep(variant, freeze):
    model = in_lens(VARIANTS[variant]())
    for site in ("resid_post", "k", "pattern", "final_scale"):
        cells = some_cells(model, site, 1)
        experiment = Experiment(PAIRS, Intervention(site, freeze=freeze), Grid(sets=cells), Metric("log_prob"))
        sweep = run_sweep(model, experiment)
        for cell, values in zip(cells, sweep.values):
            found = cell_change(model, experiment, cell, layer=1)
            at = found.top.tolist().index(3)  # the right answer of the first pair
            assert float(found.prob[1, at].log()) == pytest.approx(float(values[0]), abs=1e-4)
            assert float(found.prob[0, at].log()) == pytest.approx(float(sweep.base[0]), abs=1e-4)


def test_the_table_before_and_after():
    model = in_lens(VARIANTS["gpt2"]())
    experiment = Experiment(PAIRS, Intervention("pattern", "zero", into="clean"), Grid(("layer", "head")))
    found = cell_change(model, experiment, (Place(1, head=2),), pair=1, layer=1)
    assert found.pattern[1, 2].abs().sum() == 0
    torch.testing.assert_close(found.pattern[0].sum(-1), torch.ones(4, 7))
    assert torch.equal(found.pattern[1, 0], found.pattern[0, 0])
    logits = model(torch.tensor([PAIRS.clean[1]]))[0]
    assert found.rank[0].tolist() == sorted(found.rank[0].tolist())
    assert found.rank[0, 0] == 0
    torch.testing.assert_close(found.logit[0], logits[-1, found.top])
    torch.testing.assert_close(found.loss[0], model(torch.tensor([PAIRS.clean[1]]), "loss", loss_per_token=True)[0])
    nothing = cell_change(model, experiment, (), pair=1)
    assert torch.equal(nothing.logit[0], nothing.logit[1])
    with pytest.raises(ValueError, match="pair 9 of 3"):
        cell_change(model, experiment, (), pair=9)


def made(values, base, other, frames=(), names=(), into="corrupted"):
    """A sweep over two cells with these metrics."""
    n = len(base)
    pairs = Pairs(((1, 2),) * n, ((1, 3),) * n, frames=frames, names=names)
    experiment = Experiment(pairs, Intervention("z", into=into), Grid(("layer",)))
    values, base, other = (torch.tensor(x) for x in (values, base, other))
    return Sweep(values, torch.zeros(values.shape, dtype=torch.uint8), base, other, {"layer": [0, 1]}, experiment)


def test_recovered_is_a_ratio_of_sums_and_not_clipped():
    sweep = made([[1.0, 2.0], [-1.0, 6.0]], base=[0.0, 0.0], other=[1.0, 3.0])
    found = recovered(sweep)
    torch.testing.assert_close(found.value, torch.tensor([3 / 4, 5 / 4]))
    assert found.gap == pytest.approx(2)
    assert "no interval: 2 pairs" in found.note
    torch.testing.assert_close(effect(sweep).value, torch.tensor([1.5, 2.5]))


def test_noising_is_measured_on_the_same_scale():
    """Into the clean run: 1 is unharmed, 0 is as bad as the corrupted run."""
    found = recovered(made([[2.0, 2.0], [0.0, 0.0]], base=[2.0, 2.0], other=[0.0, 0.0], into="clean"))
    assert found.value.tolist() == [1, 0]


def test_a_gap_that_may_be_zero_is_refused_in_words():
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(32, generator=generator).tolist()
    found = recovered(made([[0.0] * 32, [1.0] * 32], base=[0.0] * 32, other=clean))
    assert found.value is None
    assert found.gap_low < 0 < found.gap_high
    assert "includes 0" in found.note
    assert "do not differ" in recovered(made([[1.0], [1.0]], base=[1.0], other=[1.0])).note


def test_intervals_without_factors_are_the_plain_bootstrap():
    values = torch.randn(2, 40, generator=torch.Generator().manual_seed(1))
    found = effect(made(values.tolist(), base=[0.0] * 40, other=[1.0] * 40))
    low, high = interval_of(bootstrap_weights(40) @ values.T.double())
    torch.testing.assert_close(found.low, low.float(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.high, high.float(), rtol=1e-5, atol=1e-5)


def test_frames_and_names_are_resampled_separately():
    """Values that depend on the frame alone: the interval is that of 5 frames, not of 25 prompts."""
    frames, names = tuple(i // 5 for i in range(25)), tuple(i % 5 for i in range(25))
    per_frame = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0])
    values = per_frame[list(frames)]
    crossed = effect(made([values.tolist()] * 2, [0.0] * 25, [1.0] * 25, frames, names))
    alone = effect(made([values.tolist()] * 2, [0.0] * 25, [1.0] * 25))
    low, high = interval_of(bootstrap_weights(5) @ per_frame[:, None].double())
    torch.testing.assert_close(crossed.low[0], low[0].float(), atol=0.11, rtol=0)
    torch.testing.assert_close(crossed.high[0], high[0].float(), atol=0.11, rtol=0)
    assert crossed.high[0] - crossed.low[0] > 1.7 * (alone.high[0] - alone.low[0])
    assert "5 frames and 5 names" in crossed.note
    weights = crossed_weights(made([[0.0] * 25] * 2, [0.0] * 25, [1.0] * 25, frames, names).experiment.pairs)
    torch.testing.assert_close(weights.sum(1), torch.ones(len(weights), dtype=torch.float64))
    low, high = interval_of(weights @ torch.ones(25, 1, dtype=torch.float64))
    assert float(low) == pytest.approx(1)
    assert float(high) == pytest.approx(1)


def test_cells_that_are_not_computed_yet_stay_unknown():
    nan = float("nan")
    sweep = made([[nan, 1.0], [1.0, 1.0]], base=[0.0, 0.0], other=[1.0, 1.0])
    assert effect(sweep).value.isnan().tolist() == [True, False]
    assert recovered(sweep).value.isnan().tolist() == [True, False]
    absent = sweep._replace(status=torch.tensor([[3, 0], [0, 0]], dtype=torch.uint8))
    assert effect(absent).value.tolist() == [1, 1]
    assert recovered(absent).value.tolist() == [1, 1]
