"""Attention patterns of a prompt, for the heads somebody wants to look at."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.analysis.names import Head, check_heads
from lens.analysis.streaming import stream
from lens.model import Transformer
from lens.progress import Progress, silent

SCORES_NOTE = (
    "Raw attention scores cannot be compared between heads or queries: adding a constant to all scores of a query "
    "changes nothing. The log-pattern, score minus logsumexp over the keys a query may see, can be compared."
)
VALUE_WEIGHTED_NOTE = (
    "Attention times the length of what is moved: A[q, k] · ‖v_k W_O‖, value bias included, output bias and any "
    "norm after attention not. Rows do not sum to 1 unless they are renormalised."
)


class HeadPatterns(NamedTuple):
    """Patterns of chosen heads; rows of a pad are of no meaning."""

    heads: list[Head]
    pattern: Float[Tensor, "batch chosen query key"]  # probability, or nats for a log-pattern, or a length


class WithoutFirst(NamedTuple):
    """Patterns with the first token hidden, and what was hidden."""

    pattern: Float[Tensor, "*batch query key"]  # rows sum to 1 again, or are all 0
    hidden: Float[Tensor, "*batch query"]  # probability that the first token had


def head_patterns(
    model: Transformer,
    tokens: Int[Tensor, "batch pos"],
    heads: list[Head],
    mask: Bool[Tensor, "batch pos"] | None = None,
    progress: Progress = silent,
) -> HeadPatterns:
    """Attention of ``heads``, in their order: probabilities whose rows sum to 1. Only these heads are kept."""
    found = _empty(model, tokens, heads)

    def visit(layer: int, rows: slice, pattern: Float[Tensor, "batch head query key"]) -> None:
        for place, head in _of_layer(heads, layer):
            found[rows, place] = pattern[:, head].float()

    stream(model, tokens, {_name(layer, "pattern"): visit for layer in _layers(heads)}, mask, progress)
    return HeadPatterns(heads, found.cpu())


def value_weighted_patterns(
    model: Transformer,
    tokens: Int[Tensor, "batch pos"],
    heads: list[Head],
    mask: Bool[Tensor, "batch pos"] | None = None,
    renormalise: bool = False,
) -> HeadPatterns:
    """Attention times the length of what each key's value writes: A[q, k] · ‖v_k W_O^h‖, in residual-stream units.

    A key with much attention and a tiny value moves nothing: the usual case of the first token. ``renormalise`` divides
    each row by its sum (the share of the moved length). Query head h reads value head h // group_size.
    Source: Kobayashi et al., "Attention is Not Only a Weight" (2020).
    """
    found = _empty(model, tokens, heads)
    length = torch.empty(found.shape[:-1], device=model.device)

    def visit_values(layer: int, rows: slice, v: Float[Tensor, "batch pos kv_head d_head"]) -> None:
        for place, head in _of_layer(heads, layer):
            length[rows, place] = value_lengths(model, layer, head, v)

    def visit(layer: int, rows: slice, pattern: Float[Tensor, "batch head query key"]) -> None:
        for place, head in _of_layer(heads, layer):
            found[rows, place] = pattern[:, head].float() * length[rows, place, None]

    visits = {}
    for layer in _layers(heads):
        visits |= {_name(layer, "v"): visit_values, _name(layer, "pattern"): visit}
    stream(model, tokens, visits, mask)
    return HeadPatterns(heads, (found / found.sum(-1, keepdim=True) if renormalise else found).cpu())


def value_lengths(
    model: Transformer, layer: int, head: int, v: Float[Tensor, "batch pos kv_head d_head"]
) -> Float[Tensor, "batch pos"]:
    """‖v_k W_O^h‖ of every key: the length of what the head would write if it looked at that key alone."""
    own = v[:, :, head // model.cfg.group_size]
    return (own @ model.blocks[layer].attn.W_O[head]).float().norm(dim=-1)


def hide_first(
    pattern: Float[Tensor, "*batch query key"], mask: Bool[Tensor, "*batch key"] | None = None
) -> WithoutFirst:
    """``pattern`` without the first real token, rows scaled to sum to 1 again.

    A row that looks at nothing else (that of the first token itself) is all 0. Where ``hidden`` is near 1, the scaled
    row magnifies crumbs.
    """
    n_key = pattern.shape[-1]
    first = torch.zeros(n_key, dtype=torch.long) if mask is None else mask.int().argmax(-1)
    is_first = torch.arange(n_key, device=pattern.device) == first.to(pattern.device)[..., None]
    while mask is not None and is_first.ndim < pattern.ndim:
        is_first = is_first.unsqueeze(-2)  # the same for every head and query
    rest = pattern.masked_fill(is_first, 0)
    left = rest.sum(-1, keepdim=True)
    scaled = torch.where(left > 0, rest / left.clamp(min=torch.finfo(rest.dtype).tiny), 0)
    return WithoutFirst(scaled, (pattern - rest).sum(-1))


def _empty(model: Transformer, tokens: Tensor, heads: list[Head]) -> Tensor:
    if not heads:
        raise ValueError("No heads were chosen; name at least one, such as 0.0.")
    check_heads(heads, model.cfg)
    batch, n_pos = tokens.shape
    return torch.empty(batch, len(heads), n_pos, n_pos, device=model.device)


def _name(layer: int, point: str) -> str:
    return f"blocks.{layer}.attn.hook_{point}"


def _layers(heads: list[Head]) -> list[int]:
    return sorted({layer for layer, _ in heads})


def _of_layer(heads: list[Head], layer: int) -> list[tuple[int, int]]:
    return [(place, head) for place, (at, head) in enumerate(heads) if at == layer]
