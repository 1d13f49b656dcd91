"""Direct paths of heads on repeats, against one forward pass with a cache, head by head and query by query."""

import pytest
import torch

from lens.analysis.copying_on_data import copying_on_data, direct_paths, from_one
from lens.analysis.ov_copying import haar
from lens.analysis.random_tokens import repeated_tokens
from lens.components import Norm
from tests.analysis.shaken import GROUPED, make_model

MODELS = {
    "learned": {},
    "grouped": GROUPED,
    "post_norm": {**GROUPED, "post_norm": True},
    "no_norm": {"norm": None, "d_mlp": 0},
    "final_rms": {"final_rms": True, "parallel": True},
}


@pytest.fixture(params=list(MODELS))
def model(request):
    return make_model(**MODELS[request.param])


def slow_logits(model, cache, layer, head):
    """[sequence, pos, d_vocab]: the head's write through the final norm with the scale of the run, minus the mean."""
    block, kept = model.blocks[layer], cache["z", layer][:, :, head] @ model.blocks[layer].attn.W_O[head]
    if isinstance(block.ln1_post, Norm):
        centred = kept - kept.mean(-1, keepdim=True) if block.ln1_post.centred else kept
        kept = centred / cache[f"blocks.{layer}.ln1_post.hook_scale"] * block.ln1_post.w
    if isinstance(model.ln_final, Norm):
        kept = kept - kept.mean(-1, keepdim=True) if model.ln_final.centred else kept
        kept = kept / cache["ln_final.hook_scale"] * model.ln_final.w
    logits = kept @ model.unembed.W_U
    return logits - logits.mean(-1, keepdim=True)


@torch.no_grad()
@pytest.mark.parametrize("bos", [True, False])
def test_against_a_forward_pass_with_everything_kept(model, bos):
    n = 6
    repeated = repeated_tokens(model, n, 3, prepend_bos=bos)
    found = direct_paths(model, repeated)
    first = repeated.bos + n
    for which, tokens in enumerate((repeated.tokens, repeated.control)):
        _, cache = model.run_with_cache(tokens)
        for layer, head in ((0, 0), (1, 2), (2, 3)):
            logits = slow_logits(model, cache, layer, head)
            for row in range(3):
                candidates = repeated.tokens[row, :first]
                seen, ranks, shares, written = [], [], [], []
                for q in repeated.queries[:-1]:
                    target = repeated.tokens[row, q - n + 1]  # in the control too: the same token
                    here = logits[row, q, candidates]
                    seen.append(logits[row, q, target])
                    ranks.append((here > logits[row, q, target] + 1e-6).sum())
                    written.append(here.square().mean())
                    at = cache["pattern", layer][row, head, q, :first].argmax()
                    positive = here.clamp(min=0)
                    shares.append(positive[at] / positive.sum() if positive.any() else 0.0)
                place = (which * 3 + row, layer, head)
                assert found.target_logit[place] == pytest.approx(float(sum(seen) / (n - 1)), abs=1e-4)
                assert found.target_rank[place] == pytest.approx(float(sum(ranks) / (n - 1)), abs=1e-4)
                assert found.attended_share[place] == pytest.approx(float(sum(shares) / (n - 1)), abs=1e-4)
                assert found.written[place] == pytest.approx(float(sum(written) / (n - 1)), abs=1e-4)


def test_the_control_is_paired_and_intervals_need_sequences(model):
    scores = copying_on_data(model, repeated_tokens(model, 5, 16))
    rank = scores["target_rank"]
    assert rank.uniform == 2.5
    assert rank.score.low is not None
    assert rank.threshold is None
    torch.testing.assert_close(rank.effect.mean, rank.score.mean - rank.null_mean)
    assert scores["attended_share"].uniform == pytest.approx(1 / 6)
    assert (scores["attended_share"].score.mean <= 1).all()
    assert rank.n_queries == 16 * 4
    assert copying_on_data(model, repeated_tokens(model, 5, 2))["target_logit"].score.low is None


@torch.no_grad()
def test_a_head_that_copies_what_it_attends_to_raises_its_target():
    """Head 0 of layer 0 looks at a fixed place back, n − 1 tokens, and writes what is there; head 1 the opposite."""
    n, size = 4, 32
    model = make_model(d_mlp=0, norm=None, positions="shortformer", n_layers=1, d_model=size, d_vocab=size, d_head=32)
    model.embed.W_E.copy_(torch.eye(size))
    model.unembed.W_U.copy_(torch.eye(size))
    attn = model.blocks[0].attn
    for parameter in attn.parameters():
        parameter.zero_()
    model.pos_embed.W_pos.copy_(100 * torch.eye(64)[:, :size])
    attn.W_Q[:2] = torch.eye(size).roll(-(n - 1), 1)  # position p asks for position p − 3
    attn.W_K[:2] = torch.eye(size)
    attn.W_V[:2] = torch.eye(size)
    attn.W_O[0], attn.W_O[1] = torch.eye(size), -torch.eye(size)
    repeated = repeated_tokens(model, n, 16)
    scores = copying_on_data(model, repeated)
    assert scores["target_rank"].score.mean[0, 0] == pytest.approx(0, abs=1e-6)
    assert scores["attended_share"].score.mean[0, 0] == pytest.approx(1, abs=1e-5)
    assert scores["target_logit"].score.mean[0, 0] == pytest.approx(1 - 1 / size, abs=1e-4)
    assert scores["target_rank"].score.mean[0, 1] == n
    assert scores["target_rank"].score.mean[0, 3] == n / 2  # it writes nothing: all five tie
    assert scores["attended_share"].score.mean[0, 3] == 0
    # It looks there on the control as well, so nothing is gained by the repetition.
    assert scores["target_logit"].effect.mean[0].abs().max() < 1e-6
    assert scores.z[0, 2:].isnan().all()
    assert scores.written[0, 2:].tolist() == [0, 0]


@torch.no_grad()
def test_z_is_what_rotating_a_head_gives():
    """The core's trace is the effect, and a head with W_O rotated has the trace of the rotated core."""
    model = make_model(norm=None, d_mlp=0, n_layers=1, positions="rotary")
    repeated = repeated_tokens(model, 6, 16)
    n = 16 * 5
    found = direct_paths(model, repeated)
    effect = copying_on_data(model, repeated)["target_logit"].effect.mean
    trace = found.core.diagonal(dim1=-2, dim2=-1).sum(-1)
    torch.testing.assert_close(trace / n, effect, atol=1e-5, rtol=1e-4)
    R = haar((4,), model.cfg.d_head, torch.Generator().manual_seed(3))
    model.blocks[0].attn.W_O.copy_(R @ model.blocks[0].attn.W_O)
    turned = copying_on_data(model, repeated)["target_logit"].effect.mean
    want = torch.einsum("hij,hij->h", found.core[0], R) / n  # tr(Rᵀ core)
    torch.testing.assert_close(turned[0], want, atol=1e-5, rtol=1e-4)


def test_the_weights_and_the_data_disagree_about_a_head_of_smollm2(smollm2):
    scores = copying_on_data(smollm2, repeated_tokens(smollm2, 10, 4))
    rank = scores["target_rank"]
    assert float(rank.score.mean[23, 2]) < 1 < float(rank.null_mean[23, 2])
    assert int(rank.effect.mean.argmin()) == 23 * 9 + 2


def test_the_rank_that_is_read_counts_from_one(model):
    scores = copying_on_data(model, repeated_tokens(model, n=5, n_seqs=16))
    rank = scores["target_rank"]
    read = from_one(rank)
    torch.testing.assert_close(read.score.mean, 1 + rank.score.mean)
    torch.testing.assert_close(read.score.low, 1 + rank.score.low)
    torch.testing.assert_close(read.null_mean, 1 + rank.null_mean)
    assert (read.uniform, read.effect) == (1 + rank.uniform, rank.effect)
    assert f"1 is best, {read.uniform:g} is chance" in read.kind.definition
    assert f"0 is best, {rank.uniform:g} is chance" in rank.kind.definition
