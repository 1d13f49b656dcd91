"""In float16 and bfloat16 Lens follows transformers, also where a product of queries and keys fits into neither."""

import copy

import pytest
import torch

from lens.analysis.interventions import Experiment, Grid, Intervention, run_sweep
from lens.analysis.interventions.attribution import attribution
from lens.analysis.previous_from_weights import previous_from_weights
from lens.analysis.streaming import stream_patterns
from tests.analysis.interventions.test_exact import PAIRS, by_forwards, some_cells
from tests.families.variants import VARIANTS
from tests.helpers import in_lens

HALVES = [torch.float16, torch.bfloat16]
ERROR = {torch.float16: 0.003, torch.bfloat16: 0.03}  # of a logit, mean, in standard deviations; three times measured
WAYS = ["gpt2", "gpt2-inverse-layer", "gpt2-unscaled", "gpt-neo", "gptj", "bloom", "llama-grouped", "mistral", "gemma2"]
WAYS += ["gpt-neox", "opt", "falcon-rw"]  # in MPT, theirs overflows
LARGEST = 65504  # of float16
MADE_FROM = ("q_proj", "k_proj", "c_attn", "query_key_value", "Wqkv")


def half_of(hf, dtype):
    """Theirs and ours in ``dtype``, theirs with the fused attention that people run, where there is one."""
    hf = copy.deepcopy(hf).to(dtype)
    if hf.config.model_type != "gemma2":  # its cap needs the eager one
        hf.set_attn_implementation("sdpa")
    return hf, in_lens(hf)


@torch.no_grad()
def with_large_scores(hf):
    """The same structure whose queries and keys are 80 times as large, so that their products are beyond float16."""
    hf = copy.deepcopy(hf)
    for name, parameter in hf.named_parameters():
        if any(part in name for part in MADE_FROM):
            parameter.mul_(80)
    return hf


def error_of(found, want):
    return float((found.float() - want.float()).abs().mean() / want.float().std())


@pytest.mark.parametrize("dtype", HALVES)
@torch.no_grad()
def test_logits_in_half_precision_are_theirs(hf, dtype, tokens):
    theirs, ours = half_of(hf, dtype)
    logits, cache = ours.run_with_cache(tokens)
    assert logits.dtype == cache["pattern", 0].dtype == dtype
    assert cache["attn_scores", 0].dtype == torch.float32
    assert error_of(logits, theirs(tokens).logits) < ERROR[dtype]


@pytest.fixture(scope="module", params=WAYS)
def large(request):
    return half_of(with_large_scores(VARIANTS[request.param]()), torch.float16)


@torch.no_grad()
def test_scores_beyond_float16_are_computed(large, tokens):
    theirs, ours = large
    logits, cache = ours.run_with_cache(tokens)
    rotated = ours.cfg.positions == "rotary"
    q, k = (cache[f"rot_{name}" if rotated else name, 0].float() for name in "qk")
    k = k.repeat_interleave(ours.cfg.group_size, dim=2)
    assert torch.einsum("bqhd,bkhd->bhqk", q, k).abs().max() > LARGEST
    assert all(tensor.isfinite().all() for name, tensor in cache.items() if not name.endswith("scores"))
    assert not any(tensor.isnan().any() for tensor in cache.values())
    want = theirs(tokens).logits
    assert want.isfinite().all()
    assert error_of(logits, want) < 0.2  # a query that hesitates between two keys goes either way
    assert (logits.argmax(-1) == want.argmax(-1)).float().mean() > 0.8


@torch.no_grad()
def test_analyses_of_such_a_model_are_finite(large, tokens):
    _, model = large
    sums = []
    stream_patterns(model, tokens, lambda layer, rows, pattern: sums.append(pattern.float().sum(-1)))
    torch.testing.assert_close(torch.stack(sums), torch.ones_like(torch.stack(sums)), atol=2e-3, rtol=0)
    cells, change = some_cells(model, "q", 1), Intervention("q")
    found = run_sweep(model, Experiment(PAIRS, change, Grid(sets=cells)))
    want = by_forwards(model, PAIRS, change, cells)
    assert torch.equal(found.values.isnan(), want.isnan())  # a prompt without that position
    close = (found.values.float() - want).abs().nan_to_num() < 0.1 * want[~want.isnan()].std()
    assert close.float().mean() > 0.8
    if model.cfg.positions == "learned":
        assert previous_from_weights(model).score.isfinite().all()


@pytest.mark.parametrize("site", ["q", "k"])
def test_first_order_through_such_a_softmax_is_finite(large, site):
    _, model = large
    (found,) = attribution(model, [Experiment(PAIRS, Intervention(site), Grid(("layer", "head")))])
    assert found.values.isfinite().all()
