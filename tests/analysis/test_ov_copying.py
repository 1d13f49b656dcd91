"""OV copying from small matrices, against eigenvalues of the whole vocabulary's matrix, head by head."""

import math

import numpy as np
import pytest
import torch

from lens.analysis.circuit_weights import check_embedding, ov_caveats
from lens.analysis.ov_copying import (
    copying_score,
    gaussian_eigenvalues,
    haar,
    null_band,
    null_eigenvalues,
    null_scores_of,
    ov_copying,
    ov_cores,
    positive_share,
    share_outside,
    stream_null_eigenvalues,
    with_own,
)
from lens.process import center_unembed, center_writing_weights, fold_layer_norm, fold_value_biases, why_inexact
from tests.analysis import dense
from tests.analysis.shaken import GROUPED, make_model

VARIANTS = {
    "learned": {},
    "grouped": GROUPED,
    "attn_only": {"d_mlp": 0},
    "post_norm": {**GROUPED, "post_norm": True, "pre_norm": False},
    "parallel": {"parallel": True, "positions": "rotary"},
    "no_norm": {"norm": None, "d_mlp": 0, "positions": "shortformer"},
    "embed_norm": {"embed_norm": True, "positions": "alibi", "embed_scale": 3.0, "tied": False},
    "solu": {"act_fn": "solu", "mlp_norm": True, "final_rms": True},
}


@pytest.fixture(params=list(VARIANTS))
def variant(request):
    return make_model(**VARIANTS[request.param])


@pytest.mark.parametrize("embedding", ["tokens", "first_mlp"])
@torch.no_grad()
def test_eigenvalues_are_those_of_the_vocabulary_matrix(variant, embedding):
    if embedding == "first_mlp" and variant.cfg.attn_only:
        with pytest.raises(ValueError, match="no first MLP"):
            ov_copying(variant, embedding)
        return
    found = ov_copying(variant, embedding)
    for layer, head in ((0, 0), (1, 3), (2, 1)):
        want = torch.linalg.eigvals(dense.full_ov(variant, layer, head, embedding).double())
        size = dense.sorted_sizes(want)
        torch.testing.assert_close(found.full.eigenvalues[layer, head].abs().double(), size[:8], rtol=1e-3, atol=1e-3)
        assert size[8:].max() < 1e-3 * size[0]
        score = float(want.real.sum() / want.abs().sum())
        assert found.full.score[layer, head] == pytest.approx(score, abs=1e-3)
        share = float(want.abs()[want.real > 0].sum() / want.abs().sum())
        assert found.full.positive[layer, head] == pytest.approx(share, abs=1e-2)


@torch.no_grad()
def test_the_residual_circuit_is_that_of_the_bare_weights_or_of_folded_ones(variant):
    raw, folded = ov_copying(variant, folded=False).residual, ov_copying(variant).residual
    for layer, head in ((0, 1), (2, 3)):
        _, _, W_V, W_O = dense.head_weights(variant, layer, head)
        block, eye = variant.blocks[layer], torch.eye(variant.cfg.d_model)
        for found, matrix in (
            (raw, W_V @ W_O),
            (folded, dense.linear_norm(block.ln1_post, dense.linear_norm(block.ln1, eye) @ W_V @ W_O)),
        ):
            want = dense.sorted_sizes(torch.linalg.eigvals(matrix.double()))
            torch.testing.assert_close(found.eigenvalues[layer, head].abs().double(), want[:8], rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_processing_of_the_weights_changes_no_full_circuit(variant):
    want = ov_copying(variant).full
    model = variant
    for step in (fold_layer_norm, center_writing_weights, center_unembed, fold_value_biases):
        if why_inexact(model.cfg, step.__name__) is None:
            model = step(model)
    found = ov_copying(model).full
    torch.testing.assert_close(found.eigenvalues.abs(), want.eigenvalues.abs(), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.score, want.score, rtol=0, atol=1e-4)


def test_scores_of_hand_made_eigenvalues():
    values = torch.tensor([[1, 2, 3], [1j, -1j, 0], [-1, -1, -2], [3, -1, 0], [0, 0, 0]], dtype=torch.complex64)
    torch.testing.assert_close(copying_score(values)[:4], torch.tensor([1.0, 0, -1, 0.5]))
    torch.testing.assert_close(positive_share(values)[:4], torch.tensor([1.0, 0, 0, 0.75]))
    assert copying_score(values)[4].isnan()
    assert positive_share(values)[4].isnan()


@torch.no_grad()
def test_a_head_that_copies_and_one_that_writes_the_opposite():
    """W_O takes back what W_V reads, then W_U reads what W_E wrote: +1; with the sign turned −1; a shift, 0."""
    model = make_model(d_mlp=0, norm=None, d_vocab=32, d_model=32, n_layers=1, positions="shortformer")
    model.embed.W_E.copy_(torch.eye(32))
    model.unembed.W_U.copy_(torch.eye(32))
    parts = torch.eye(32).split(8, dim=1)
    attn = model.blocks[0].attn
    for head, part in enumerate(parts):
        attn.W_V[head].copy_(part)
    attn.W_O[0].copy_(parts[0].T)
    attn.W_O[1].copy_(-parts[1].T)
    attn.W_O[2].copy_(parts[2].T.roll(1, 0))
    attn.W_O[3].zero_()
    score = ov_copying(model).full.score[0]
    torch.testing.assert_close(score[:3], torch.tensor([1.0, -1.0, 0.0]), atol=0.05, rtol=0)
    assert score[3].isnan()


def test_random_rotations_are_orthogonal_and_uniform():
    Q = haar((4000,), 3, torch.Generator().manual_seed(0))
    torch.testing.assert_close(Q @ Q.mT, torch.eye(3).expand_as(Q), atol=1e-5, rtol=0)
    assert Q.mean(0).abs().max() < 0.05
    torch.testing.assert_close(Q.square().mean(0), torch.full((3, 3), 1 / 3), atol=0.03, rtol=0)
    traces = Q.diagonal(dim1=1, dim2=2).sum(1)
    assert float(traces.square().mean()) == pytest.approx(1, abs=0.1)  # of a uniform rotation, exactly 1


def test_draws_come_in_blocks_that_do_not_depend_on_each_other(grouped):
    cores = ov_cores(grouped).full
    whole = null_scores_of((0, 6), cores, seed=2)
    torch.testing.assert_close(torch.cat([null_scores_of((0, 2), cores, 2), null_scores_of((2, 6), cores, 2)]), whole)
    assert not torch.equal(whole, null_scores_of((0, 6), cores, seed=3))
    band = null_band(null_scores_of((0, 200), cores))
    assert band.n == 200
    assert (band.low < 0).all()
    assert (band.high > 0).all()
    assert (band.family_low < band.low).all()
    assert (band.family_high > band.high).all()
    assert null_band(null_scores_of((0, 18), cores)).reach == math.inf  # too few draws for one in twenty


def test_all_heads_are_counted_in_their_own_standard_deviations():
    """Two heads, one of whose null is ten times as wide: unstandardised, the narrow one could never be found."""
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(4000, 1, 2, generator=generator) * torch.tensor([0.02, 0.2]) + torch.tensor([0.1, 0.0])
    band = null_band(draws)
    assert band.reach == pytest.approx(2.236, abs=0.1)  # of the largest of two normal numbers: 95% stay below it
    torch.testing.assert_close(band.family_high[0], torch.tensor([0.1 + 0.02 * 2.236, 0.2 * 2.236]), atol=0.03, rtol=0)
    left = ((draws > band.family_high) | (draws < band.family_low)).any(-1)
    assert float(left.float().mean()) == pytest.approx(0.05, abs=0.002)


def test_heads_that_write_nothing_stay_out_of_the_null(grouped):
    cores = ov_cores(grouped).full.clone()
    cores[0, 0] = 0
    band = null_band(null_scores_of((0, 20), cores))
    assert band.low[0, 0].isnan()
    assert band.low[0, 1].isfinite()
    assert band.reach > 0
    assert band.family_high[0, 0].isnan()


@torch.no_grad()
def test_the_null_of_one_head_has_the_variance_of_a_random_trace(grouped):
    core = ov_cores(grouped).full[1, 2]
    draws = null_eigenvalues(core, 4000)
    want = float(core.norm() / core.shape[0] ** 0.5)
    assert float(draws.real.sum(1).std()) == pytest.approx(want, rel=0.1)


@torch.no_grad()
def test_the_second_null_turns_the_whole_stream(grouped):
    found = stream_null_eigenvalues(grouped, (1, 2), n_draws=3)
    assert found.shape == (3, 8)
    assert not torch.allclose(found[0].abs(), found[1].abs())


@torch.no_grad()
def test_the_gaussian_reference_is_the_spectrum_of_the_vocabulary_matrix_of_a_gaussian_head(grouped):
    found, scores = gaussian_eigenvalues(grouped, 1, seed=3), {}
    writes, reads = torch.randn(2, 8, 32, generator=torch.Generator().manual_seed(3))
    block, attn = grouped.blocks[1], grouped.blocks[1].attn
    attn.W_V[0], attn.W_O[0] = reads.T, writes
    block.ln1.w.fill_(1.0)  # a Gaussian head reads the stream as it is
    want = dense.sorted_sizes(torch.linalg.eigvals(dense.full_ov(grouped, 1, 0).double()))[:8]
    torch.testing.assert_close(dense.sorted_sizes(found[0]).double(), want, rtol=1e-3, atol=1e-3)
    for circuit in ("full", "residual"):
        scores[circuit] = copying_score(gaussian_eigenvalues(grouped, 2, circuit))
        assert scores[circuit].shape == (200,)
        assert abs(float(scores[circuit].mean())) < 0.1
    assert not torch.allclose(scores["full"], scores["residual"])
    assert torch.equal(scores["residual"], copying_score(gaussian_eigenvalues(grouped, 0, "residual")))


def test_an_unknown_embedding_and_caveats(grouped):
    with pytest.raises(ValueError, match="'words'"):
        check_embedding(grouped.cfg, "words")
    assert any("share each W_V" in sentence for sentence in ov_caveats(grouped.cfg))
    capped = make_model(final_softcap=5.0, clip_qkv=3.0, embed_norm=True, post_norm=True)
    assert len(ov_caveats(capped.cfg)) == 4
    assert ov_caveats(make_model().cfg) == ()


@pytest.fixture(scope="module")
def smollm2_copying(smollm2):
    return ov_copying(smollm2)


def test_figures_of_smollm2(smollm2_copying):
    assert float(smollm2_copying.full.score[23, 2]) == pytest.approx(-0.19, abs=0.01)
    assert float(smollm2_copying.full.score[18, 6]) > 0.5
    assert float(smollm2_copying.full.score[17, 3]) > 0.4


def test_one_head_has_the_rotations_that_it_has_among_all(grouped):
    cores = ov_cores(grouped).full
    whole = null_scores_of((0, 30), cores, seed=2)
    some = null_scores_of((0, 30), cores, 2, [(1, 2), (0, 3)])
    assert torch.equal(some[:, 1, 2], whole[:, 1, 2])
    assert torch.equal(some[:, 0, 3], whole[:, 0, 3])
    assert int(some[0].isfinite().sum()) == 2


def test_heads_with_fewer_draws_are_judged_by_those_that_they_have():
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(200, 1, 3, generator=generator)
    whole, some = null_band(draws), draws.clone()
    some[40:, 0, 1] = torch.nan
    band = null_band(some)
    assert (whole.n, whole.most, band.n, band.most) == (200, 200, 40, 200)
    assert [band.n_of((0, head)) for head in range(3)] == [200, 40, 200]
    torch.testing.assert_close(band.low[0, 0], whole.low[0, 0], atol=0, rtol=0)
    torch.testing.assert_close(band.low[0, 1], null_band(draws[:40]).low[0, 1], atol=0, rtol=0)
    own = with_own(band, (0, 1), draws[:, 0, 1])
    assert own.n_of((0, 1)) == 200
    torch.testing.assert_close(own.low, whole.low)
    assert own.reach == band.reach  # all heads are held against as much, whichever is shown
    torch.testing.assert_close((own.family_high - own.family_low) / (2 * own.reach), draws.std(0))


def test_few_draws_are_counted_by_the_others():
    """The largest distance of each draw from the mean of the other 29, in the standard deviation of these."""
    draws = torch.randn(30, 1, 4, generator=torch.Generator().manual_seed(1)).double()
    others = [draws[torch.arange(30) != left] for left in range(30)]
    distance = torch.stack([(draws[i] - one.mean(0)).abs() / one.std(0) for i, one in enumerate(others)])
    assert null_band(draws).reach == pytest.approx(float(distance.amax((1, 2)).sort().values[math.ceil(0.95 * 31) - 1]))


def test_how_often_one_more_draw_lies_outside_the_central_95_percent():
    """Measured: draws that can be exchanged, with the interpolated percentiles that bands have."""
    random = np.random.default_rng(0)
    for n in (20, 40, 200):
        draws = random.normal(size=(n + 1, 40_000))
        low, high = np.quantile(draws[:-1], [0.025, 0.975], axis=0)
        outside = ((draws[-1] < low) | (draws[-1] > high)).mean()
        assert share_outside(n) == pytest.approx(outside, rel=0.12)
