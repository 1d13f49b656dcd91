"""How long a forward pass will take, roughly: enough to decide whether to ask first."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lens.analysis.instruments.instrument import Cost

CPU, GPU = 5e10, 5e12  # floating-point operations a second: measured with SmolLM2 on one core; assumed
LOOKED_UP = ("embed.", "pos_embed.")  # not multiplied


def forward_seconds(model: Any, n_tokens: int, unembed: bool = True) -> float:
    """Seconds to read ``n_tokens`` and, with ``unembed``, predict at each: two operations per weight and token.

    Only weights that multiply count. Attention's own square is left out.
    """
    outside = LOOKED_UP if unembed else (*LOOKED_UP, "unembed.")
    n_weights = sum(p.numel() for name, p in model.named_parameters() if not name.startswith(outside))
    return operation_seconds(model, 2 * n_weights * n_tokens)


def operation_seconds(model: Any, n_operations: int) -> float:
    """Seconds for so many floating-point operations where the model lies."""
    return n_operations / (CPU if model.device.type == "cpu" else GPU)


def cost_seconds(model: Any, cost: "Cost", unembed: bool = True) -> float:
    """Seconds of what instruments take."""
    return forward_seconds(model, cost.tokens, unembed) + operation_seconds(model, cost.operations)
