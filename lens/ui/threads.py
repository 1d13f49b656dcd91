"""How many threads torch computes with. The size of the model decides, never how busy the machine is: sums that are
split otherwise round otherwise, and a number must not depend on who else is visiting.
"""

from functools import cache

LARGE = 5_000_000  # weights. With fewer, threads mostly wait for each other: the self-test takes 13 s on two, 10 on one


def use_threads(n_weights: int) -> None:
    """All threads that torch would use by itself for a model of so many weights if it is large, else one.

    In this thread, and in those that begin after it.
    """
    import torch

    every = _every()
    torch.set_num_threads(every if n_weights >= LARGE else 1)


@cache
def _every() -> int:
    """As many as the environment says, or the machine has: asked before anything else is set."""
    import torch

    return torch.get_num_threads()
