"""Stand-ins for analyses, importable by name as the cache demands, that count how often they run."""

from typing import NamedTuple

import torch

CALLS: list[tuple] = []


class Squares(NamedTuple):
    value: torch.Tensor
    mean: torch.Tensor
    unit: str


def squares(x: torch.Tensor, scale: float = 1.0) -> Squares:
    CALLS.append(("squares", tuple(x.tolist()), scale))
    return Squares(scale * x**2, (scale * x**2).mean(), "nats")


def cell(number: int, scale: float = 1.0) -> torch.Tensor:
    CALLS.append(("cell", number, scale))
    return torch.full((2,), number * scale)


def with_progress(steps: int, progress) -> int:
    for step in range(steps):
        progress(step / steps, f"step {step}")
    return steps


def failing(x: int) -> int:
    raise RuntimeError(f"broken at {x}")
