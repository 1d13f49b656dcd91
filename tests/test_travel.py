"""Models and caches are copied, saved, and sent to other processes, whatever they are made of."""

import copy
import io
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch

from lens.cache import ActivationCache
from lens.compat.transformer import HookedTransformer as Classic
from lens.compat.transformer import HookedTransformerConfig
from lens.components import ACT_FN
from lens.decompose import streams
from lens.process import center_unembed, center_writing_weights, fold_layer_norm
from tests.families.variants import VARIANTS
from tests.helpers import byte_tokenizer, hf_gpt2, in_lens

TOKENS = torch.arange(12)[None]


def pickled(value):
    return pickle.loads(pickle.dumps(value))


def saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


WAYS = [copy.deepcopy, pickled, saved]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("variant", ["gpt2", "opt", "gptj", "bloom", "llama", "gemma2", "olmo", "mpt"])
@torch.no_grad()
def test_a_copy_computes_the_same_and_is_another(way, variant):
    model = in_lens(VARIANTS[variant]())
    want = model(TOKENS)
    other = way(model)
    assert other.cfg == model.cfg
    assert torch.equal(other(TOKENS), want)
    assert not {p.data_ptr() for p in other.parameters()} & {p.data_ptr() for p in model.parameters()}
    assert (other.W_U.data_ptr() == other.W_E.data_ptr()) == model.cfg.tied
    learned = [[p.requires_grad for p in one.parameters()] for one in (model, other)]
    assert learned[0] == learned[1]
    other.W_E.zero_()
    assert torch.equal(model(TOKENS), want)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("act_fn", ACT_FN)
@torch.no_grad()
def test_every_activation_function_travels(way, act_fn):
    shape = {"n_layers": 1, "n_heads": 2, "d_model": 16, "d_head": 8, "n_ctx": 16, "d_vocab": 20}
    model = Classic(HookedTransformerConfig(**shape, act_fn=act_fn, device="cpu", seed=0))
    other = way(model)
    assert torch.equal(other(TOKENS), model(TOKENS))
    assert other.cfg.to_dict() == model.cfg.to_dict()
    assert other.cfg.act_fn == act_fn


@pytest.mark.parametrize("way", WAYS)
@torch.no_grad()
def test_processed_models_with_a_tokenizer_travel(way):
    tokenizer = byte_tokenizer()
    model = in_lens(hf_gpt2(vocab_size=len(tokenizer)), tokenizer)
    model = center_unembed(center_writing_weights(fold_layer_norm(model)))
    for one in (model, Classic.of(model)):
        other = way(one)
        assert torch.equal(other("The cat sat"), one("The cat sat"))
        assert other.to_str_tokens("The cat sat") == one.to_str_tokens("The cat sat")


@pytest.mark.parametrize("way", WAYS)
@torch.no_grad()
def test_a_cache_travels_with_its_model(way):
    model = in_lens(hf_gpt2())
    model.add_hook("blocks.0.hook_resid_pre", lambda x, hook: x * 2)
    _, cache = model.run_with_cache(TOKENS)
    other = way(cache)
    assert isinstance(other, ActivationCache)
    assert list(other) == list(cache)
    assert all(torch.equal(other[name], cache[name]) for name in cache)
    assert torch.equal(streams(other).values, streams(cache).values)
    assert not torch.equal(other.model(TOKENS), model(TOKENS))  # hooks stay at home
    model.reset_hooks()
    assert torch.equal(other.model(TOKENS), model(TOKENS))


@torch.no_grad()
def _answer(model, cache):
    return model(TOKENS).numpy(), cache["pattern", 1].numpy()


@torch.no_grad()
def test_a_new_process_gets_them():
    """A process that is spawned shares no memory of Python's with this one: everything is pickled.

    The pool says at once when its process dies, where a queue would be waited for.
    """
    model = in_lens(hf_gpt2())
    logits, cache = model.run_with_cache(TOKENS)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        computed, pattern = pool.submit(_answer, model, cache).result()
    torch.testing.assert_close(torch.from_numpy(computed), logits)
    torch.testing.assert_close(torch.from_numpy(pattern), cache["pattern", 1])
