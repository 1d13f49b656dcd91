"""Muon on the attention matrices, AdamW on the rest, and one schedule for both."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from lens.model import Transformer

NS = (3.4445, -4.7750, 2.0315)  # Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers"


def orthogonalised(G: Float[Tensor, "matrix rows columns"], steps: int = 5) -> Float[Tensor, "matrix rows columns"]:
    """The nearest matrices with all singular values about 1 (Newton–Schulz, so between .7 and 1.2)."""
    a, b, c = NS
    tall = G.shape[-2] > G.shape[-1]
    X = (G.mT if tall else G).bfloat16()  # the products are short and the result is approximate anyway
    X = X / (X.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        A = X @ X.mT
        X = a * X + (b * A + c * A @ A) @ X
    return (X.mT if tall else X).to(G.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum whose step is orthogonalised, a matrix [d_model, d_head] of one head at a time.

    The step of a tall matrix is scaled by sqrt(rows / columns). Weight decay is decoupled, times the learning rate.
    """

    def __init__(self, params: Iterable[Tensor], lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(list(params), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        """One step for every matrix, all of them in one batched product. They must have one shape but for a turn."""
        for group in self.param_groups:
            params = group["params"]
            for p in params:
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                momentum.lerp_(p.grad, 1 - group["momentum"])
            nesterov = [p.grad.lerp(self.state[p]["momentum"], group["momentum"]) for p in params]
            tall = [g if g.shape[-2] >= g.shape[-1] else g.mT for g in nesterov]
            steps = orthogonalised(torch.cat(tall)).split([len(g) for g in tall])
            for p, g, step in zip(params, nesterov, steps, strict=True):
                size = group["lr"] * (step.shape[-2] / step.shape[-1]) ** 0.5
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(step if g.shape == step.shape else step.mT, alpha=size)


def attention_matrices(model: Transformer) -> list[Tensor]:
    """W_Q, W_K, W_V and W_O of every layer."""
    return [getattr(block.attn, name) for block in model.blocks for name in ("W_Q", "W_K", "W_V", "W_O")]


def rate(step: int, steps: int, warm_up: int, decay_share: float) -> float:
    """The learning rate of a step, as a share of its largest: up in a line, level, down in a line to 0."""
    until_end = (steps - step) / max(1, decay_share * steps)
    return min(1.0, (step + 1) / warm_up, until_end)
