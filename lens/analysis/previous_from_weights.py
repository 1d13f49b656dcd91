"""Would a head look at the token before, whatever the tokens are? From the weights of positions alone."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.circuit_weights import source_rows
from lens.analysis.instruments.previous import PREVIOUS_NULL
from lens.analysis.previous_token import previous_token
from lens.analysis.qk_circuit import check_bilinear, gained, lone
from lens.attention import per_head
from lens.model import Transformer
from lens.progress import Progress, silent

POSITIONS = 48
TOKENS = 256  # averaged at each position
DEFINITION = (
    "Mean attention to the token before, A[q, q−1] over q ≥ 6, of the pattern that the head's mean scores give: each "
    "score is averaged over random tokens at query and key, so that only positions are left (W_pos, rotation, bias)."
)
NULL = f"in the same pattern, {PREVIOUS_NULL}"


class PreviousToken(NamedTuple):
    """What each head attends to when tokens say nothing."""

    score: Float[Tensor, "layer head"]  # probability, see DEFINITION
    null: Float[Tensor, "layer head"]  # probability, see NULL
    n_pos: int
    n_tokens: int
    seed: int


@torch.no_grad()
def previous_from_weights(
    model: Transformer, n_pos: int = POSITIONS, n_tokens: int = TOKENS, seed: int = 0, progress: Progress = silent
) -> PreviousToken:
    """Previous-token preference of every head, without running the model on any text.

    What a layer reads is a token's embedding and its position, as if no layer had written before it. Scores are
    bilinear, so their mean over independent tokens is the score of the mean query with the mean key. ValueError where
    they are not, or where the context holds fewer than four tokens.
    """
    check_bilinear(model)
    n_pos = min(n_pos, model.cfg.n_ctx)
    if n_pos < 4:
        raise ValueError(f"previous_from_weights: n_pos={n_pos}; at least 4 positions are needed.")
    means = mean_inputs(model, n_pos, n_tokens, seed)
    scores, nulls = [], []
    for layer in range(model.cfg.n_layers):
        pattern = positional_pattern(model, layer, means).float()
        found = previous_token(pattern)
        scores.append(found.score)
        nulls.append(found.null)
        progress((layer + 1) / model.cfg.n_layers, f"layer {layer} of {model.cfg.n_layers}")
    return PreviousToken(torch.stack(scores), torch.stack(nulls), n_pos, min(n_tokens, model.cfg.d_vocab), seed)


def mean_inputs(model: Transformer, n_pos: int, n_tokens: int = TOKENS, seed: int = 0) -> Float[Tensor, "pos d_model"]:
    """Mean over random tokens of what the norm leaves of embedding plus position, before its gain and bias."""
    drawn = torch.randperm(model.cfg.d_vocab, generator=torch.Generator().manual_seed(seed))[:n_tokens]
    rows = source_rows(model, drawn)
    if model.cfg.positions != "learned":
        return lone(model, rows).mean(0).expand(n_pos, -1)
    W_pos = model.pos_embed.W_pos.float()
    return torch.stack([lone(model, rows + W_pos[pos]).mean(0) for pos in range(n_pos)])


def positional_pattern(
    model: Transformer, layer: int, means: Float[Tensor, "pos d_model"]
) -> Float[Tensor, "head query key"]:
    """The pattern of a layer's mean scores."""
    attn = model.blocks[layer].attn
    x = gained(model, layer, means)[None].to(model.dtype)
    places = model.places(x)
    q_in = x if places.pos_embed is None else x + places.pos_embed
    q, k = per_head(q_in, attn.W_Q, attn.b_Q), per_head(q_in, attn.W_K, attn.b_K)
    q, k = attn.rotated("q", q, places), attn.rotated("k", k, places)
    return attn.attend(q, k, places.allowed[attn.window], places.bias)[0]
