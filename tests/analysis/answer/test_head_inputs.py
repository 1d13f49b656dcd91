"""Queries and keys as sums over writes: the parts add up, and each is what the plain decomposition reads."""

import pytest
import torch

from lens.analysis.answer.head_inputs import (
    head_inputs,
    names_read,
    recorded,
    recorded_beside,
    why_not_a_sum,
    writes_before,
)
from lens.analysis.names import Head
from lens.components import Norm
from lens.config import Config
from lens.decompose import by_head, by_layer
from tests.families.conftest import lens_of
from tests.families.variants import VARIANTS

TOKENS = torch.randint(0, 110, (2, 13), generator=torch.Generator().manual_seed(2))
EVERY = torch.arange(TOKENS.shape[1])


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_writes_sum_to_the_scores_of_every_family(variant):
    model = lens_of(variant)
    head = Head(model.cfg.n_layers - 1, model.cfg.n_heads - 1)
    cache = recorded(model, head, TOKENS)
    q, k = (head_inputs(cache, head, side, EVERY) for side in "qk")
    assert q.writes == k.writes == writes_before(model.cfg, head.layer)
    scores = torch.einsum("bqiw,bkjw->bqk", q.values, k.values) / model.blocks[head.layer].attn.scale
    _, full = model.run_with_cache(TOKENS, names_filter=f"blocks.{head.layer}.attn.hook_attn_scores")
    actual = full["attn_scores", head.layer][:, head.head]
    seen = actual.isfinite()
    if model.cfg.attn_softcap is not None:
        actual = model.cfg.attn_softcap * torch.atanh(actual / model.cfg.attn_softcap)
    places = model.places(TOKENS)
    if places.bias is not None:
        scores = scores + places.bias[:, head.head]
    assert scores[seen].std() > 0.05
    torch.testing.assert_close(scores[seen], actual[seen], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("variant", ["gpt2", "llama", "gemma2", "bloom", "opt"])
def test_each_write_is_what_the_head_reads_of_the_plain_decomposition(variant):
    """Head by head and layer by layer, formed in the stream's width, read through the frozen norm."""
    model = lens_of(variant)
    head = Head(model.cfg.n_layers - 1, 1)
    _, cache = model.run_with_cache(TOKENS)
    block = model.blocks[head.layer]
    values = head_inputs(cache, head, "q", EVERY)
    of = {str(write): values.values[:, :, at] for at, write in enumerate(values.writes)}
    resid = cache["resid_pre", head.layer]
    assert isinstance(block.ln1, Norm)
    scale = block.ln1.scale_of(block.ln1.centre(resid))

    def read(x):
        x = (block.ln1.centre(x) / scale * block.ln1.w) @ block.attn.W_Q[head.head]
        return block.attn.rotated("q", x[:, :, None], model.places(TOKENS))[:, :, 0]

    heads = by_head(cache, head.layer)
    for written, label in zip(heads.values, heads.labels, strict=True):
        name = label.removeprefix("L").replace("H", ".")
        torch.testing.assert_close(of[name], read(written), atol=1e-5, rtol=1e-4)
    mlps = by_layer(cache, head.layer, kinds=("mlp",))
    for layer, written in enumerate(mlps.values):
        torch.testing.assert_close(of[f"mlp {layer}"], read(written), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(of["embedding"], read(cache["hook_embed"]), atol=1e-5, rtol=1e-4)


def test_some_positions_are_those_of_all():
    model = lens_of("llama")
    cache = recorded(model, Head(2, 0), TOKENS)
    every, some = (head_inputs(cache, Head(2, 0), "k", pos) for pos in (EVERY, torch.tensor([7, 3])))
    assert torch.equal(some.values, every.values[:, [7, 3]])


@pytest.mark.parametrize("shared", [1, 7, 13])
@pytest.mark.parametrize("variant", VARIANTS)
def test_two_texts_that_begin_alike_are_what_each_is_alone(variant, shared):
    model = lens_of(variant)
    head = Head(model.cfg.n_layers - 1, 1)
    other = torch.cat([TOKENS[:, :shared], (TOKENS[:, shared:] + 1) % 110], dim=1)
    for beside, tokens in zip(recorded_beside(model, head, TOKENS, other), (TOKENS, other)):
        alone = recorded(model, head, tokens)
        assert set(beside) == set(alone)
        for name, value in alone.items():
            torch.testing.assert_close(beside[name].expand(value.shape), value, atol=1e-5, rtol=1e-4)


def test_only_what_is_needed_is_kept():
    model = lens_of("gpt2")
    cache = recorded(model, Head(1, 0), TOKENS)
    assert set(cache) == set(names_read(model.cfg, 1))


def test_where_queries_of_one_head_are_no_sum():
    shape = {"n_layers": 1, "n_heads": 2, "d_model": 16, "d_head": 8, "n_ctx": 16, "d_vocab": 20}
    assert why_not_a_sum(Config(**shape, norm="RMS", qk_norm="all")) is None
    assert "LayerNorm over all heads" in why_not_a_sum(Config(**shape, norm="LN", qk_norm="all"))
    with pytest.raises(ValueError, match="There is no head"):
        recorded(lens_of("gpt2"), Head(3, 0), TOKENS)
