"""What a pair of heads says in words: the strongest directions of its virtual weights, each as tokens at both ends."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.composition import Mode, virtual_weights
from lens.analysis.head_weights import Weights
from lens.analysis.names import Head
from lens.batching import at_once
from lens.factored import FactoredMatrix
from lens.model import Transformer

ROWS = 4096  # of the vocabulary read at once
ENDS = ("+", "−")  # a direction has two: tokens of one end go with those of the same end on the other side
COLUMNS = {
    "Q": "keys then looked for (embedding)",
    "K": "queries that then find it (embedding)",
    "V": "tokens then written (unembedding)",
}


@dataclass(frozen=True)
class VirtualTokens:
    """Singular directions of one virtual matrix, the largest first, as the tokens that lie farthest along each."""

    share: Float[Tensor, " direction"]  # of the squared norm; all directions together are 1
    read: Int[Tensor, "direction end token"]  # ids whose embedding the sender reads, ends + and −
    read_at: Float[Tensor, "direction end token"]  # along the direction, minus the mean over the vocabulary
    written: Int[Tensor, "direction end token"]  # ids at the receiver's side: see COLUMNS
    written_at: Float[Tensor, "direction end token"]
    columns: str  # what the receiver's side is
    norm: float  # Frobenius norm of the whole matrix


@torch.no_grad()
def virtual_tokens(
    model: Transformer,
    pair: tuple[Head, Head],
    mode: Mode,
    offset: int = 0,
    weights: Weights = "folded",
    size: tuple[int, int] = (4, 8),
) -> VirtualTokens:
    """The first ``size[0]`` singular directions of ``virtual_weights(*pair)``, with ``size[1]`` tokens at each end.

    Embeddings stand for the stream that the sender reads, and unembeddings (with the final norm's gain if folded) for
    what V writes; layers in between are left out. The vocabulary is read in chunks.
    """
    matrix = virtual_weights(model, *pair, mode, offset, weights)
    U, S, V = matrix.svd()
    n = min(size[0], S.shape[-1])
    sides = [(U[:, :n], True), (V[:, :n], mode != "V")]
    ends = [_ends(model, side, embedded, weights, size[1]) for side, embedded in sides]
    squares = S.square()
    share = squares[:n] / squares.sum().clamp(min=torch.finfo(squares.dtype).tiny)
    return VirtualTokens(share, *ends[0], *ends[1], COLUMNS[mode], float(_norm(matrix)))


def _ends(
    model: Transformer, side: Float[Tensor, "d_model direction"], embedded: bool, weights: Weights, count: int
) -> tuple[Int[Tensor, "direction end token"], Float[Tensor, "direction end token"]]:
    along = _along(model, side, embedded, weights)
    along = along - along.mean(0)
    count = min(count, len(along))
    both = [along.topk(count, dim=0), (-along).topk(count, dim=0)]
    ids = torch.stack([found.indices.T for found in both], dim=1)
    return ids, along.T.gather(1, ids.flatten(1)).view_as(ids)


def _along(
    model: Transformer, side: Float[Tensor, "d_model direction"], embedded: bool, weights: Weights
) -> Float[Tensor, "d_vocab direction"]:
    """Every token's embedding, or unembedding, along each direction."""
    if embedded:
        ids = torch.arange(model.cfg.d_vocab, device=side.device)
        return torch.cat([model.embed(part).to(side.dtype) @ side for part in ids.split(at_once(ROWS))])
    if weights == "folded" and model.cfg.final_norm is not None:
        side = model.ln_final.w.to(side.dtype)[:, None] * side
    return torch.cat([part.to(side.dtype).T @ side for part in model.unembed.W_U.split(at_once(ROWS), dim=1)])


def _norm(matrix: FactoredMatrix) -> Tensor:
    return matrix.norm().squeeze()
