"""What a head would match, from its query and key weights alone: the same token, the token before, pairs of tokens.

The full QK circuit of a head is the score of every token as a query with every token as a key, [d_vocab, d_vocab]. Its
rows and columns are embeddings as the norm before the head leaves a lone one. What all entries have on average follows
from two moments of the embeddings, one [d_model, d_model] for all heads, and nothing of the vocabulary's size.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Complex, Float
from torch import Tensor

from lens.analysis.circuit_weights import Embedding, check_embedding, check_head, stream_embedding, vocabulary_rows
from lens.analysis.head_weights import turned, why_not_bilinear
from lens.analysis.large_products import Entries, top_entries
from lens.analysis.rotation_test import rotation_z
from lens.components import Norm
from lens.factored import FactoredMatrix
from lens.finite import require_finite_weights
from lens.model import Transformer
from lens.progress import Progress, part, silent

SAME_TOKEN = (
    "How much more a token as a query scores with itself as a key than with the average token, in standard deviations "
    "of the scores of one query over all keys; mean over the vocabulary, from weights. 0: no preference."
)
EIGENVALUES = (
    "Σλ / Σ|λ| over the eigenvalues of the full QK circuit, its rows centred (a constant per query changes no "
    "attention): +1, a token matches tokens like itself; −1, unlike itself."
)


class Moments(NamedTuple):
    """Mean and covariance over the vocabulary of lone embeddings as a norm leaves them, before its gain and bias."""

    mean: Float[Tensor, " d_model"]
    covariance: Float[Tensor, "d_model d_model"]


class QKCircuits(NamedTuple):
    """The full QK circuit of every head in a few numbers."""

    same_token: Float[Tensor, "layer head"]  # standard deviations, see SAME_TOKEN
    same_z: Float[Tensor, "layer head"]  # of it, in standard deviations under random rotations between query and key
    eigenvalues: Complex[Tensor, "layer head d_head"]  # largest first; in scores, times d_vocab
    score: Float[Tensor, "layer head"]  # see EIGENVALUES


@torch.no_grad()
def qk_circuits(
    model: Transformer, embedding: Embedding = "tokens", distance: int = 0, progress: Progress = silent
) -> QKCircuits:
    """Same-token preference and eigenvalues of the full QK circuit of every head, exact from moments.

    ``distance``: how many positions the key stands before the query, for rotary models; 0 leaves the rotation out. The
    scores are those before a softcap or a cut, without learned positions or linear biases. ValueError where scores are
    not bilinear.
    """
    check_bilinear(model)
    check_embedding(model.cfg, embedding)
    wanted = list(dict.fromkeys(stream_embedding(layer, embedding) for layer in range(model.cfg.n_layers)))
    moments = {
        which: embedding_moments(model, which, part(progress, place / len(wanted), (place + 1) / len(wanted)))
        for place, which in enumerate(wanted)
    }
    same, z, eigenvalues = [], [], []
    for layer in range(model.cfg.n_layers):
        found = _of_layer(model, layer, moments[stream_embedding(layer, embedding)], distance)
        same.append(found[0])
        z.append(found[1])
        eigenvalues.append(found[2])
    values = torch.stack(eigenvalues)
    order = values.abs().argsort(-1, descending=True)
    score = values.real.sum(-1) / values.abs().sum(-1)
    return QKCircuits(torch.stack(same), torch.stack(z), values.gather(-1, order), score)


def check_bilinear(model: Transformer) -> None:
    """ValueError with the reason where there is no QK circuit."""
    reason = why_not_bilinear(model.cfg)
    if reason is not None:
        raise ValueError(f"The QK circuit is not computed because {reason}.")


def embedding_moments(model: Transformer, embedding: Embedding = "tokens", progress: Progress = silent) -> Moments:
    """Moments over the vocabulary of :func:`lone`; in float64, because a covariance is a difference."""
    d_model, d_vocab = model.cfg.d_model, model.cfg.d_vocab
    total = torch.zeros(d_model, device=model.device, dtype=torch.float64)
    square = torch.zeros(d_model, d_model, device=model.device, dtype=torch.float64)
    shift = None  # near the mean, so that little is lost in float32 products
    for _, rows in vocabulary_rows(model, embedding, progress):
        rows = lone(model, rows)
        shift = rows.mean(0) if shift is None else shift
        rows = rows - shift
        total += rows.double().sum(0)
        square += (rows.T @ rows).double()
    mean = total / d_vocab
    return Moments((mean + shift).float(), (square / d_vocab - mean[:, None] * mean).float())


def lone(model: Transformer, rows: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
    """Rows as the norm before attention leaves them where nothing else is in the stream, before its gain and bias."""
    norm = model.blocks[0].ln1
    if not isinstance(norm, Norm):
        return rows
    rows = norm.centre(rows)
    return rows / norm.scale_of(rows)


def gained(model: Transformer, layer: int, rows: Float[Tensor, "*n d_model"]) -> Float[Tensor, "*n d_model"]:
    """Normalised rows times the gain of a layer's norm, plus its bias: what its queries and keys are made from."""
    norm = model.blocks[layer].ln1
    if not isinstance(norm, Norm):
        return rows
    rows = rows * norm.w.float()
    return rows + norm.b.float() if norm.centred else rows


def _of_layer(
    model: Transformer, layer: int, moments: Moments, distance: int
) -> tuple[Float[Tensor, " head"], Float[Tensor, " head"], Complex[Tensor, "head d_head"]]:
    attn, norm, group = model.blocks[layer].attn, model.blocks[layer].ln1, model.cfg.group_size
    covariance = moments.covariance
    if isinstance(norm, Norm):
        covariance = norm.w.float()[:, None] * covariance * norm.w.float()
    centre = gained(model, layer, moments.mean)
    W_Q = _apart(model, layer, attn.W_Q.float(), distance, distance)
    q_mean = (centre @ attn.W_Q.float() + attn.b_Q.float())[:, None]
    q_mean = _apart(model, layer, q_mean, distance, distance)[:, 0]
    W_K = _apart(model, layer, attn.W_K.float(), 0, distance)
    reads = covariance @ W_K  # [kv_head, d_model, d_head]
    queries = rearrange(W_Q, "(kv_head group) d_model d_head -> kv_head d_model (group d_head)", group=group)
    core = rearrange(
        reads.mT @ queries, "kv_head d_key (group d_head) -> (kv_head group) d_key d_head", group=group
    )  # W_Kᵀ C W_Q
    key_cov = (W_K.mT @ reads).repeat_interleave(group, 0)
    query_square = W_Q.mT @ covariance @ W_Q + q_mean[:, :, None] * q_mean[:, None]
    row_variance = (query_square * key_cov).sum((-2, -1))
    same = core.diagonal(dim1=-2, dim2=-1).sum(-1) / row_variance.sqrt()
    require_finite_weights(model, core, "QK circuits")
    return same, rotation_z(core), torch.linalg.eigvals(core / attn.scale) * model.cfg.d_vocab


def _apart(
    model: Transformer, layer: int, x: Float[Tensor, "head n d_head"], place: int, distance: int
) -> Float[Tensor, "head n d_head"]:
    """Queries or keys as they are turned at ``place``; as they are where ``distance`` is 0 or nothing rotates."""
    return x if model.cfg.positions != "rotary" or distance == 0 else turned(model, layer, x, place)


@torch.no_grad()
def full_qk(
    model: Transformer,
    head: tuple[int, int],
    embedding: Embedding = "tokens",
    distance: int = 0,
    progress: Progress = silent,
) -> FactoredMatrix:
    """Attention scores of every token as a query with every token as a key, each minus its query's mean over keys.

    [d_vocab, d_vocab], held as two factors. ``distance`` as in :func:`qk_circuits`.
    """
    check_bilinear(model)
    check_embedding(model.cfg, embedding)
    check_head(model.cfg, head)
    layer, index = head
    attn, cfg = model.blocks[layer].attn, model.cfg
    kv = index // cfg.group_size
    q, k = (torch.empty(cfg.d_vocab, cfg.d_head, device=model.device) for _ in range(2))
    for ids, rows in vocabulary_rows(model, stream_embedding(layer, embedding), progress):
        rows = gained(model, layer, lone(model, rows))
        q[ids] = rows @ attn.W_Q[index].float() + attn.b_Q[index].float()
        k[ids] = rows @ attn.W_K[kv].float()
    q = _apart(model, layer, q[None], distance, distance)[0] / attn.scale
    k = _apart(model, layer, k[None], 0, distance)[0]
    for factor in (q, k):
        require_finite_weights(model, factor, "QK circuit over the vocabulary")
    return FactoredMatrix(q, (k - k.mean(0)).T)


def top_pairs(
    model: Transformer,
    head: tuple[int, int],
    k: int = 20,
    embedding: Embedding = "tokens",
    distance: int = 0,
    progress: Progress = silent,
) -> Entries:
    """The query–key token pairs with the highest scores, each minus its query's mean over keys (row: query)."""
    matrix = full_qk(model, head, embedding, distance, part(progress, 0, 0.2))
    return top_entries(matrix, k, part(progress, 0.2, 1))
