"""How long a forward pass will take, roughly: enough to decide whether to ask first."""

from typing import Any

CPU, GPU = 5e10, 5e12  # floating-point operations a second: measured with SmolLM2 on one core; assumed
LOOKED_UP = ("embed.", "pos_embed.")


def forward_seconds(model: Any, n_tokens: int) -> float:
    """Seconds to read ``n_tokens`` and predict at each: two operations per weight that multiplies, and token.

    Attention's own square is left out; the embeddings are looked up, not multiplied.
    """
    n_weights = sum(parameter.numel() for name, parameter in model.named_parameters() if not name.startswith(LOOKED_UP))
    return 2 * n_weights * n_tokens / (CPU if model.device.type == "cpu" else GPU)
