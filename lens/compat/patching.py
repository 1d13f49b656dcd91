"""``transformer_lens.patching``: clean activations put into a corrupted run, cell by cell.

Every function returns the metric of the patched run, [layer, …]; ``patching_metric`` reads the logits
[batch, pos, d_vocab]. The setters of this module put in single pieces, and such cells are run together: each starts at
its layer, and only positions that it can change are computed. Any other setter gets one forward pass for each cell.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.interventions.cache_patching import CachePatches
from lens.analysis.interventions.cells import Place
from lens.analysis.interventions.sites import SITES, activation_shape, available_sites, axis_size
from lens.cache import get_act_name
from lens.compat.patched_logits import patched_logits
from lens.model import Transformer

Setter = Callable[[Tensor, Sequence[int], Tensor], Tensor]
Metric = Callable[[Float[Tensor, "batch pos d_vocab"]], Float[Tensor, ""]]


def make_df_from_ranges(column_max_ranges: Sequence[int], column_names: Sequence[str]) -> pd.DataFrame:
    """All combinations of 0 … max − 1 of every column, the last column fastest."""
    return pd.DataFrame(list(itertools.product(*map(range, column_max_ranges))), columns=list(column_names))


def _sizes(model: Any, tokens: Tensor, activation_name: str) -> dict[str, int]:
    grouped = get_act_name(activation_name, 0).rsplit("_", 1)[-1] in ("k", "v")
    heads, n_pos = model.cfg.n_kv_heads if grouped else model.cfg.n_heads, tokens.shape[-1]
    return {
        "layer": model.cfg.n_layers,
        "pos": n_pos,
        "src_pos": n_pos,
        "dest_pos": n_pos,
        "head": heads,
        "head_index": heads,
    }


@torch.no_grad()
def generic_activation_patch(
    model: Any,
    corrupted_tokens: Int[Tensor, "batch pos"],
    clean_cache: Mapping[Any, Tensor],
    patching_metric: Metric,
    patch_setter: Setter,
    activation_name: str,
    index_axis_names: Sequence[str] | None = None,
    index_df: pd.DataFrame | None = None,
    return_index_df: bool = False,
) -> Tensor | tuple[Tensor, pd.DataFrame]:
    """The metric of the corrupted run with one piece of the clean run in it, for every index.

    ``index_axis_names`` ("layer" first, then "pos", "head_index", "dest_pos", "src_pos") runs over all of them, and the
    result has these axes; ``index_df`` gives the indices, one row each, and the result is flat.
    ``patch_setter(corrupted, index, clean)`` returns the activation to use. k and v have the model's own kv heads.
    """
    if (index_df is None) == (index_axis_names is None):
        raise ValueError("generic_activation_patch: give index_axis_names or index_df, one of the two.")
    shape = None
    if index_df is None:
        sizes = _sizes(model, corrupted_tokens, activation_name)
        shape = [sizes[name] for name in index_axis_names]
        index_df = make_df_from_ranges(shape, index_axis_names)
    index = [[int(i) for i in row] for row in index_df.itertuples(index=False)]
    run = (model, corrupted_tokens, clean_cache, activation_name, index)
    cells = _cells(*run, patch_setter)
    each = _one_by_one(*run, patch_setter) if cells is None else patched_logits(*cells)
    values = [patching_metric(logits).item() for logits in each]
    result = torch.tensor(values, device=model.device)
    result = result if shape is None else result.reshape(shape)
    return (result, index_df) if return_index_df else result


def _one_by_one(
    model: Any,
    tokens: Tensor,
    clean_cache: Mapping[Any, Tensor],
    activation_name: str,
    index: Sequence[list[int]],
    patch_setter: Setter,
) -> Iterator[Float[Tensor, "batch pos d_vocab"]]:
    for one in index:
        name = get_act_name(activation_name, one[0])

        def put(corrupted: Tensor, hook: Any, index: list[int] = one, clean: Tensor = clean_cache[name]) -> Tensor:
            return patch_setter(corrupted, index, clean)

        yield model.run_with_hooks(tokens, fwd_hooks=[(name, put)])


def _cells(
    model: Any,
    tokens: Tensor,
    clean_cache: Mapping[Any, Tensor],
    activation_name: str,
    index: Sequence[list[int]],
    patch_setter: Setter,
) -> tuple[CachePatches, list[Place]] | None:
    """The single pieces that are put in, if they are such; None where each cell needs a forward pass of its own."""
    if not isinstance(model, Transformer) or any(point.active for point in model.hook_dict.values()):
        return None  # the forward pass of a loop runs with the hooks that are active now
    point = get_act_name(activation_name, 0)
    site = next((SITES[name] for name in available_sites(model.cfg) if SITES[name].hook_name(0) == point), None)
    axes = () if site is None else (PATTERN_AXES if site.name == "pattern" else AXES).get(patch_setter, ())
    if not axes or not set(axes) <= {"layer", *site.axes} or len({x.device for x in model.parameters()}) > 1:
        return None
    sizes = [axis_size(site, axis, model.cfg, tokens.shape[-1]) for axis in axes]
    if not all(_within(one, sizes) for one in index):
        return None
    clean = {layer: clean_cache[site.hook_name(layer)] for layer in sorted({one[0] for one in index})}
    shape = activation_shape(site, model.cfg, *tokens.shape)
    if not clean or any(x.shape != shape for x in clean.values()):
        return None  # a setter may broadcast
    places = [Place(**dict(zip(axes, (at % size for at, size in zip(one, sizes))))) for one in index]
    return CachePatches(model, tokens.to(model.device), site.name, clean), places


def _within(index: Sequence[int], sizes: Sequence[int]) -> bool:
    """Whether an index has all axes and exists; layers do not count from the end."""
    return len(index) >= len(sizes) and index[0] >= 0 and all(-size <= at < size for at, size in zip(index, sizes))


def layer_pos_patch_setter(corrupted: Tensor, index: Sequence[int], clean: Tensor) -> Tensor:
    """index = [layer, pos], of [batch, pos, …]."""
    corrupted[:, index[1]] = clean[:, index[1]]
    return corrupted


def layer_pos_head_vector_patch_setter(corrupted: Tensor, index: Sequence[int], clean: Tensor) -> Tensor:
    """index = [layer, pos, head], of [batch, pos, head, d_head]."""
    corrupted[:, index[1], index[2]] = clean[:, index[1], index[2]]
    return corrupted


def layer_head_vector_patch_setter(corrupted: Tensor, index: Sequence[int], clean: Tensor) -> Tensor:
    """index = [layer, head], of [batch, pos, head, d_head]."""
    corrupted[:, :, index[1]] = clean[:, :, index[1]]
    return corrupted


def layer_head_pattern_patch_setter(corrupted: Tensor, index: Sequence[int], clean: Tensor) -> Tensor:
    """index = [layer, head], of [batch, head, query, key]."""
    corrupted[:, index[1]] = clean[:, index[1]]
    return corrupted


def layer_head_pos_pattern_patch_setter(corrupted: Tensor, index: Sequence[int], clean: Tensor) -> Tensor:
    """index = [layer, head, query], of [batch, head, query, key]."""
    corrupted[:, index[1], index[2]] = clean[:, index[1], index[2]]
    return corrupted


def layer_head_dest_src_pos_pattern_patch_setter(corrupted: Tensor, index: Sequence[int], clean: Tensor) -> Tensor:
    """index = [layer, head, query, key], of [batch, head, query, key]."""
    _, head, query, key = index
    corrupted[:, head, query, key] = clean[:, head, query, key]
    return corrupted


# What the index of a setter says, in order; of patterns, pos is the query.
AXES = {
    layer_pos_patch_setter: ("layer", "pos"),
    layer_pos_head_vector_patch_setter: ("layer", "pos", "head"),
    layer_head_vector_patch_setter: ("layer", "head"),
}
PATTERN_AXES = {
    layer_head_pattern_patch_setter: ("layer", "head"),
    layer_head_pos_pattern_patch_setter: ("layer", "head", "pos"),
    layer_head_dest_src_pos_pattern_patch_setter: ("layer", "head", "pos", "key"),
}


def _sweep(activation_name: str, patch_setter: Setter, *index_axis_names: str) -> Callable[..., Tensor]:
    return partial(
        generic_activation_patch,
        patch_setter=patch_setter,
        activation_name=activation_name,
        index_axis_names=index_axis_names,
    )


# Each is called as get_act_patch_…(model, corrupted_tokens, clean_cache, patching_metric).
get_act_patch_resid_pre = _sweep("resid_pre", layer_pos_patch_setter, "layer", "pos")
get_act_patch_resid_mid = _sweep("resid_mid", layer_pos_patch_setter, "layer", "pos")
get_act_patch_attn_out = _sweep("attn_out", layer_pos_patch_setter, "layer", "pos")
get_act_patch_mlp_out = _sweep("mlp_out", layer_pos_patch_setter, "layer", "pos")

get_act_patch_attn_head_out_by_pos = _sweep("z", layer_pos_head_vector_patch_setter, "layer", "pos", "head")
get_act_patch_attn_head_q_by_pos = _sweep("q", layer_pos_head_vector_patch_setter, "layer", "pos", "head")
get_act_patch_attn_head_k_by_pos = _sweep("k", layer_pos_head_vector_patch_setter, "layer", "pos", "head")
get_act_patch_attn_head_v_by_pos = _sweep("v", layer_pos_head_vector_patch_setter, "layer", "pos", "head")
get_act_patch_attn_head_pattern_by_pos = _sweep(
    "pattern", layer_head_pos_pattern_patch_setter, "layer", "head_index", "dest_pos"
)
get_act_patch_attn_head_pattern_dest_src_pos = _sweep(
    "pattern", layer_head_dest_src_pos_pattern_patch_setter, "layer", "head_index", "dest_pos", "src_pos"
)

get_act_patch_attn_head_out_all_pos = _sweep("z", layer_head_vector_patch_setter, "layer", "head")
get_act_patch_attn_head_q_all_pos = _sweep("q", layer_head_vector_patch_setter, "layer", "head")
get_act_patch_attn_head_k_all_pos = _sweep("k", layer_head_vector_patch_setter, "layer", "head")
get_act_patch_attn_head_v_all_pos = _sweep("v", layer_head_vector_patch_setter, "layer", "head")
get_act_patch_attn_head_pattern_all_pos = _sweep("pattern", layer_head_pattern_patch_setter, "layer", "head_index")


def _per_query_head(result: Float[Tensor, "... kv_head"], model: Any) -> Float[Tensor, "... head"]:
    """A group's value for each query head of it: patching shared keys or values patches the whole group."""
    return result.repeat_interleave(model.cfg.group_size, dim=-1)


def get_act_patch_attn_head_all_pos_every(
    model: Any, corrupted_tokens: Tensor, clean_cache: Mapping[Any, Tensor], metric: Metric
) -> Float[Tensor, "5 layer head"]:
    """Every head's output, query, key, value and pattern, at all positions together.

    With grouped queries, heads of one group have the same key and value entries.
    """
    run = (model, corrupted_tokens, clean_cache, metric)
    return torch.stack(
        [
            get_act_patch_attn_head_out_all_pos(*run),
            get_act_patch_attn_head_q_all_pos(*run),
            _per_query_head(get_act_patch_attn_head_k_all_pos(*run), model),
            _per_query_head(get_act_patch_attn_head_v_all_pos(*run), model),
            get_act_patch_attn_head_pattern_all_pos(*run),
        ]
    )


def get_act_patch_attn_head_by_pos_every(
    model: Any, corrupted_tokens: Tensor, clean_cache: Mapping[Any, Tensor], metric: Metric
) -> Float[Tensor, "5 layer pos head"]:
    """Every head's output, query, key, value and pattern (of one query), at one position at a time."""
    run = (model, corrupted_tokens, clean_cache, metric)
    return torch.stack(
        [
            get_act_patch_attn_head_out_by_pos(*run),
            get_act_patch_attn_head_q_by_pos(*run),
            _per_query_head(get_act_patch_attn_head_k_by_pos(*run), model),
            _per_query_head(get_act_patch_attn_head_v_by_pos(*run), model),
            get_act_patch_attn_head_pattern_by_pos(*run).mT,
        ]
    )


def get_act_patch_block_every(
    model: Any, corrupted_tokens: Tensor, clean_cache: Mapping[Any, Tensor], metric: Metric
) -> Float[Tensor, "3 layer pos"]:
    """The stream before each block, what its attention adds, and what its MLP adds."""
    run = (model, corrupted_tokens, clean_cache, metric)
    return torch.stack([get_act_patch_resid_pre(*run), get_act_patch_attn_out(*run), get_act_patch_mlp_out(*run)])
