"""How long a computation will take, roughly: enough to decide whether to ask first, and whose turn it is."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lens.analysis.instruments.instrument import Cost
    from lens.model import Transformer

CPU, GPU = 7.5e10, 5e12  # floating-point operations a second: measured with SmolLM2 on one core; assumed
LOOKED_UP = ("embed.", "pos_embed.")  # not multiplied


def forward_seconds(model: "Transformer", n_tokens: int, unembed: bool = True) -> float:
    """Seconds to read ``n_tokens`` and, with ``unembed``, predict at each: two operations per weight and token.

    Only weights that multiply count. Attention's own square is left out.
    """
    outside = LOOKED_UP if unembed else (*LOOKED_UP, "unembed.")
    n_weights = sum(p.numel() for name, p in model.named_parameters() if not name.startswith(outside))
    return operation_seconds(model, 2 * n_weights * n_tokens)


def operation_seconds(model: "Transformer", n_operations: int) -> float:
    """Seconds for so many floating-point operations where the model lies."""
    return n_operations / (CPU if model.device.type == "cpu" else GPU)


def cost_seconds(model: "Transformer", cost: "Cost", unembed: bool = True) -> float:
    """Seconds of what instruments take."""
    return forward_seconds(model, cost.tokens, unembed) + operation_seconds(model, cost.operations)


class Kind(NamedTuple):
    """What computations have in common that take about as long: the function, and the order of the model's size."""

    function: str
    size: int  # binary digits of the number of weights


class Costs:
    """Seconds that earlier runs of each kind took: of the thread that computed, since the clock on the wall also counts
    what other visitors' pages took meanwhile.
    """

    def __init__(self) -> None:
        self._seconds: dict[Kind, float] = {}

    def note(self, kind: Kind, seconds: float) -> None:
        """One more run. Runs of a kind differ, by the length of a prompt for instance: the longer ones count more."""
        before = self._seconds.get(kind, 0.0)
        self._seconds[kind] = max(seconds, (before + seconds) / 2)

    def expected(self, kind: Kind, otherwise: float) -> float:
        """Seconds of the next run; ``otherwise`` where none was measured yet."""
        return self._seconds.get(kind, otherwise)


def n_weights(values: Iterable[object]) -> int:
    """Weights of the models among the arguments of a computation."""
    import torch

    models = [value for value in values if isinstance(value, torch.nn.Module)]
    return sum(weight.numel() for model in models for weight in model.parameters())
