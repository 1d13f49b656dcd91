"""Parts of attention patterns: stripes and entropies."""

import torch
from jaxtyping import Float
from torch import Tensor


def stripe(pattern: Float[Tensor, "*batch query key"], back: int) -> Float[Tensor, "*batch key"]:
    """A[key+back, key] for every key that has such a query: the attention to exactly ``back`` tokens ago."""
    return pattern.diagonal(offset=-back, dim1=-2, dim2=-1)


def row_entropy(pattern: Float[Tensor, "*batch query key"]) -> Float[Tensor, "*batch query"]:
    """Entropy of every query's attention, nats: 0 looks at one key, ln(query+1) at all alike."""
    return torch.special.entr(pattern).sum(-1)
