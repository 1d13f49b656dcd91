"""How many threads torch computes with. The size of the model decides, never how busy the machine is: sums that are
split otherwise round otherwise, and a number must not depend on who else is visiting.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

LARGE = 5_000_000  # weights. With fewer, threads mostly wait for each other: the self-test takes 13 s on two, 10 on one


@contextmanager
def threads_for(n_weights: int) -> Iterator[None]:
    """All threads that torch would use by itself for a model of so many weights if it is large, else one.

    In this thread, and in those that begin inside the block. After it, however it ends, one again: what pages compute
    themselves does not depend on what ran before.
    """
    import torch

    every = n_cores()
    torch.set_num_threads(every if n_weights >= LARGE else 1)
    try:
        yield
    finally:
        torch.set_num_threads(1)


@cache
def n_cores() -> int:
    """Threads of torch, as many as the environment says or the machine has: asked before anything else is set."""
    import torch

    return torch.get_num_threads()
