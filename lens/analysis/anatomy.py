"""What a model is made of: its weights, what its norms hold and where that folds to, the norms of its embeddings."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens.components import Norm
from lens.hooked import HookedTransformer
from lens.process import why_inexact

# Every norm that a structure can have: what reads it and takes its gain and bias when it folds, or why it stays.
READERS = {
    "ln1": "W_Q, W_K and W_V",
    "ln2": "the MLP's input weights",
    "mlp.ln": "W_out",
    "ln_final": "W_U",
}
STAYING = {
    "ln1_post": "it stands after what attention writes: the stream adds it up, and no weight reads it alone",
    "ln2_post": "it stands after what the MLP writes: the stream adds it up, and no weight reads it alone",
    "attn.q_norm": "it stands between W_Q and the scores, which are no weight",
    "attn.k_norm": "it stands between W_K and the scores, which are no weight",
    "embed.ln": "it normalises the embedding, and everything later reads its result",
}
PARTS = {"attn": "attention", "mlp": "MLPs"}  # of a model, by the last but one word of a weight's name


class Parameter(NamedTuple):
    """One weight. ``constant``: "0" or "1" where all of it is that, as where an architecture has no bias or no gain."""

    name: str
    shape: tuple[int, ...]
    n: int
    bytes: int  # 0 where the memory is another weight's
    shared: str  # the weight whose memory this is
    constant: str


class Fold(NamedTuple):
    """One kind of norm: how many there are, what they hold, and where that goes when weights are folded."""

    norm: str
    kind: str  # LN or RMS
    count: int
    gain: tuple[float, float, float]  # smallest, mean, largest
    bias: float | None  # largest absolute value; None for RMS, which has none
    into: str  # the weights that take it; "" if it stays
    stays: str  # why; "" if it folds


class UnigramBias(NamedTuple):
    """What the model says of every token before any context, in logits, its mean taken away (``center_unembed``)."""

    bias: Float[Tensor, " d_vocab"]
    mean: float  # that was taken away


class VectorNorms(NamedTuple):
    """Lengths of the vectors of all tokens, and where those of random ones would lie.

    ``low`` to ``high`` holds 95% of the lengths of vectors with independent normal entries of the same size.
    """

    norms: Float[Tensor, " d_vocab"]
    typical: float  # root mean square
    low: float
    high: float
    inside: float  # share of the tokens within low … high


@torch.no_grad()
def parameters(model: HookedTransformer) -> list[Parameter]:
    """Every weight in the order of the model, with its shape and size."""
    owners: dict[int, str] = {}
    rows = []
    for name, weight in model.state_dict().items():
        owner = owners.setdefault(weight.data_ptr(), name)
        size = weight.numel() * weight.element_size() if owner == name else 0
        constant = "" if weight.ndim > 2 or name.split(".")[-1].startswith("W_") else _constant(weight)
        rows.append(
            Parameter(name, tuple(weight.shape), weight.numel(), size, "" if owner == name else owner, constant)
        )
    return rows


def weights_by_part(rows: Sequence[Parameter]) -> dict[str, int]:
    """How many trained weights are in the embeddings, attention, MLPs and norms: shared ones once, constants never."""
    counts = {"embeddings": 0, "attention": 0, "MLPs": 0, "norms": 0}
    for row in rows:
        if not row.shared and not row.constant:
            is_norm = row.name.rsplit(".", 1)[-1] in ("w", "b")
            counts["norms" if is_norm else PARTS.get(row.name.split(".")[-2], "embeddings")] += row.n
    return counts


def _constant(weight: Tensor) -> str:
    first = weight.flatten()[0].item()
    return f"{first:g}" if first in (0.0, 1.0) and bool((weight == first).all()) else ""


@torch.no_grad()
def folds(model: HookedTransformer) -> list[Fold]:
    """Every kind of norm of the model and what folding does to it; empty for a model without norms."""
    refused = why_inexact(model.cfg, "fold_layer_norm")
    found = []
    for name in (*READERS, *STAYING):
        end = f".{name}"
        norms = [
            module for full, module in model.named_modules() if isinstance(module, Norm) and f".{full}".endswith(end)
        ]
        if not norms:
            continue
        gains = torch.cat([norm.w.flatten() for norm in norms]).float()
        bias = max(norm.b.abs().max().item() for norm in norms) if norms[0].centred else None
        stays = STAYING.get(name) or refused or ""
        into = "" if stays else READERS[name]
        spread = (gains.min().item(), gains.mean().item(), gains.max().item())
        found.append(Fold(name, "LN" if norms[0].centred else "RMS", len(norms), spread, bias, into, stays))
    return found


def no_unigram_bias(model: HookedTransformer) -> str:
    """Why the model has no learned unigram bias; "" if it has one."""
    if model.b_U.any():
        return ""
    if model.cfg.final_norm is None:
        return "the model has no norm before the unembedding, and its b_U is 0"
    if model.cfg.final_norm == "RMS":
        return "the final norm is RMSNorm, which has no bias to fold, and the model's own b_U is 0"
    return "" if model.ln_final.b.any() else "the final norm's bias is 0 everywhere, and so is the model's own b_U"


@torch.no_grad()
def unigram_bias(model: HookedTransformer) -> UnigramBias:
    """``b_U`` as folding leaves it: ``b_U + β W_U``, β the final norm's bias. ValueError where there is none.

    exp(b_U[a] − b_U[b]) is the ratio in which it favours token a over token b. Folding itself is not needed.
    """
    if missing := no_unigram_bias(model):
        raise ValueError(f"unigram_bias: {missing}.")
    bias = model.b_U.float()
    if model.cfg.final_norm == "LN":
        bias = bias + model.ln_final.b.float() @ model.W_U.float()
    mean = bias.mean()
    return UnigramBias(bias - mean, mean.item())


@torch.no_grad()
def vector_norms(vectors: Float[Tensor, "d_vocab d_model"]) -> VectorNorms:
    """Lengths of the rows, and the band of random rows: σ√d (1 ± 1.96/√(2d)), σ² the mean square of an entry."""
    norms, d = vectors.float().norm(dim=-1), vectors.shape[-1]
    typical = norms.square().mean().sqrt().item()
    width = 1.96 / math.sqrt(2 * d)
    low, high = typical * (1 - width), typical * (1 + width)
    inside = ((norms >= low) & (norms <= high)).float().mean().item()
    return VectorNorms(norms, typical, low, high, inside)


def embed_norms(model: HookedTransformer) -> VectorNorms:
    """:func:`vector_norms` of the rows of W_E."""
    return vector_norms(model.W_E)


def unembed_norms(model: HookedTransformer) -> VectorNorms:
    """:func:`vector_norms` of the columns of W_U."""
    return vector_norms(model.W_U.T)
