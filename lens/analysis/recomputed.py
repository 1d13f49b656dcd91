"""Attention patterns and MLP outputs computed a second time, in float64, from what a run kept and from the config.

Written from the definitions alone: nothing of the forward pass is called, so that an error there shows as a difference.
All of it happens on the processor: not every other device has float64.
"""

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lens.components import Norm
from lens.config import Config
from lens.positions import linear_bias

if TYPE_CHECKING:
    from lens.cache import ActivationCache

ACTIVATIONS = {
    "gelu_new": lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "relu": lambda x: x.clamp(min=0),
    "solu": lambda x: x * torch.exp(x - x.logsumexp(-1, keepdim=True)),
}


def exact(x: Tensor) -> Tensor:
    """``x`` in float64 on the processor."""
    return x.detach().cpu().double()


def attention_pattern(cache: "ActivationCache", layer: int) -> Float[Tensor, "batch head query key"]:
    """What the heads of ``layer`` attend to, from hook_q and hook_k: norm, rotation, scale, cap, bias, mask, softmax.

    The cache must come from texts without pads.
    """
    cfg, attn = cache.model.cfg, cache.model.blocks[layer].attn
    q, k = exact(cache["q", layer]), exact(cache["k", layer])
    if cfg.qk_norm is not None:
        q, k = normalised(attn.q_norm, q), normalised(attn.k_norm, k)
    if cfg.positions == "rotary":
        q, k = rotated(cfg, layer, q), rotated(cfg, layer, k)
    k = k.repeat_interleave(cfg.group_size, dim=2)
    scale = cfg.attn_scale * (layer + 1 if cfg.scale_by_layer else 1)
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / scale
    if cfg.attn_softcap is not None:
        scores = cfg.attn_softcap * torch.tanh(scores / cfg.attn_softcap)
    place = torch.arange(q.shape[1])
    if cfg.positions == "alibi":
        scores = scores + linear_bias(cfg, place[None], n_past=0).double()
    back = place[:, None] - place
    seen = (back >= 0) & (back < (cfg.window(layer) or len(place)))
    return scores.masked_fill(~seen, -torch.inf).softmax(-1)


def rotated(
    cfg: Config, layer: int, x: Float[Tensor, "batch pos head d_head"]
) -> Float[Tensor, "batch pos head d_head"]:
    """Each pair of dimensions as a complex number, multiplied by ``gain * exp(i * angle)``; the rest stays."""
    local = cfg.local_rotary_base is not None and cfg.window(layer) is not None
    pair = torch.arange(cfg.rotary_dim // 2, dtype=torch.float64)
    rate = (cfg.local_rotary_base if local else cfg.rotary_base) ** (-2 * pair / cfg.rotary_dim)
    if cfg.rotary_divisors is not None and not local:
        rate = rate / torch.tensor(cfg.rotary_divisors, dtype=torch.float64)
    angle = torch.arange(x.shape[1])[:, None, None] * rate
    turn = torch.polar(torch.full_like(angle, 1.0 if local else cfg.rotary_gain), angle)
    turning, rest = x[..., : cfg.rotary_dim], x[..., cfg.rotary_dim :]
    order = (-1, 2) if cfg.rotary_adjacent else (2, -1)
    pairs = turning.unflatten(-1, order)
    pairs = pairs if cfg.rotary_adjacent else pairs.transpose(-1, -2)
    out = torch.view_as_real(torch.view_as_complex(pairs.contiguous()) * turn)
    out = out if cfg.rotary_adjacent else out.transpose(-1, -2)
    return torch.cat([out.flatten(-2), rest], dim=-1)


def mlp_output(cache: "ActivationCache", layer: int) -> Float[Tensor, "batch pos d_model"]:
    """What the MLP of ``layer`` adds to the stream, from ``ln2.hook_normalized`` (without a norm, from the stream)."""
    cfg, block = cache.model.cfg, cache.model.blocks[layer]
    mlp, weights = block.mlp, {name: exact(weight) for name, weight in block.mlp.named_parameters()}
    if isinstance(block.ln2, Norm):
        x = with_gain(block.ln2, exact(cache["normalized", layer, "ln2"]))
    else:
        x = exact(cache["resid_pre" if cfg.parallel else "resid_mid", layer])
    linear = x @ weights["W_in"] + weights["b_in"]
    post = ACTIVATIONS[cfg.act_fn](x @ weights["W_gate"] + weights["b_gate"] if cfg.gated_mlp else linear)
    post = normalised(mlp.ln, post) if cfg.mlp_norm else post
    out = (post * linear if cfg.gated_mlp else post) @ weights["W_out"] + weights["b_out"]
    return normalised(block.ln2_post, out) if cfg.post_norm else out


def normalised(norm: nn.Module, x: Float[Tensor, "*axes d"]) -> Float[Tensor, "*axes d"]:
    """``x`` through a norm of the model, gain and bias applied."""
    x = x - x.mean(norm.axes, keepdim=True) if norm.centred else x
    return with_gain(norm, x / (x.square().mean(norm.axes, keepdim=True) + norm.eps).sqrt())


def with_gain(norm: nn.Module, normalized: Float[Tensor, "*axes d"]) -> Float[Tensor, "*axes d"]:
    """The learned gain and bias of a norm applied to what it normalised."""
    return normalized * exact(norm.w) + (exact(norm.b) if norm.centred else 0)
