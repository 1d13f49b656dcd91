"""Patching with given activations: shapes, and what is left out."""

import pytest
import torch

from lens.analysis.interventions.cache_patching import CachePatches
from lens.analysis.interventions.cells import Place
from lens.analysis.interventions.sites import SITES, activation_shape, available_sites
from tests.helpers import hf_gpt2, hf_llama, in_lens

TOKENS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])


@pytest.fixture(params=[hf_gpt2, lambda: hf_llama(num_key_value_heads=2)], ids=["gpt2", "llama"])
def model(request):
    return in_lens(request.param())


@pytest.fixture
def cache(model):
    with torch.no_grad():
        return model.run_with_cache(TOKENS)[1]


def test_shapes_of_every_site_are_those_of_a_run(model, cache):
    sites = available_sites(model.cfg)
    assert len(sites) == len(SITES)
    for name in sites:
        assert cache[SITES[name].hook_name(1)].shape == activation_shape(SITES[name], model.cfg, 2, 5), name


@torch.no_grad()
def test_a_cell_starts_where_it_changes_something(model, cache):
    z = cache["blocks.1.attn.hook_z"].clone()
    z[1, 3, 2] += 1
    patches = CachePatches(model, TOKENS, "z", {1: z})
    cells = [Place(1, head=2), Place(1, head=1), Place(1, pos=3, head=2), Place(1, pos=2), Place(1, pos=3), Place(1)]
    stretches = patches.streams(cells)
    assert [one.start for one in stretches] == [3, 5, 3, 5, 3, 3]
    assert [one.normed.shape[1] for one in stretches] == [2, 0, 2, 0, 2, 2]
    for one in (stretches[2], stretches[4], stretches[5]):
        torch.testing.assert_close(one.normed, stretches[0].normed)
    put = ("blocks.1.attn.hook_z", lambda old, hook: z)
    want = model.run_with_hooks(TOKENS, fwd_hooks=[put])
    torch.testing.assert_close(model.unembed(stretches[0].normed), want[:, 3:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.unembed(patches.base), model(TOKENS), atol=1e-5, rtol=1e-5)


def test_an_activation_of_another_run_length_is_refused(model, cache):
    with pytest.raises(ValueError, match=r"z of layer 1: got \[2, 4, 4, 8\], wanted \[2, 5, 4, 8\]"):
        CachePatches(model, TOKENS, "z", {1: cache["blocks.1.attn.hook_z"][:, 1:]})
