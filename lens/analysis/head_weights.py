"""What the heads of one layer read and write with: norm gains folded in or left out, rotary positions at a distance."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.circuit_weights import read_through, write_through
from lens.components import Norm, at_least_float32
from lens.config import Config
from lens.factored import FactoredMatrix
from lens.model import Transformer
from lens.positions import find_rotation, rotate

Weights = Literal["folded", "raw"]
WEIGHTS = ("folded", "raw")


class HeadWeights(NamedTuple):
    """One layer's matrices, an entry per query head, in float32 or finer."""

    W_Q: Float[Tensor, "head d_model d_head"]
    W_K: Float[Tensor, "head d_model d_head"]
    W_V: Float[Tensor, "head d_model d_head"]
    W_O: Float[Tensor, "head d_head d_model"]

    @property
    def OV(self) -> FactoredMatrix:
        """W_V W_O: what is written when a stream is attended to."""
        return FactoredMatrix(self.W_V, self.W_O)

    @property
    def QK(self) -> FactoredMatrix:
        """W_Q W_Kᵀ: rows ask, columns answer. Rotated where :func:`rotated` was asked."""
        return FactoredMatrix(self.W_Q, self.W_K.mT)


def head_weights(model: Transformer, layer: int, weights: Weights = "folded") -> HeadWeights:
    """W_Q, W_K, W_V, W_O of every query head of ``layer``; query heads that share keys and values each get them.

    "folded": the gain of the norm before the layer is in what reads, the gain of a norm after it in W_O, and where
    LayerNorm subtracts the mean of the stream, reads and writes have none. What remains of a norm is one positive
    factor per position. "raw": as the model holds them.
    """
    if weights not in WEIGHTS:
        raise ValueError(f"head_weights: weights={weights!r}; it must be 'folded' or 'raw'.")
    block, cfg = model.blocks[layer], model.cfg
    attn = block.attn
    W_Q, W_K, W_V, W_O = (at_least_float32(W.detach()) for W in (attn.W_Q, attn.W_K, attn.W_V, attn.W_O))
    if weights == "folded":
        W_Q, W_K, W_V = (read_through(block.ln1, W) for W in (W_Q, W_K, W_V))
        W_O = write_through(block.ln1_post, W_O)
        if isinstance(block.ln1, Norm):  # every reader of the stream has such a norm and takes out the same mean
            W_O = block.ln1.centre(W_O)
    W_K, W_V = (W.repeat_interleave(cfg.group_size, dim=0) for W in (W_K, W_V))
    return HeadWeights(W_Q, W_K, W_V, W_O)


def rotated(model: Transformer, layer: int, found: HeadWeights, offset: int) -> HeadWeights:
    """The same with W_Q and W_K turned as for a query ``offset`` tokens after its key; 0 leaves the rotation out.

    A score depends on the distance alone, so the query is turned by it and the key by nothing. Without rotary positions
    nothing changes.
    """
    cfg = model.cfg
    if not 0 <= offset < cfg.n_ctx:
        raise ValueError(f"offset={offset}: a key stands 0 to {cfg.n_ctx - 1} tokens before its query in this model.")
    if cfg.positions != "rotary":
        return found
    return found._replace(W_Q=turned(model, layer, found.W_Q, offset), W_K=turned(model, layer, found.W_K, 0))


def turned(
    model: Transformer, layer: int, x: Float[Tensor, "head n d_head"], place: int
) -> Float[Tensor, "head n d_head"]:
    """Queries or keys, ``n`` of each head, as a layer of a model with rotary positions turns them at ``place``."""
    local = model.blocks[layer].attn.local_rotary
    rotation = find_rotation(model.cfg, torch.tensor([[place]], device=x.device), x.dtype, local)
    return rotate(x[:, :, None], rotation)[:, :, 0]  # heads as batch, n as places


def why_not_bilinear(cfg: Config) -> str | None:
    """Why attention scores are no product of two streams with a matrix in between; None where they are."""
    if cfg.qk_norm is None:
        return None
    return (
        "this model normalises queries and keys, so a score is no product of the two streams and W_Q W_Kᵀ: the gain "
        "of the norm could be folded in, its division by the length of each query and key could not"
    )
