"""Which earlier heads write what one head reads: composition scores to a single receiver, from the weights alone."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.circuit_weights import check_head, output_weights, read_through, value_weights
from lens.analysis.qk_circuit import why_not_bilinear
from lens.composition import composition_scores
from lens.factored import FactoredMatrix
from lens.model import Transformer

MODES = {"Q": "what it asks for", "K": "what it is found by", "V": "what it moves"}
DEFINITION = (
    "‖W_OV W‖ / (‖W_OV‖ ‖W‖), Frobenius norms, W the later head's W_QK (Q), W_QKᵀ (K) or W_OV (V): the share of what "
    "the earlier head writes that the later head reads. Source: Elhage et al. 2021."
)


class Feeders(NamedTuple):
    """Composition of every earlier head with one head. Empty for a head of layer 0."""

    scores: dict[str, Float[Tensor, "layer head"]]  # by mode; only the layers before the head's own
    missing: dict[str, str]  # modes that were not computed, with the reason
    chance: float  # root mean square of the score with a random rotation in between, exact: 1/√d_model
    note: str


@torch.no_grad()
def feeders(model: Transformer, head: tuple[int, int]) -> Feeders:
    """How strongly each earlier head feeds the queries, keys and values of one head; norms folded, writes centred.

    Rotations of positions are left out.
    """
    check_head(model.cfg, head)
    layer = head[0]
    reason = why_not_bilinear(model.cfg)
    missing = {mode: reason for mode in "QK" if reason is not None}
    if layer == 0:
        missing |= dict.fromkeys(MODES, "no head is in an earlier layer than layer 0")
    wanted = {mode: _reader(model, head, mode) for mode in MODES if mode not in missing}
    writes = _writers(model, layer) if wanted else None
    scores = {mode: composition_scores(writes, reader) for mode, reader in wanted.items()}
    turned = model.cfg.positions == "rotary" and "Q" in wanted
    note = "The rotation of positions is left out of Q and K." if turned else ""
    return Feeders(scores, missing, model.cfg.d_model**-0.5, note)


def _writers(model: Transformer, layer: int) -> FactoredMatrix:
    """W_OV of every head before ``layer``, [layer, head, d_model, d_model]."""
    group = model.cfg.group_size
    V = torch.stack([value_weights(model, earlier).repeat_interleave(group, 0) for earlier in range(layer)])
    O = torch.stack([output_weights(model, earlier) for earlier in range(layer)])  # noqa: E741
    if model.cfg.norm == "LN":  # every reader subtracts the mean, so it is no part of what is written
        O = O - O.mean(-1, keepdim=True)  # noqa: E741
    return FactoredMatrix(V, O)


def _reader(model: Transformer, head: tuple[int, int], mode: str) -> FactoredMatrix:
    layer, index = head
    block, kv = model.blocks[layer], index // model.cfg.group_size
    if mode == "V":
        return FactoredMatrix(value_weights(model, layer)[kv], output_weights(model, layer)[index])
    Q, K = read_through(block.ln1, block.attn.W_Q[index]), read_through(block.ln1, block.attn.W_K[kv])
    return FactoredMatrix(Q, K.mT) if mode == "Q" else FactoredMatrix(K, Q.mT)
