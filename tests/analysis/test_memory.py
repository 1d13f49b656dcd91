"""The forecast against the bytes of real runs; what the machine says of itself."""

import pytest
import torch

from lens.analysis.memory import activations, by_kind, forecast, weight_bytes
from lens.attention import KeyValues
from tests.families.variants import VARIANTS
from tests.helpers import in_lens
from tests.load.toys import toy

STRUCTURES = (
    *("gpt2", "gpt-neo", "gptj", "bloom", "llama-wide-heads-tied", "mistral", "qwen3", "gemma2"),
    *("phi-qk-norm-grouped", "olmo-clip-biases", "olmo2", "mpt", "falcon-rw"),
)
TOY = {"n_layers": 2, "n_heads": 4, "d_model": 24, "d_head": 6, "n_ctx": 64, "d_mlp": 96, "d_vocab": 113}


def held(tensors) -> int:
    """Bytes of the memory behind tensors, memory that several share counted once."""
    return sum({x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in tensors}.values())


def model_of(name: str):
    if name == "solu":
        return toy({**TOY, "act_fn": "solu_ln", "attn_only": False, "normalization": "LN"})
    if name == "shortformer":
        return toy({**TOY, "attn_only": True, "normalization": None, "shortformer_pos": True})
    return in_lens(VARIANTS[name]())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", [*STRUCTURES, "solu", "shortformer"])
@torch.no_grad()
def test_the_forecast_is_what_a_real_run_holds(name, dtype):
    model = model_of(name).to(dtype)
    tokens, past = torch.zeros(3, 11, dtype=torch.long), KeyValues()
    logits, cache = model.run_with_cache(tokens)
    model(tokens, past=past)
    found = forecast(model, 3, 11, dtype)
    assert found.cache == held(cache.values())
    assert found.logits == held([logits])
    assert found.weights == held(model.parameters()) == weight_bytes(model)
    assert found.key_values == sum(x.numel() * x.element_size() for pair in past.layers.values() for x in pair)
    assert found.total == found.weights + found.cache + found.logits
    usual = [one for one in activations(model.cfg, 3, 11, dtype) if not one.on_request]
    assert [(one.name, one.shape, one.dtype) for one in usual] == [
        (k, tuple(x.shape), x.dtype) for k, x in cache.items()
    ]


@torch.no_grad()
def test_points_that_are_computed_on_request_have_their_shapes_too(tiny):
    tokens = torch.zeros(2, 7, dtype=torch.long)
    listed = activations(tiny.cfg, 2, 7)
    assert {one.name for one in listed} == set(tiny.hook_dict)
    names = [one.name for one in listed if one.on_request]
    assert set(names) == {name for name, point in tiny.hook_dict.items() if point.on_request}
    _, cache = tiny.run_with_cache(tokens, names_filter=names)
    for one in listed:
        if one.on_request:
            assert tuple(cache[one.name].shape) == one.shape


def test_another_format_is_forecast_without_converting(tiny):
    single, half = (forecast(tiny, 1, 5, dtype) for dtype in (torch.float32, torch.bfloat16))
    assert (half.weights, half.key_values) == (single.weights // 2, single.key_values // 2)


def test_a_text_longer_than_the_context_is_refused(tiny):
    with pytest.raises(ValueError, match="reads at most"):
        activations(tiny.cfg, 1, tiny.cfg.n_ctx + 1)


def test_activations_by_kind_hold_the_bytes_of_the_cache_largest_first(tiny_gpt2):
    rows = activations(tiny_gpt2.cfg, 2, 7)
    kinds = by_kind(rows)
    assert sum(kind.bytes for kind in kinds) == sum(row.bytes for row in rows if not row.on_request)
    assert [kind.bytes for kind in kinds] == sorted((kind.bytes for kind in kinds), reverse=True)
    patterns = next(kind for kind in kinds if kind.name == "blocks.L.attn.hook_pattern")
    assert (patterns.places, patterns.shape) == (tiny_gpt2.cfg.n_layers, (2, tiny_gpt2.cfg.n_heads, 7, 7))
