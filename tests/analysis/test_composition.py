"""Composition of all pairs, against dense products head by head, hand-made heads, and random rotations."""

import dataclasses
import math

import pytest
import torch
from scipy.stats import pearson3

from lens import Config, HookedTransformer
from lens.analysis.composition import (
    _power_traces,
    _read_rows,
    _tail,
    _write_rows,
    among_layer,
    busiest,
    composition,
    fed_by,
    feeders,
    pearson3_tail,
    strongest_pairs,
    virtual_weights,
)
from lens.analysis.head_weights import head_weights, rotated
from lens.analysis.ov_copying import haar
from lens.process import center_writing_weights, fold_layer_norm
from tests.analysis.shaken import GROUPED, make_model

OFFSET = 5
KINDS = {
    "learned": {},
    "grouped": GROUPED,
    "adjacent partial": {"positions": "rotary", "rotary_dim": 4, "rotary_adjacent": True},
    "scaled rotary": {**GROUPED, "rotary_divisors": (1.0, 2.0, 3.0, 4.0), "rotary_gain": 1.3},
    "local base": {**GROUPED, "windows": (None, 9, None), "local_rotary_base": 50.0},
    "parallel": {"parallel": True, "positions": "rotary"},
    "attention only": {"d_mlp": 0},
    "no norms": {"norm": None, "d_mlp": 0},
    "post-norm": {**GROUPED, "post_norm": True},
    "post-norm only": {**GROUPED, "post_norm": True, "pre_norm": False},
    "wide heads": {"d_head": 40},
}


@pytest.fixture(scope="module", params=KINDS, ids=list(KINDS))
def shaken(request):
    return make_model(**KINDS[request.param])


def scores_between(model, layer, offset):
    """The scores of one layer as a bilinear form of two streams, by turning q and k in the model's own way."""
    attn = model.blocks[layer].attn
    streams = torch.eye(model.cfg.d_model)
    places = model.places(torch.zeros(1, offset + 1, dtype=torch.long))
    rotation = places.local_rotation if attn.local_rotary else places.rotation
    q, k = streams @ attn.W_Q, streams @ attn.W_K  # [head, d_model, d_head]
    k = k.repeat_interleave(model.cfg.group_size, 0)
    if rotation is not None:
        from lens.positions import rotate

        at = [rotation._replace(cos=rotation.cos[:, i, None], sin=rotation.sin[:, i, None]) for i in (0, offset)]
        q, k = rotate(q[:, :, None], at[1])[:, :, 0], rotate(k[:, :, None], at[0])[:, :, 0]
    return q @ k.mT


@torch.no_grad()
@pytest.mark.parametrize("offset", [0, OFFSET])
@pytest.mark.parametrize("mode", ["Q", "K", "V"])
def test_all_pairs_against_dense_products(shaken, mode, offset):
    cfg = shaken.cfg
    got = composition(shaken, mode, offset, "raw")
    for l1 in range(cfg.n_layers):
        for l2 in range(cfg.n_layers):
            if l1 >= l2:
                assert got.scores[l1, :, l2].isnan().all()
                continue
            QK = scores_between(shaken, l2, offset)
            for h1 in range(cfg.n_heads):
                ov = dense_ov(shaken, l1, h1)
                for h2 in range(cfg.n_heads):
                    reads = {"Q": QK[h2], "K": QK[h2].T, "V": dense_ov(shaken, l2, h2)}[mode]
                    want = (ov @ reads).norm() / (ov.norm() * reads.norm())
                    torch.testing.assert_close(got.scores[l1, h1, l2, h2], want, atol=1e-6, rtol=1e-4)


def dense_ov(model, layer, head):
    attn = model.blocks[layer].attn
    return attn.W_V[head // model.cfg.group_size] @ attn.W_O[head]


@torch.no_grad()
@pytest.mark.parametrize("mode", "QKV")
def test_one_receiver_has_the_numbers_that_it_has_among_all_pairs(shaken, mode):
    every = composition(shaken, mode, OFFSET)
    some = composition(shaken, mode, OFFSET, receiver=(1, 2))
    for name in ("scores", "null_sd", "p", "z"):
        found, want = (getattr(one, name)[:, :, 1, 2] for one in (some, every))
        torch.testing.assert_close(found, want, atol=1e-4, rtol=1e-3, equal_nan=True)
    assert some.n_pairs == shaken.cfg.n_heads
    assert torch.equal(some.beyond((1, 2)), every.beyond((1, 2)))
    assert (some.null, some.offset, some.notes) == (every.null, every.offset, every.notes)


def test_the_distance_between_query_and_key_matters_only_where_positions_are_rotary(shaken):
    near, far = (composition(shaken, "Q", offset).scores.nan_to_num() for offset in (1, 30))
    turns = shaken.cfg.positions == "rotary"
    assert torch.allclose(near, far) is not turns
    assert composition(shaken, "K", 30).offset == (30 if turns else None)
    assert composition(shaken, "V", 30).offset is None


@torch.no_grad()
@pytest.mark.parametrize("kind", ["learned", "grouped", "attention only", "parallel"])
def test_folded_weights_are_those_of_the_processed_model(kind):
    model = make_model(**KINDS[kind])
    processed = fold_layer_norm(model)
    if model.cfg.norm == "LN":
        processed = center_writing_weights(processed)
    for layer in range(model.cfg.n_layers):
        folded, want = head_weights(model, layer), head_weights(processed, layer, "raw")
        for got, other in zip(folded, want):
            torch.testing.assert_close(got, other, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(folded.W_Q, head_weights(model, layer, "raw").W_Q, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["learned", "grouped", "post-norm", "post-norm only", "no norms"])
def test_what_a_head_writes_reaches_a_later_read_up_to_one_factor(kind):
    """The folded product is what the model computes: a move along W_O moves the query along the same direction."""
    model = make_model(**KINDS[kind]).double()
    z = torch.randn(1, 1, model.cfg.n_heads, model.cfg.d_head, dtype=torch.float64)
    sender, block = head_weights(model, 0), model.blocks[0]
    write = torch.einsum("bphd,hdm->bpm", z, block.attn.W_O)
    if model.cfg.post_norm:  # its factor depends on everything written; b_O is left out of both sides
        centred = write - write.mean(-1, keepdim=True) if block.ln1_post.centred else write
        write = centred * block.ln1_post.w
    read = model.blocks[1].ln1 if model.cfg.norm is not None and model.cfg.pre_norm else None
    stream = write if read is None else write * read.w - (write.mean(-1, keepdim=True) * read.w if read.centred else 0)
    want = torch.einsum("bpm,hmd->bphd", stream, model.blocks[1].attn.W_Q)
    got = torch.einsum("bphd,hdm,gme->bpge", z, sender.W_O, head_weights(model, 1).W_Q)
    torch.testing.assert_close(got, want)


def hand_made(d_model=8, n_heads=2):
    """Two attention-only layers without norms. Head 0.0 moves direction 0 to direction 1; 1.0 asks with direction 1,
    answers with direction 2, and moves direction 1 to direction 3; all others act on directions far from these."""
    cfg = Config(n_layers=2, n_heads=n_heads, d_model=d_model, d_head=1, d_vocab=5, n_ctx=8, norm=None)
    model = HookedTransformer(cfg).eval()
    e = torch.eye(d_model)
    with torch.no_grad():
        for block in model.blocks:
            for name in ("W_Q", "W_K", "W_V"):
                getattr(block.attn, name).copy_(e[6, :, None].expand(n_heads, d_model, 1))
            block.attn.W_O.copy_(e[7, None].expand(n_heads, 1, d_model))
        first, second = (block.attn for block in model.blocks)
        first.W_V[0, :, 0], first.W_O[0, 0] = 3 * e[0], 0.5 * e[1]
        second.W_Q[0, :, 0], second.W_K[0, :, 0] = 2 * e[1], e[2]
        second.W_V[0, :, 0], second.W_O[0, 0] = e[1], 7 * e[3]
    return model


@pytest.mark.parametrize(("mode", "want"), [("Q", 1.0), ("K", 0.0), ("V", 1.0)])
def test_planted_composition_is_one_and_orthogonal_subspaces_give_zero(mode, want):
    scores = composition(hand_made(), mode).scores
    assert scores[0, 0, 1, 0] == want
    assert scores[0, 1, 1].eq(0).all()
    assert scores[0, 0, 1, 1] == 0


def test_virtual_weights_of_the_planted_pair():
    model = hand_made()
    want = torch.zeros(8, 8)
    want[0, 2] = 3 * 0.5 * 2
    torch.testing.assert_close(virtual_weights(model, (0, 0), (1, 0), "Q").AB, want)
    want = torch.zeros(8, 8)
    want[0, 3] = 3 * 0.5 * 7
    torch.testing.assert_close(virtual_weights(model, (0, 0), (1, 0), "V").AB, want)


@torch.no_grad()
@pytest.mark.parametrize("mode", ["Q", "K", "V"])
def test_virtual_weights_have_the_norm_of_the_score(shaken, mode):
    found = composition(shaken, mode, OFFSET)
    product = virtual_weights(shaken, (0, 3), (2, 1), mode, OFFSET)
    write = head_weights(shaken, 0).OV[3]
    receiver = rotated(shaken, 2, head_weights(shaken, 2), OFFSET)
    reads = (receiver.OV if mode == "V" else receiver.QK)[1]
    torch.testing.assert_close(found.scores[0, 3, 2, 1], product.norm() / (write.norm() * reads.norm()))
    assert product.mdim <= shaken.cfg.d_model


def test_the_random_baseline_is_what_rotations_between_two_heads_give():
    """Mean and standard deviation of C² over Haar rotations, for uneven spectra."""
    torch.manual_seed(1)
    model = make_model(norm=None, d_mlp=0)
    found = composition(model, "K")
    write, reads = head_weights(model, 0).OV[1].AB, head_weights(model, 2).QK.T[2].AB
    turns = torch.linalg.qr(torch.randn(6000, 32, 32))
    turns = turns.Q * turns.R.diagonal(dim1=-2, dim2=-1).sign()[:, None]
    squares = ((write @ turns @ reads).pow(2).sum((-2, -1)) / (write.norm() * reads.norm()) ** 2).detach()
    assert found.null == pytest.approx(1 / math.sqrt(32))
    assert squares.mean().item() == pytest.approx(1 / 32, rel=0.02)
    assert squares.std().item() == pytest.approx(found.null_sd[0, 1, 2, 2].item(), rel=0.05)


def test_z_is_among_the_heads_of_the_senders_layer():
    scores = torch.tensor([1.0, 2.0, 3.0, 6.0])[None, :, None, None].expand(1, 4, 2, 3)
    z = among_layer(scores)
    torch.testing.assert_close(z[0, :, 1, 2], (torch.tensor([1.0, 2.0, 3.0, 6.0]) - 3) / math.sqrt(14 / 3))
    assert among_layer(torch.ones(1, 4, 1, 1)).isnan().all()
    assert among_layer(torch.randn(2, 2, 2, 2)).isnan().all()


def test_models_without_pairs_or_with_normalised_queries_are_refused_in_words():
    with pytest.raises(ValueError, match="one layer, so no head feeds another"):
        composition(make_model(n_layers=1), "K")
    normed = make_model(**GROUPED, qk_norm="head")
    for mode in "QK":
        with pytest.raises(ValueError, match=f"{mode}-composition is not computed because this model normalises"):
            composition(normed, mode)
    assert composition(normed, "V").scores[0, :, 1].isfinite().all()
    with pytest.raises(ValueError, match="mode='O'"):
        composition(normed, "O")


def test_heads_that_do_not_exist_or_come_later_are_refused():
    model = make_model()
    with pytest.raises(ValueError, match=r"There is no head 3\.0"):
        virtual_weights(model, (0, 0), (3, 0), "K")
    with pytest.raises(ValueError, match=r"Head 1\.2 does not feed head 1\.0"):
        virtual_weights(model, (1, 2), (1, 0), "K")
    with pytest.raises(ValueError, match="offset=64"):
        composition(model, "K", 64)
    with pytest.raises(ValueError, match="weights='half'"):
        composition(model, "K", 0, "half")


def test_what_is_left_out_is_said():
    def said(mode, offset=1, weights="folded", **sizes):
        return " ".join(composition(make_model(**sizes), mode, offset, weights).notes)

    assert "share keys and values" in said("K", **GROUPED)
    assert "Rotation ignored" in said("Q", 0, **GROUPED)
    assert "Rotation ignored" not in said("V", 0, **GROUPED) + said("Q", 1, **GROUPED) + said("Q", 0)
    assert "never look δ = 9 back" in said("Q", 9, windows=(None, 9, None))
    assert "never look" not in said("Q", 8, windows=(None, 9, None)) + said("V", 9, windows=(None, 9, None))
    assert "drops out of a score" in said("V", **GROUPED, post_norm=True)
    assert "left out of these raw weights" in said("V", 1, "raw", **GROUPED, post_norm=True)
    assert "cut off at ±0.5" in said("V", clip_qkv=0.5)
    assert "δ changes nothing" in said("K", 3)


def test_lower_precision_and_dependent_columns_change_nothing_of_note():
    model = make_model(**GROUPED)
    want = composition(model, "V").scores
    got = composition(make_model(**GROUPED).bfloat16(), "V").scores
    torch.testing.assert_close(got, want, atol=0.02, rtol=0, equal_nan=True)
    with torch.no_grad():
        model.blocks[0].attn.W_V[:, :, 1] = model.blocks[0].attn.W_V[:, :, 0]
        model.blocks[0].attn.W_V[0] = 0
    scores = composition(model, "V").scores
    assert scores[0, :2].nan_to_num().eq(0).all()
    ov, reads = head_weights(model, 0).OV[2].AB, head_weights(model, 1).OV[3].AB
    torch.testing.assert_close(scores[0, 2, 1, 3], (ov @ reads).norm() / (ov.norm() * reads.norm()))


def test_progress_is_heard_and_may_stop_it():
    heard = []
    composition(make_model(), "K", progress=lambda fraction, stage: heard.append(fraction))
    assert heard[-1] == 1
    assert heard == sorted(heard)

    def stop(fraction, stage):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        composition(make_model(), "K", progress=stop)


@torch.no_grad()
def test_p_is_how_often_a_rotation_gives_as_much():
    """Against drawn rotations of the stream between two heads, far in the tail where the best of many is judged."""
    model = make_model(**GROUPED)
    write, read = (head_weights(model, layer, "raw").OV.AB for layer in (0, 1))
    R = haar((20_000,), model.cfg.d_model, torch.Generator().manual_seed(0))
    write, read = (side / torch.linalg.matrix_norm(side, keepdim=True) for side in (write, read))
    drawn = torch.linalg.matrix_norm(write[0] @ R @ read[1])
    for quantile in (0.5, 0.95, 0.995):
        p = tail_of(model, torch.full((12, 12), float(drawn.quantile(quantile))))[0, 5]  # 0.0 → 1.1
        assert 0.9 < float(p) / (1 - quantile) < 1.6  # few dimensions: on the safe side


def tail_of(model, scores):
    """``p`` of all pairs if each scored ``scores``."""
    writes, reads = _write_rows(model, "raw"), _read_rows(model, "V", 0, "raw")
    return _tail(scores, _power_traces(writes), _power_traces(reads), model.cfg.d_model)


def test_the_best_of_many_pairs_must_be_rarer():
    found = composition(make_model(), "K")
    p = torch.full_like(found.p, 0.2).where(found.p.isfinite(), torch.nan)
    p[0, 1, 2, 3] = 0.004  # rare among the 8 heads before 2.3, not among 48 pairs
    found = dataclasses.replace(found, p=p)
    assert not found.beyond().any()
    assert found.beyond((2, 3)).nonzero().tolist() == [[0, 1]]
    p[0, 1, 2, 3] = 0.001
    assert found.beyond().nonzero().tolist() == [[0, 1, 2, 3]]


@pytest.fixture(scope="module")
def found():
    return composition(make_model(), "K")


def test_the_strongest_pairs_are_in_order_and_only_earlier_heads_send(found):
    pairs = strongest_pairs(found.scores)
    assert len(pairs) == found.n_pairs == int(found.scores.isfinite().sum())
    assert [pair.value for pair in pairs] == sorted((pair.value for pair in pairs), reverse=True)
    assert all(pair.sender.layer < pair.receiver.layer for pair in pairs)
    assert all(float(found.scores[pair.place]) == pytest.approx(pair.value) for pair in pairs)
    assert found.strongest == pairs[0] == strongest_pairs(found.scores, 1)[0]
    assert found.median == pytest.approx(float(found.scores[found.scores.isfinite()].quantile(0.5)))


def test_z_cannot_exceed_the_most_that_its_layer_allows(found):
    assert float(found.z.nan_to_num(-9).max()) <= found.largest_z + 1e-5


def test_the_feeders_of_a_head_are_the_earlier_heads_by_score(found):
    assert feeders(found, (0, 1)) == []
    rows = feeders(found, (2, 3))
    assert set(rows) == {(layer, head) for layer in (0, 1) for head in range(4)}
    assert rows[0] == divmod(int(found.scores[:2, :, 2, 3].argmax()), 4)


def test_the_head_that_looks_most_at_the_token_before_has_its_rank_among_the_feeders(found):
    rows = feeders(found, (2, 3))
    for rank, row in enumerate(rows, 1):
        previous = torch.zeros(3, 4)
        previous[row] = 0.8
        previous[2, 3] = 0.9  # itself is no earlier head
        fed = fed_by(found, (2, 3), previous)
        assert (fed.feeder, fed.looking, fed.rank, fed.n) == (rows[0], row, rank, 8)
        assert fed.looking_passed == pytest.approx(float(found.scores[(*row, 2, 3)]))
    assert fed.beyond == bool(found.beyond((2, 3))[rows[0]])
    with pytest.raises(ValueError, match=r"head 0\.1 has no earlier head"):
        fed_by(found, (0, 1), torch.zeros(3, 4))


def test_the_busiest_heads_are_counted():
    values = torch.full((3, 2, 3, 2), torch.nan)
    values[0, 0, 1, 0], values[0, 0, 2, 1], values[1, 1, 2, 1] = 0.1, 0.3, 0.2
    assert busiest(strongest_pairs(values)) == ((0, 0), 2, (2, 1), 2)


def test_the_tail_of_a_skewed_score_is_that_of_pearsons_third_type():
    values, skewness = torch.linspace(-2.5, 8, 22).double(), torch.tensor([0.01, 0.3, 1.0, 2.8]).double()[:, None]
    expected = torch.from_numpy(pearson3.sf(values.numpy(), skewness.numpy()))
    torch.testing.assert_close(pearson3_tail(values.expand_as(expected), skewness), expected, rtol=1e-7, atol=1e-12)
