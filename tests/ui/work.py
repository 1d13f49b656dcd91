"""Stand-ins for analyses, importable by name as the cache demands, that count how often they run."""

import time
from typing import NamedTuple

import torch

from lens.batching import at_once

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


def slow(path: str, steps: int, progress) -> int:
    """Writes a line at each step, so that another process sees how far it came."""
    for step in range(steps):
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{step}\n")
        time.sleep(0.02)
        progress(step / steps, f"step {step}")
    return steps


def hungry(most: int) -> int:
    """How many of 8 rows were computed at once on a machine that has memory for ``most``."""
    CALLS.append(("hungry", at_once(8)))
    if at_once(8) > most:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.")
    return at_once(8)
