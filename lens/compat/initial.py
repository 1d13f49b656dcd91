"""Random weights for one's own model, by the classic schemes."""

import torch
from torch import Tensor, nn

MODES = ("gpt2", "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal")


def fans(weight: Tensor) -> tuple[int, int]:
    """How many numbers a weight reads and writes; heads [head, d_model, d_head] together write head x d_head."""
    if weight.ndim == 0:
        raise ValueError("A single number has no fan in or fan out.")
    if weight.ndim == 1:
        return 1, weight.shape[0]
    if weight.ndim == 2:
        return weight.shape[0], weight.shape[1]
    if weight.ndim == 3:
        return weight.shape[1], weight.shape[0] * weight.shape[2]
    raise ValueError(f"A weight of shape {list(weight.shape)} has no fan in and fan out; wanted at most 3 axes.")


@torch.no_grad()
def init_weights_(model: nn.Module) -> None:
    """Draw every ``W_`` of the model anew; biases and gains stay. ``cfg.seed``, if given, seeds torch.

    ``init_mode`` "gpt2" draws from N(0, initializer_range²), 0.8/√d_model by default; "xavier_…" and "kaiming_…" from
    the size of each matrix, times initializer_range (1 by default).
    """
    cfg = model.cfg
    if cfg.init_mode not in MODES:
        raise ValueError(f"init_mode={cfg.init_mode!r}; Lens has {', '.join(MODES)}.")
    if cfg.seed is not None:
        torch.manual_seed(cfg.seed)
    given = cfg.initializer_range if cfg.initializer_range > 0 else None
    for name, parameter in model.named_parameters():
        if "W_" not in name:
            continue
        if cfg.init_mode == "gpt2":
            parameter.normal_(std=given or 0.8 / cfg.d_model**0.5)
            continue
        fan_in, fan_out = fans(parameter)
        per_number = fan_in / 2 if cfg.init_mode.startswith("kaiming") else (fan_in + fan_out) / 2
        std = (given or 1.0) / per_number**0.5
        if cfg.init_mode.endswith("normal"):
            parameter.normal_(std=std)
        else:
            parameter.uniform_(-(3**0.5) * std, 3**0.5 * std)
