"""Where tokens stand and what they may see: masks, windows, rotary angles, linear biases, rows of W_pos."""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lens.components import weight
from lens.config import Config


class Rotation(NamedTuple):
    """Cosine and sine of the rotary angles at the positions of one forward pass."""

    cos: Float[Tensor, "batch pos 1 half_rotary"]
    sin: Float[Tensor, "batch pos 1 half_rotary"]
    adjacent: bool  # pairs are (2i, 2i + 1), not (i, i + rotary_dim/2)


class Places(NamedTuple):
    """Where the tokens of one forward pass stand, and which keys each query may see."""

    positions: Int[Tensor, "batch pos"]
    allowed: dict[int | None, Bool[Tensor, "batch 1 query key"]]  # for each width of window that the model has
    rotation: Rotation | None = None
    local_rotation: Rotation | None = None  # of layers with a window
    bias: Float[Tensor, "batch head query key"] | None = None  # added to the scores
    pos_embed: Float[Tensor, "batch pos d_model"] | None = None  # added to what q and k are made from

    def to(self, device: torch.device) -> "Places":
        """The same on another device; itself if it is there."""
        return self if self.positions.device == device else _moved(self, device)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _moved(one, device) for key, one in value.items()}
    return type(value)(*(_moved(one, device) for one in value)) if isinstance(value, tuple) else value


class PosEmbed(nn.Module):
    """A row of W_pos per position."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.W_pos = weight(cfg, cfg.n_ctx, cfg.d_model)

    def forward(self, positions: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
        return F.embedding(positions, self.W_pos)


def find_places(cfg: Config, x: Tensor, attention_mask: Tensor | None, n_past: int, dtype: torch.dtype) -> Places:
    """Positions (a pad takes none), visible keys, angles and biases for an input of shape [batch, pos, …].

    ``n_past`` tokens were read before; ``attention_mask`` [batch, n_past + pos] is True at real tokens, past ones
    included.
    """
    n_new, device = x.shape[1], x.device
    if n_past + n_new > cfg.n_ctx:
        raise ValueError(f"{n_past + n_new} tokens; this model reads at most {cfg.n_ctx}. Shorten the text.")
    key = torch.arange(n_past + n_new, device=device)
    distance = key[n_past:, None] - key
    allowed = (distance >= 0)[None, None]
    positions = key[None]  # [1, key] while all rows agree
    if attention_mask is not None:
        if attention_mask.shape != (x.shape[0], n_past + n_new):
            raise ValueError(
                f"attention_mask has shape {list(attention_mask.shape)}; wanted {[x.shape[0], n_past + n_new]}."
            )
        real = attention_mask.bool()
        # A pad sees itself, so that its row of the pattern is still a distribution.
        allowed = allowed & (real[:, None, None] | (distance == 0))
        positions = (real.cumsum(-1) - 1).clamp(min=0)
    new = positions[:, n_past:]
    widths = set(cfg.windows or (None,))
    rotary = cfg.positions == "rotary"
    local = rotary and cfg.local_rotary_base is not None
    return Places(
        positions=new.expand(x.shape[0], -1),
        allowed={width: allowed if width is None else allowed & (distance < width) for width in widths},
        rotation=find_rotation(cfg, new, dtype) if rotary else None,
        local_rotation=find_rotation(cfg, new, dtype, local=True) if local else None,
        bias=linear_bias(cfg, positions, n_past) if cfg.positions == "alibi" else None,
    )


def find_rotation(
    cfg: Config, positions: Int[Tensor, "batch pos"], dtype: torch.dtype, local: bool = False
) -> Rotation:
    """Cosine and sine of ``position * base^(-2i / rotary_dim) / divisor_i``; neither divisor nor gain if ``local``."""
    half = torch.arange(0, cfg.rotary_dim, 2, device=positions.device).float()
    frequencies = (cfg.local_rotary_base if local else cfg.rotary_base) ** (-half / cfg.rotary_dim)
    if cfg.rotary_divisors is not None and not local:
        frequencies = frequencies / torch.tensor(cfg.rotary_divisors, device=positions.device)
    angles = positions[..., None, None] * frequencies
    cos, sin = angles.cos(), angles.sin()
    if cfg.rotary_gain != 1 and not local:
        cos, sin = cos * cfg.rotary_gain, sin * cfg.rotary_gain
    return Rotation(cos.to(dtype), sin.to(dtype), cfg.rotary_adjacent)


def rotate(x: Float[Tensor, "batch pos head d_head"], rotation: Rotation) -> Float[Tensor, "batch pos head d_head"]:
    """Turn each pair of dimensions by its angle; dimensions past rotary_dim stay."""
    half = rotation.cos.shape[-1]
    if rotation.adjacent:
        pairs, rest = x.split([2 * half, x.shape[-1] - 2 * half], dim=-1)
        a, b = pairs[..., 0::2], pairs[..., 1::2]
        turned = torch.stack([a * rotation.cos - b * rotation.sin, b * rotation.cos + a * rotation.sin], dim=-1)
        return torch.cat([turned.flatten(-2), rest], dim=-1)
    a, b, rest = x.split([half, half, x.shape[-1] - 2 * half], dim=-1)
    return torch.cat([a * rotation.cos - b * rotation.sin, b * rotation.cos + a * rotation.sin, rest], dim=-1)


def alibi_slopes(n_heads: int) -> Float[Tensor, " head"]:
    """How much a score falls per token of distance, for each head.

    For h heads, a power of 2, 2^(-8 (i + 1) / h); otherwise those of the power below, and then every second one
    of the power above. Source: Press et al. 2021, "Train short, test long", and their code.
    """
    below = 2 ** math.floor(math.log2(n_heads))
    exponents = [(i + 1) / below for i in range(below)]
    exponents += [(2 * i + 1) / (2 * below) for i in range(n_heads - below)]
    return 2.0 ** (-8 * torch.tensor(exponents))


def linear_bias(cfg: Config, positions: Int[Tensor, "batch key"], n_past: int) -> Float[Tensor, "batch head query key"]:
    """``slope * (position of key − position of query)``, what distance takes from a score; float32."""
    slopes = alibi_slopes(cfg.n_heads).to(positions.device)
    if cfg.alibi_bf16:
        ramp = (slopes[:, None].bfloat16() * positions[:, None]).float()
    else:
        ramp = slopes[:, None] * positions[:, None]
    return (ramp[:, :, None] - ramp[:, :, n_past:, None]) * cfg.alibi_scale
