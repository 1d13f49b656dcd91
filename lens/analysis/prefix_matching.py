"""Prefix matching from weights: does a head, fed by heads that move the token before, look for its own token?"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.composition import check_composes
from lens.analysis.head_weights import HeadWeights, Weights, head_weights, rotated
from lens.analysis.names import Head
from lens.analysis.verdicts import normal_reach
from lens.batching import at_once
from lens.model import Transformer
from lens.progress import Progress, silent

ROWS = 4096  # of the embedding held at once
DEFINITION = (
    "How much more a head would look from a token to the place after that same token than to the place after another, "
    "by what earlier heads e write there, weighted with their previous-token scores: S = Σₑ prev(e) · W_E W_QK W_OVᵀ "
    "W_Eᵀ, its mean diagonal entry minus its mean entry, in standard deviations of an entry."
)
NULL = (
    "0, for a random rotation between what earlier heads write and what this head reads; z counts the standard "
    "deviations that gives, exactly. (Permuting the tokens is no null: most models of random weights exceed it.)"
)


@dataclass(frozen=True)
class PrefixMatching:
    """One number per head, NaN in layer 0, which no head feeds."""

    score: Float[Tensor, "layer head"]  # standard deviations of an entry; within ±√d_head
    z: Float[Tensor, "layer head"]  # the trace over its standard deviation under a random rotation before the head
    reach: float  # of |z|, what the farthest of all heads reaches in at most 5% of models without such a circuit
    null_sd: float  # of the score when the tokens are permuted at random, exact
    offset: int | None  # tokens between query and key; None without rotary positions
    weights: Weights
    n_tokens: int
    definition: str

    @property
    def strongest(self) -> Head | None:
        """The head with the largest score; None where no head has one."""
        score = np.asarray(self.score)
        known = np.isfinite(score)
        return Head(*divmod(int(np.nanargmax(score)), score.shape[1])) if known.any() else None

    def beyond(self, head: Head) -> bool:
        """Whether a head lies farther from chance than the farthest of all would by chance."""
        return float(self.z[head]) > self.reach

    def rank(self, head: Head) -> int:
        """Place of a head by its score, 1 for the largest."""
        score = np.asarray(self.score)
        return 1 + int((score[np.isfinite(score)] > score[head]).sum())

    def largest_of(self, values: Float[Tensor, "layer head"]) -> Head:
        """Of the heads that have a score, the one with the largest of ``values``."""
        known = np.where(np.isfinite(np.asarray(self.score)), np.asarray(values), -np.inf)
        return Head(*divmod(int(known.argmax()), known.shape[1]))


@torch.no_grad()
def prefix_matching(
    model: Transformer,
    previous: Float[Tensor, "layer head"],
    offset: int = 0,
    weights: Weights = "folded",
    progress: Progress = silent,
) -> PrefixMatching:
    """The trace of W_E W_QK (Σ prev(e) W_OVᵉ)ᵀ W_Eᵀ over earlier heads e, against permuted tokens, for every head.

    ``previous``: the previous-token scores of all heads, from activations. Everything goes through the Gram matrix of
    the embedding, centred over tokens: trace(S) − mean(S) is trace(N G), ‖S‖² of the centred S is trace(N G Nᵀ G).
    Embeddings are not divided by the norm of layer 0, token by token; what MLPs add is left out.
    ``z``: with a Haar rotation between the earlier heads and this one the trace has mean 0 and variance ‖·‖²/d_model.
    """
    cfg = model.cfg
    check_composes(cfg, "K")
    if previous.shape != (cfg.n_layers, cfg.n_heads):
        raise ValueError(
            f"prefix_matching: previous-token scores {list(previous.shape)}; wanted {[cfg.n_layers, cfg.n_heads]}."
        )
    gram = embedding_gram(model)
    carried = torch.zeros_like(gram)  # Σ prev(e) W_OV of the layers before
    score, z = (gram.new_full((cfg.n_layers, cfg.n_heads), torch.nan) for _ in range(2))
    for layer in range(cfg.n_layers):
        progress(layer / cfg.n_layers, f"layer {layer}")
        found = head_weights(model, layer, weights)
        if layer > 0:
            score[layer], z[layer] = _match(rotated(model, layer, found, offset), carried, gram)
        shares = previous[layer].to(gram)[:, None, None] * found.W_V
        carried += shares.transpose(0, 1).flatten(1) @ found.W_O.flatten(0, 1)
    return PrefixMatching(
        score.float(),
        z.float(),
        normal_reach(int(z.isfinite().sum())),
        (cfg.d_vocab - 1) ** -0.5,
        offset if cfg.positions == "rotary" else None,
        weights,
        cfg.d_vocab,
        DEFINITION,
    )


@torch.no_grad()
def embedding_gram(model: Transformer) -> Float[Tensor, "d_model d_model"]:
    """W_EᵀW_E of the embeddings minus their mean over the vocabulary, by chunks of tokens, summed in float64."""
    d_vocab, d_model = model.cfg.d_vocab, model.cfg.d_model
    ids, kind = torch.arange(d_vocab, device=model.device), torch.promote_types(model.dtype, torch.float32)
    mean = sum(model.embed(part).double().sum(0) for part in ids.split(at_once(ROWS))) / d_vocab
    gram = mean.new_zeros(d_model, d_model)
    for part in ids.split(at_once(ROWS)):
        centred = (model.embed(part).double() - mean).to(kind)
        gram += centred.T @ centred
    return gram.to(kind)


def _match(
    head: HeadWeights, carried: Float[Tensor, "d_model d_model"], gram: Float[Tensor, "d_model d_model"]
) -> tuple[Float[Tensor, " head"], Float[Tensor, " head"]]:
    """Score and z of one layer's heads: S = W_E W_Q (W_Kᵀ carriedᵀ) W_Eᵀ, never formed."""
    asks, answers = head.W_Q, carried @ head.W_K  # [head, d_model, d_head]: S = W_E asks answersᵀ W_Eᵀ
    asked, answered = gram @ asks, gram @ answers
    trace = (asked * answers).sum((-2, -1))
    size = ((asks.mT @ asked) * (answers.mT @ answered)).sum((-2, -1)).clamp(min=0).sqrt()
    across = carried.T @ asked  # [head, d_model, d_head]: what the trace pairs with W_K
    rotated_sd = ((across.mT @ across) * (head.W_K.mT @ head.W_K)).sum((-2, -1)).clamp(min=0).sqrt() / len(gram) ** 0.5
    return trace / torch.where(size > 0, size, torch.nan), trace / torch.where(rotated_sd > 0, rotated_sd, torch.nan)
