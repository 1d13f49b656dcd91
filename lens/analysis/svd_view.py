"""The directions a head reads and writes, strongest first: the SVD of OV or QK, with the tokens at both ends."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.circuit_weights import (
    check_head,
    output_weights,
    read_through,
    value_weights,
    vocabulary_rows,
)
from lens.analysis.head_vocabulary import logits_of
from lens.analysis.large_products import Ends, ends
from lens.factored import FactoredMatrix
from lens.model import Transformer


class Directions(NamedTuple):
    """The strongest directions of one circuit. A pair of directions has no sign: ends of both sides turn together."""

    singular: Float[Tensor, " d_head"]  # all singular values, from large to small
    share: Float[Tensor, " d_head"]  # of their squares' sum, cumulated
    left: Ends  # [direction, k]: tokens along the left vectors: what OV reads, what a query is
    right: Ends  # [direction, k]: tokens along the right vectors: what OV writes, what a key is


@torch.no_grad()
def directions(
    model: Transformer, head: tuple[int, int], circuit: str = "OV", n: int = 8, k: int = 8, folded: bool = True
) -> Directions:
    """Singular values of W_OV = W_V W_O or W_QK = W_Q W_Kᵀ, and the tokens at both ends of the first ``n`` directions.

    Left vectors of OV are met by embeddings, right ones by W_U (final norm folded in, mean over the vocabulary out);
    both sides of QK by embeddings, minus their mean. ``folded``: the norm before the head is folded into what it reads.
    Only two QR factors and their small core are decomposed.
    """
    check_head(model.cfg, head)
    matrix = circuit_matrix(model, head, circuit, folded)
    U, S, V = matrix.svd()
    embed = _embedded(model, torch.cat([U[:, :n], V[:, :n]], 1))
    left, of_keys = embed.split(embed.shape[0] // 2)
    right = logits_of(model, V[:, :n].T) if circuit == "OV" else of_keys
    power = S.square()
    return Directions(S, power.cumsum(0) / power.sum(), ends(left, k), ends(right, k))


def half_of_squares(share: Float[Tensor, " d_head"]) -> int:
    """How many directions, the strongest first, hold half of a matrix; ``share``: see ``Directions``."""
    return int((share < 0.5).sum()) + 1


def circuit_matrix(model: Transformer, head: tuple[int, int], circuit: str, folded: bool = True) -> FactoredMatrix:
    """W_OV or W_QK of one head [d_model, d_model], as two views of the layer's own weights unless folded."""
    layer, index = head
    block, kv = model.blocks[layer], index // model.cfg.group_size
    attn = block.attn
    if circuit == "OV":
        if folded:
            return FactoredMatrix(value_weights(model, layer)[kv], output_weights(model, layer)[index])
        return FactoredMatrix(attn.W_V[kv].float(), attn.W_O[index].float())
    if circuit == "QK":
        Q, K = attn.W_Q[index], attn.W_K[kv]
        if folded:
            Q, K = read_through(block.ln1, Q), read_through(block.ln1, K)
        return FactoredMatrix(Q.float(), K.float().mT)
    raise ValueError(f"directions: circuit={circuit!r}; it must be 'OV' or 'QK'.")


def _embedded(model: Transformer, vectors: Float[Tensor, "d_model n"]) -> Float[Tensor, "n d_vocab"]:
    """How far every embedding goes along each direction, minus the mean over the vocabulary."""
    found = torch.empty(model.cfg.d_vocab, vectors.shape[1], device=model.device)
    for ids, rows in vocabulary_rows(model):
        found[ids] = rows @ vectors
    return (found - found.mean(0)).T
