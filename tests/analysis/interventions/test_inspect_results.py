"""What a cell changed, and what is said of a whole sweep: effects, shares, refusals."""

import pytest
import torch

from lens.analysis.crossed import factors_of, resamples, sampled, shortage
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
from lens.analysis.interventions.inspect import CellChange, loss_moves
from lens.analysis.verdicts import gap_between
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
    sweep = made([[1.0, 2.0] * 8, [-1.0, 6.0] * 8], base=[0.0, 0.0] * 8, other=[1.0, 3.0] * 8)
    found = recovered(sweep)
    torch.testing.assert_close(found.value, torch.tensor([3 / 4, 5 / 4]))
    assert found.gap == pytest.approx(2)
    assert found.gap_low > 0
    assert "16 pairs, 2000 resamples" in found.note
    torch.testing.assert_close(effect(sweep).value, torch.tensor([1.5, 2.5]))


def test_noising_is_measured_on_the_same_scale():
    """Into the clean run: 1 is unharmed, 0 is as bad as the corrupted run."""
    found = recovered(made([[2.0] * 16, [0.0] * 16], base=[2.0] * 16, other=[0.0] * 16, into="clean"))
    assert found.value.tolist() == [1, 0]


def test_a_gap_that_may_be_zero_is_refused_in_words():
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(32, generator=generator).tolist()
    found = recovered(made([[0.0] * 32, [1.0] * 32], base=[0.0] * 32, other=clean))
    assert found.value is None
    assert found.gap_low < 0 < found.gap_high
    assert "may be 0" in found.note
    assert "do not differ" in recovered(made([[1.0], [1.0]], base=[1.0], other=[1.0])).note


def test_a_few_pairs_have_points_and_no_share():
    """Two pairs with a gap of 2: nothing says that others would have one."""
    found = recovered(made([[1.0, 2.0], [-1.0, 6.0]], base=[0.0, 0.0], other=[1.0, 3.0]))
    assert (found.value, found.gap_low, found.gap) == (None, None, 2)
    assert "2 pairs, at least 16 are needed" in found.note


@pytest.mark.parametrize("size", [1e-7, 4e-9])
def test_a_gap_of_rounding_is_no_gap(size):
    """The same tiny difference in every pair: its interval excludes 0, and it says nothing."""
    one = torch.ones(16) * 5
    found = gap_between(one.double() + size, one, made([[0.0] * 16] * 2, [0.0] * 16, [0.0] * 16).experiment.pairs)
    assert found.verdict.state == "none"
    assert "rounding" in found.verdict.reason


def by_hand(values, prompts, seed=0):
    """The studentised interval of a mean over independent prompts, one resample at a time."""
    n, far = len(values), []
    error = values.std() / n**0.5
    for weight in resamples(prompts, seed).weight:
        drawn = values.repeat_interleave(weight.long())
        own = torch.maximum(drawn.std() / n**0.5, 0.3 * error)
        far.append((drawn.mean() - values.mean()) / own)
    low, high = torch.stack(far).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    return values.mean() - high * error, values.mean() - low * error


def test_intervals_without_factors_are_the_studentised_bootstrap():
    values = torch.randn(2, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sweep = made(values.tolist(), base=[0.0] * 40, other=[1.0] * 40)
    found = effect(sweep)
    for cell in (0, 1):
        low, high = by_hand(values[cell], sweep.experiment.pairs)
        assert (float(found.low[cell]), float(found.high[cell])) == pytest.approx((float(low), float(high)), abs=1e-5)


def crossed(n_frames, n_names, times=1):
    """Pairs of every frame with every name."""
    frames = tuple(i // n_names for i in range(n_frames * n_names)) * times
    return Pairs(
        ((1, 2),) * len(frames), ((1, 3),) * len(frames), frames=frames, names=tuple(range(n_names)) * n_frames * times
    )


def test_frames_and_names_are_resampled_separately():
    """Values that depend on the frame alone: the interval is that of 8 frames, not of 64 prompts."""
    pairs = crossed(8, 8)
    per_frame = torch.arange(8.0, dtype=torch.float64)
    low, high = sampled(per_frame[list(pairs.frames)], pairs).interval()
    alone = effect(made([per_frame[list(pairs.frames)].tolist()] * 2, [0.0] * 64, [1.0] * 64))
    assert high - low > 2.3 * (alone.high[0] - alone.low[0])
    own = sampled(per_frame[list(pairs.frames)], pairs).error
    assert float(own) == pytest.approx(float(per_frame.std() / 8**0.5), abs=1e-9)
    weights = resamples(pairs).weight
    assert weights.reshape(-1, 8, 8).sum((1, 2)).tolist() == [64] * len(weights)


def test_an_order_twice_is_no_second_sample():
    """Every prompt in both orders, with the same value: the error is that of the cells."""
    values = torch.randn(64, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    once, twice = sampled(values, crossed(8, 8)), sampled(values.repeat(2), crossed(8, 8, 2))
    torch.testing.assert_close(once.error, twice.error)


@pytest.mark.parametrize(
    ("n_frames", "n_names", "times", "short"),
    [
        (8, 8, 1, ""),
        (2, 4, 2, "16 pairs of 2 frames and 4 names, at least 8 of each"),
        (1, 16, 1, "1 frame, at least 16 are needed"),
        (64, 4, 1, "4 names"),
        (2, 2, 1, "4 pairs, at least 16"),
    ],
)
def test_the_minimum_counts_frames_and_names(n_frames, n_names, times, short):
    assert short in shortage(crossed(n_frames, n_names, times))
    assert bool(short) == bool(shortage(crossed(n_frames, n_names, times)))


def test_pairs_of_one_s_own_are_samples_by_themselves():
    """Each line is its own frame and its own name: nothing is crossed."""
    n = 16
    pairs = Pairs(((1, 2),) * n, ((1, 3),) * n, frames=tuple(range(n)), names=tuple(range(n)))
    assert [one.unit for one in factors_of(pairs)] == ["pairs"]
    assert shortage(pairs) == ""
    nested = Pairs(((1, 2),) * n, ((1, 3),) * n, frames=tuple(range(n)), names=(0, 1) * 8)
    assert "2 names" in shortage(nested)


def test_cells_that_are_not_computed_yet_stay_unknown():
    nan = float("nan")
    sweep = made([[nan, *[1.0] * 19], [1.0] * 20], base=[0.0] * 20, other=[1.0] * 20)
    assert effect(sweep).value.isnan().tolist() == [True, False]
    assert recovered(sweep).value.isnan().tolist() == [True, False]
    status = torch.zeros(2, 20, dtype=torch.uint8)
    status[0, 0] = 3
    absent = sweep._replace(status=status)
    assert effect(absent).value.tolist() == [1, 1]
    assert recovered(absent).value.tolist() == [1, 1]
    few = sweep._replace(values=torch.tensor([[nan] * 10 + [1.0] * 10, [1.0] * 20]), status=status + 3)
    assert effect(few).low.isnan().tolist() == [True, False]  # ten prompts have this position: no interval


def change_of(rank: list, loss: list) -> CellChange:
    """A change of one prompt with these ranks and losses [before/after, …]."""
    rank, loss = torch.tensor(rank), torch.tensor(loss)
    return CellChange(torch.arange(4), torch.arange(3), rank, rank, rank, loss, torch.zeros(2, 1, 4, 4), 0)


def test_the_likeliest_tokens_and_their_ties():
    one = change_of([[0, 1, 2], [4, 0, 1]], [[0.0] * 3] * 2)
    assert (one.likeliest, one.tied) == ((0, 1), (1, 1))
    assert change_of([[0, 0, 2], [0, 1, 2]], [[0.0] * 3] * 2).tied == (2, 1)


def test_the_token_whose_loss_moves_most():
    found = loss_moves(change_of([[0]], [[1.0, 2.0, 3.0], [1.05, 0.5, 3.5]]))
    assert found == (2, 2.0, 0.5, 1, 1, 3)
    assert loss_moves(change_of([[0]], [[1.0, 2.0, 3.0]] * 2)).at == 0
    assert loss_moves(change_of([[0]], [[], []])).n == 0
