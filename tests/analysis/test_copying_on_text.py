"""Direct paths of heads on text, against one forward pass with a cache, head by head, query by query, pair by pair."""

import pytest
import torch

from lens.analysis.copying_on_text import copying_on_text, join_text, text_copying, text_paths, text_paths_of
from lens.analysis.held_out import beginnings
from lens.analysis.ov_copying import haar
from tests.analysis.shaken import GROUPED, make_model
from tests.analysis.test_copying_on_data import slow_logits

MODELS = {
    "learned": {},
    "grouped": GROUPED,
    "post_norm": {**GROUPED, "post_norm": True},
    "no_norm": {"norm": None, "d_mlp": 0},
}


def documents(n=3, length=7, d_vocab=12):
    """Few different tokens, so that they repeat; the last document is two tokens shorter."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, d_vocab, (n, length), generator=generator)
    tokens[:, 0] = 0
    mask = torch.ones(n, length, dtype=torch.bool)
    mask[-1, -2:] = False
    return tokens, mask


def mean(values):
    return float(sum(values)) / len(values)


def slow(pattern, logits, ids):
    """Logit, its control, share, its control, by sums over queries, other queries and keys."""
    queries = range(1, len(ids))
    different = ids[1:].unique()

    def weighted(values, at):
        """``values`` [d_vocab] of one query under the attention of query ``at``."""
        return sum(pattern[at, k] * values[ids[k]] for k in queries)

    shares = {q: logits[q].clamp(min=0) / logits[q, different].clamp(min=0).sum().clamp(min=1e-30) for q in queries}
    found = []
    for values in (logits, shares):
        found.append(mean([weighted(values[q], q) for q in queries]))
        found.append(mean([weighted(values[q], other) for q in queries for other in queries if other != q]))
    return found


@torch.no_grad()
@pytest.mark.parametrize("changes", MODELS.values(), ids=MODELS)
def test_against_a_forward_pass_with_everything_kept(changes):
    model, (tokens, mask) = make_model(**changes), documents()
    found = text_paths(model, tokens, mask)
    for row, n in enumerate(mask.sum(1)):
        _, cache = model.run_with_cache(tokens[row : row + 1, :n])
        for layer, head in ((0, 0), (1, 2), (2, 3)):
            logits = slow_logits(model, cache, layer, head)[0]
            want = slow(cache["pattern", layer][0, head], logits, tokens[row, :n])
            assert [float(part[row, layer, head]) for part in found[:4]] == pytest.approx(want, abs=1e-4)
        assert found.n_different[row] == len(tokens[row, 1:n].unique())
        assert found.n_queries[row] == n - 1


def test_parts_are_the_whole_and_intervals_need_documents():
    model, (tokens, mask) = make_model(), documents(n=16)
    whole = copying_on_text(model, tokens, mask)
    parts = text_copying(join_text([text_paths_of((a, a + 8), model, tokens, mask) for a in (0, 8)]))
    for name, score in whole.scores.items():
        torch.testing.assert_close(parts[name].score.mean, score.score.mean)
        torch.testing.assert_close(parts.z, whole.z)
        torch.testing.assert_close(parts.written, whole.written)
        torch.testing.assert_close(score.effect.mean, score.score.mean - score.null_mean)
        assert score.effect.low is not None
        assert score.threshold is None
        assert (score.n_queries, score.score.n) == (16 * 6 - 2, 16)
    assert copying_on_text(model, tokens[:15], mask[:15])["text_share"].effect.low is None


@torch.no_grad()
def test_only_what_is_attended_to_and_written_together_counts():
    """Heads that look one token back: 0.0 writes it, 0.1 lowers it, 0.2 writes the same token whatever it sees."""
    size = 32
    model = make_model(d_mlp=0, norm=None, positions="shortformer", n_layers=1, d_model=size, d_vocab=size, d_head=32)
    model.embed.W_E.copy_(torch.eye(size))
    model.unembed.W_U.copy_(torch.eye(size))
    attn = model.blocks[0].attn
    for parameter in attn.parameters():
        parameter.zero_()
    model.pos_embed.W_pos.copy_(100 * torch.eye(64)[:, :size])
    attn.W_Q[:3] = torch.eye(size).roll(-1, 1)
    attn.W_K[:3] = torch.eye(size)
    attn.W_V[:2] = torch.eye(size)
    attn.W_O[0], attn.W_O[1] = torch.eye(size), -torch.eye(size)
    attn.W_V[2, :, 0] = 1
    attn.W_O[2, 0, 5] = 1
    tokens = torch.arange(10).repeat(2, 1)  # token 5 is there to be looked at
    scores = copying_on_text(model, tokens, torch.ones_like(tokens, dtype=torch.bool))
    logit, share = scores["text_logit"].effect.mean[0], scores["text_share"].effect.mean[0]
    # Query 1 looks at position 0, which counts as nothing: 8 of 9 queries. No two of them look at the same token.
    assert float(share[0]) == pytest.approx(8 / 9, abs=1e-5)
    assert float(logit[0]) == pytest.approx(8 / 9 * (1 - 1 / size) + 1 / size * 8 / 9, abs=1e-4)
    assert float(logit[1]) == pytest.approx(-float(logit[0]), abs=1e-6)
    assert float(share[1]) == pytest.approx(0 - float(scores["text_share"].null_mean[0, 1]), abs=1e-6)
    assert float(share[2]) == pytest.approx(0, abs=1e-6)
    assert float(scores["text_share"].score.mean[0, 2]) > 0.1 > abs(float(logit[2]))


@torch.no_grad()
def test_z_is_what_rotating_a_head_gives():
    model, (tokens, mask) = make_model(norm=None, d_mlp=0, n_layers=1, positions="rotary"), documents()
    found = text_paths(model, tokens, mask)
    trace = found.core.sum(0).diagonal(dim1=-2, dim2=-1).sum(-1)
    torch.testing.assert_close(trace, (found.logit - found.logit_null).sum(0), atol=1e-5, rtol=1e-4)
    R = haar((4,), model.cfg.d_head, torch.Generator().manual_seed(3))
    model.blocks[0].attn.W_O.copy_(R @ model.blocks[0].attn.W_O)
    turned = text_paths(model, tokens, mask)
    want = torch.einsum("phij,hij->h", found.core[:, 0], R)
    torch.testing.assert_close((turned.logit - turned.logit_null).sum(0)[0], want, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("tokens", "mask", "reason"),
    [
        (torch.zeros(1, 4), torch.ones(1, 3), "mask has shape"),
        (torch.zeros(1, 4), torch.tensor([[0, 1, 1, 1]]), "not padded on the right"),
        (torch.zeros(2, 4), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]), "document 1 of 2 has fewer than 3"),
        (torch.zeros(0, 4), torch.zeros(0, 4), "document 0 of 0"),
    ],
)
def test_what_is_no_document_says_so(tokens, mask, reason):
    with pytest.raises(ValueError, match=reason):
        text_paths(make_model(), tokens.long(), mask.bool())


def test_the_beginnings_of_held_out_documents_have_the_length_that_is_asked(tokenizer):
    model = make_model(tokenizer, d_vocab=len(tokenizer))
    short = beginnings(model, 2, True, 20)
    assert short.tokens.shape == (2, 20)
    assert torch.equal(short.tokens, beginnings(model, 2, True, 1000).tokens[:, :20])
