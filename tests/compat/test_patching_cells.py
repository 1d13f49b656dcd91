"""Patched cells that are run together, against one forward pass for each cell."""

import numpy as np
import pandas as pd
import pytest
import torch

from lens.compat import patching
from lens.compat.patched_logits import CellLogits

CLEAN = torch.tensor([[3, 1, 4, 1, 5, 9], [2, 7, 1, 8, 2, 8]])
CORRUPTED = torch.tensor([[3, 9, 4, 1, 5, 9], [2, 7, 1, 3, 2, 8]])
SWEEPS = sorted(name for name in vars(patching) if name.startswith("get_act_patch_") and not name.endswith("_every"))
NO_SITE = {"attn_only": ("resid_mid", "mlp_out")}


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@pytest.fixture
def cache(each):
    return each.run_with_cache(CLEAN)[1]


def alone(setter):
    """The same setter, unknown to the module: each cell gets its own forward pass."""
    return lambda corrupted, index, clean: setter(corrupted, index, clean)


def collecting(into, reads=lambda logits: logits):
    def metric(logits):
        into.append(reads(logits).clone())
        return into[-1].sum()

    return metric


def both_ways(model, cache, metric_of, name=None, **given):
    """What the metric saw of each cell, run together and one by one, and the two results."""
    seen, results = ([], []), []
    sweep = getattr(patching, name or "generic_activation_patch")
    setter = given.pop("patch_setter", None) or sweep.keywords["patch_setter"]
    for way, one in zip(seen, (setter, alone(setter))):
        results.append(sweep(model, CORRUPTED, cache, metric_of(way), patch_setter=one, **given))
    return *seen, *results


def same(together, each, atol=1e-4):
    assert len(together) == len(each) > 0
    for a, b in zip(together, each):
        torch.testing.assert_close(a, b, atol=atol, rtol=1e-5)


@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_equals_a_loop(request, each, cache, name):
    if each.cfg.attn_only and any(site in name for site in ("resid_mid", "mlp_out")):
        with pytest.raises(KeyError):
            getattr(patching, name)(each, CORRUPTED, cache, torch.sum)
        return
    together, loop, *results = both_ways(each, cache, collecting, name)
    assert together[0].shape == (2, 6, each.cfg.d_vocab)
    same(together, loop)
    assert results[0].shape == results[1].shape
    torch.testing.assert_close(*results, atol=1e-2, rtol=1e-4)  # a sum over all logits
    assert any((x - together[0]).abs().max() > 1e-2 for x in together)


READS = {
    "last position": lambda x: x[:, -1],
    "last, of one prompt": lambda x: x[1, -1, :4],
    "ellipsis": lambda x: x[..., -2, :],
    "a range of positions": lambda x: x[0, 1:4],
    "each prompt's own end": lambda x: x[torch.arange(len(x)), torch.tensor([2, 5])],
    "lists": lambda x: x[[0, 1], [0, -1]],
    "one prompt": lambda x: x[0],
    "one token": lambda x: x[..., 7],
    "a new axis": lambda x: x[:, None, -1],
    "a mask": lambda x: x[x > 0],
    "a mask of places": lambda x: x[CLEAN > 4],
    "a mask of places, then a token": lambda x: x[(CLEAN > 4).tolist(), 3],
    "true": lambda x: x[True, 0],
    "a softmax": lambda x: x.log_softmax(-1),
    "a function": lambda x: torch.einsum("bpv,bpv->bp", x, x),
    "several": lambda x: x[:, -1].max() - x[:, 0].mean() + torch.stack([x, x]).sum(),
    "numpy": lambda x: torch.from_numpy(np.asarray(x) * 2),
    "written into": lambda x: x.mul_(2),
    "set": lambda x: x.__setitem__((0, 0), 1) or x,
    "a loop": lambda x: torch.stack([row[-1] for row in x]),
}


@pytest.mark.parametrize("reads", READS)
def test_a_metric_may_read_logits_in_any_way(classic, reads):
    cache = classic.run_with_cache(CLEAN)[1]
    metric = lambda into: collecting(into, READS[reads])  # noqa: E731
    together, loop, *_ = both_ways(classic, cache, metric, "get_act_patch_attn_out")
    same(together, loop)


def test_only_what_is_read_is_filled_in():
    filled = []

    def fill(memory, positions):
        filled.append(positions)
        memory[:, positions] = torch.tensor(positions, dtype=memory.dtype)[:, None]

    logits = CellLogits.of(torch.full((2, 6, 3), torch.nan), fill)
    assert isinstance(logits, torch.Tensor)
    assert (logits.shape, logits.dtype, len(logits), logits.ndim, logits.size(1)) == ((2, 6, 3), torch.float32, 2, 3, 6)
    assert filled == []
    last = logits[:, -1]
    assert type(last) is torch.Tensor
    assert (last == 5).all()
    assert (logits[1, torch.tensor([3, 5]), 0] == torch.tensor([3.0, 5.0])).all()
    assert (logits[..., 1:3, :].mean(), filled) == (1.5, [[5], [3], [1, 2]])
    assert logits.mean() == 2.5
    assert filled == [[5], [3], [1, 2], [0, 4]]


def test_hooks_that_are_active_count_in_every_cell(classic):
    cache = classic.run_with_cache(CLEAN)[1]
    with classic.hooks(fwd_hooks=[("blocks.1.attn.hook_z", lambda z, hook: z.mul_(0))]):
        together, loop, *_ = both_ways(classic, cache, collecting, "get_act_patch_resid_pre")
    same(together, loop)
    plain = both_ways(classic, cache, collecting, "get_act_patch_resid_pre")[0]
    assert (plain[0] - together[0]).abs().max() > 0.05


FRAMES = {
    "any order, one twice, from the end": ("layer_pos_patch_setter", "attn_out", [[1, 3], [0, -1], [1, 3], [0, 1]]),
    "heads of every prompt": ("layer_head_vector_patch_setter", "q", [[1, -1], [0, 0]]),
    "all heads of a position": ("layer_pos_patch_setter", "z", [[0, 3], [1, 5]]),
    "cells of a pattern": ("layer_head_dest_src_pos_pattern_patch_setter", "pattern", [[1, 2, 4, 3], [0, 0, 2, 4]]),
    "a head of scores, which no site is": ("layer_head_pattern_patch_setter", "attn_scores", [[1, 2], [0, 1]]),
    "a query, by the wrong setter": ("layer_head_vector_patch_setter", "pattern", [[1, 2], [0, 3]]),
    "a head of a pattern, by the wrong setter": ("layer_pos_patch_setter", "pattern", [[1, 2], [0, 3]]),
}


@pytest.mark.parametrize("frame", FRAMES)
def test_indices_of_ones_own(each, cache, frame):
    setter, name, rows = FRAMES[frame]
    given = {"patch_setter": getattr(patching, setter), "activation_name": name, "index_df": pd.DataFrame(rows)}
    together, loop, *_ = both_ways(each, cache, collecting, **given)
    assert len(together) == len(rows)
    same(together, loop)


@pytest.mark.parametrize("name", ["post", "resid_post", "pre"])
def test_other_activations_of_a_position(classic, name):
    cache = classic.run_with_cache(CLEAN)[1]
    frame = patching.make_df_from_ranges((2, 6), ("layer", "pos"))
    given = {"patch_setter": patching.layer_pos_patch_setter, "activation_name": name, "index_df": frame}
    together, loop, *_ = both_ways(classic, cache, collecting, **given)
    same(together, loop)


def test_one_clean_prompt_for_all(classic):
    """A setter broadcasts, so the clean run may be a single prompt; and cells must exist."""
    cache = classic.run_with_cache(CLEAN[:1])[1]
    together, loop, *_ = both_ways(classic, cache, collecting, "get_act_patch_resid_pre")
    same(together, loop)
    for row in ([0, 6], [0, -7]):
        with pytest.raises(IndexError):
            both_ways(
                classic,
                cache,
                collecting,
                patch_setter=patching.layer_pos_patch_setter,
                activation_name="z",
                index_df=pd.DataFrame([row]),
            )


def test_a_cache_made_by_hand(each, cache):
    """The pieces need not come from a run: zeros, and a pattern that looks ahead."""
    zeros = {name: torch.zeros_like(x) for name, x in cache.items()}
    ahead = {name: x.flip(-1) if name.endswith("pattern") else x for name, x in cache.items()}
    for kept, name in (
        (zeros, "get_act_patch_attn_head_out_all_pos"),
        (zeros, "get_act_patch_resid_pre"),
        (ahead, "get_act_patch_attn_head_pattern_all_pos"),
        (ahead, "get_act_patch_attn_head_pattern_dest_src_pos"),
    ):
        together, loop, *_ = both_ways(each, kept, collecting, name)
        same(together, loop)


def test_what_cannot_change_is_not_run(classic):
    """Before the first token that differs nothing changes, and no layer is run before the one that is patched."""
    clean, corrupted = torch.tensor([[3, 1, 4, 1, 5]]), torch.tensor([[3, 1, 4, 9, 5]])
    cache, n_tokens = classic.run_with_cache(clean)[1], [0, 0]

    def count(layer):
        def run(block, args):
            n_tokens[layer] += args[0].shape[0] * args[0].shape[1]

        return block_of(layer).register_forward_pre_hook(run)

    block_of = classic.blocks.__getitem__
    handles = [count(layer) for layer in range(2)]
    patching.get_act_patch_resid_pre(classic, corrupted, cache, lambda logits: logits[0, -1, 0])
    for handle in handles:
        handle.remove()
    own = 5
    from_the_embedding = 2  # position 3, read by 4; the embedding of 4 is the same in both
    assert n_tokens == [own + from_the_embedding, own + from_the_embedding + 2 * 2]
