"""How much of a head's attention depends on what the text says, beyond habits of position."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lens.analysis.names import Head
from lens.analysis.pattern_scores import row_entropy, stripe

OFFSETS = 5  # looking at itself, or 1 to 4 tokens back
WINDOW = 16  # looking around here
STEPS = 60  # of expectation maximisation; hand-made mixtures are met to 0.01 nats
CONTENT_DEPENDENCE = (
    "Nats per query of the attention that no text-blind habit explains: the mean over queries q ≥ 1 of "
    "KL(attention ‖ mixture), where the mixture of 'the first token', 'itself', '1 to 4 tokens back', 'the last "
    f"{WINDOW} tokens alike' and 'all tokens alike' is fitted to the head on this text."
)


def most_content_dependent(scores: Float[Tensor, "layer head"]) -> Head:
    """The head with the largest :func:`content_dependence` (the earliest of equals)."""
    return Head(*divmod(int(scores.argmax()), scores.shape[1]))


class Zones(NamedTuple):
    """What the mixture needs of a pattern, for queries q >= 1: so little that all heads are done at once."""

    mass: Float[Tensor, "head query_1 zone"]
    entropy: Float[Tensor, "head query_1"]


def zones(pattern: Float[Tensor, "head query key"]) -> Zones:
    """Mass and entropy of each query's attention."""
    return Zones(_mass(pattern), row_entropy(pattern)[:, 1:])


def content_dependence(attention: Zones) -> Float[Tensor, " head"]:
    """Nats per query of a head's attention that habits which never read the text leave unexplained.

    See ``CONTENT_DEPENDENCE``. 0 for a head that always looks at the first token, a fixed distance back, nearby or
    evenly, or mixes these in fixed shares; an induction head, whose long distance no habit names, gets about ln(q+1).
    Weights are fitted by expectation maximisation, which converges to the mixture with the smallest KL. Heads of any
    layers in one go.
    """
    n_heads, n_queries, _ = attention.mass.shape
    mass, habits = attention.mass.flatten(1), _habits(n_queries + 1).to(attention.mass).flatten(1)
    share = torch.full((n_heads, len(habits)), 1 / len(habits), device=mass.device)
    for _ in range(STEPS):
        mixture = share @ habits
        explained = torch.where(mixture > 0, mass / mixture, 0)
        share = share * (explained @ habits.T) / n_queries
    mixture = share @ habits
    cross_entropy = -torch.xlogy(mass, mixture.clamp(min=torch.finfo(mixture.dtype).tiny)).unflatten(1, (n_queries, -1))
    return (cross_entropy.sum(-1) - attention.entropy).mean(-1).clamp(min=0)


def _mass(pattern: Float[Tensor, "head query key"]) -> Float[Tensor, "head query_1 zone"]:
    """Attention of each query q >= 1 to: the first token, itself, 1 … 4 back, the rest of the window, everything else.

    Every habit gives all keys of a zone the same probability, so these sums are all that is needed.
    """
    near = [F.pad(stripe(pattern, back)[:, 1:], (back + 1, 0)) for back in range(OFFSETS) if back < pattern.shape[-1]]
    first = pattern[:, :, 0]
    window = _in_window(pattern.shape[-1], pattern.device)
    nearby = (pattern * window).sum(-1)
    far = pattern[:, :, 1:].sum(-1) - nearby - sum(near)
    return torch.stack([first, *near, nearby, far.clamp(min=0)], dim=-1)[:, 1:]


def _in_window(n_pos: int, device: torch.device) -> Tensor:
    """Keys of the window that are neither the first token nor one of the offsets."""
    place = torch.arange(n_pos, device=device)
    distance = place[:, None] - place
    return (distance >= OFFSETS) & (distance < WINDOW) & (place >= 1)


def _habits(n_pos: int) -> Float[Tensor, "habit query_1 zone"]:
    """Probability that each habit gives to one key of each zone, for queries q >= 1.

    Habits: first, itself, 1 … 4 back (the first token where there are not as many), the window alike, all alike.
    """
    q = torch.arange(1, n_pos)
    offsets = min(OFFSETS, n_pos)
    n_zones = offsets + 3
    habits = torch.zeros(offsets + 3, len(q), n_zones)
    habits[0, :, 0] = 1
    for back in range(offsets):
        habits[1 + back, :, 1 + back] = (q > back).float()
        habits[1 + back, :, 0] = (q <= back).float()
    reaches_first = (q < WINDOW).float()
    in_window = 1 / (q + 1).clamp(max=WINDOW)
    habits[-2, :, 1:-1] = in_window[:, None]
    habits[-2, :, 0] = in_window * reaches_first
    habits[-1] = (1 / (q + 1))[:, None]
    return habits
