"""The parts of a transformer block: embeddings, norm, attention, MLP. Every activation passes a named hook point."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lens.config import Config
from lens.hooks import HookPoint

ACT_FN = {
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "gelu": F.gelu,
    "silu": F.silu,
    "relu": F.relu,
}


class Rotation(NamedTuple):
    """Angles of the rotary embedding at the positions of one forward pass."""

    cos: Float[Tensor, "batch pos 1 half_rotary"]
    sin: Float[Tensor, "batch pos 1 half_rotary"]


class Places(NamedTuple):
    """Where the tokens of one forward pass stand, and which keys each query may see."""

    positions: Int[Tensor, "batch pos"]
    allowed: Bool[Tensor, "batch 1 query key"]
    rotation: Rotation | None


class KeyValues:
    """Keys (rotated) and values of the tokens already read, per layer, so that generating reads each token once."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def n_pos(self) -> int:
        """How many positions are already held."""
        return self.layers[0][0].shape[1] if self.layers else 0

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values of ``layer``, the new ones last; they are held from now on."""
        if layer in self.layers:
            old_k, old_v = self.layers[layer]
            k, v = torch.cat([old_k, k], dim=1), torch.cat([old_v, v], dim=1)
        self.layers[layer] = (k, v)
        return k, v


def _weight(*shape: int, std: float) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape).normal_(std=std))


def _bias(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape))


class Embed(nn.Module):
    """A row of W_E per token."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.W_E = _weight(cfg.d_vocab, cfg.d_model, std=0.8 / cfg.d_model**0.5)

    def forward(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
        return F.embedding(tokens, self.W_E)


class PosEmbed(nn.Module):
    """A row of W_pos per position."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.W_pos = _weight(cfg.n_ctx, cfg.d_model, std=0.8 / cfg.d_model**0.5)

    def forward(self, positions: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
        return F.embedding(positions, self.W_pos)


class Unembed(nn.Module):
    """Logits of every token of the vocabulary."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.W_U = _weight(cfg.d_model, cfg.d_vocab, std=0.8 / cfg.d_model**0.5)
        self.b_U = _bias(cfg.d_vocab)

    def forward(self, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_vocab"]:
        return F.linear(x, self.W_U.T, self.b_U)


class Norm(nn.Module):
    """LayerNorm, or RMSNorm (no mean, no bias). ``hook_normalized`` is before the learned gain and bias."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.centred, self.eps = cfg.norm == "LN", cfg.norm_eps
        self.w = nn.Parameter(torch.ones(cfg.d_model))
        if self.centred:
            self.b = _bias(cfg.d_model)
        self.hook_scale = HookPoint()  # [batch, pos, 1]
        self.hook_normalized = HookPoint()  # [batch, pos, d_model]

    def forward(self, resid: Float[Tensor, "*axes d_model"]) -> Float[Tensor, "*axes d_model"]:
        x = resid.float()
        if self.centred:
            x = x - x.mean(-1, keepdim=True)
        scale = self.hook_scale((x.pow(2).mean(-1, keepdim=True) + self.eps).sqrt())
        x = self.hook_normalized((x / scale).to(resid.dtype))
        return x * self.w + self.b if self.centred else x * self.w


def rotate(x: Float[Tensor, "batch pos head d_head"], rotation: Rotation) -> Float[Tensor, "batch pos head d_head"]:
    """Turn each pair of dimensions (i, i + rotary_dim/2) by its angle; dimensions past rotary_dim stay."""
    half = rotation.cos.shape[-1]
    a, b, rest = x.split([half, half, x.shape[-1] - 2 * half], dim=-1)
    return torch.cat([a * rotation.cos - b * rotation.sin, b * rotation.cos + a * rotation.sin, rest], dim=-1)


def per_head(
    x: Float[Tensor, "batch pos *head d_model"],
    W: Float[Tensor, "head d_model d_head"],
    b: Float[Tensor, "head d_head"],
) -> Float[Tensor, "batch pos head d_head"]:
    """``x @ W + b`` for every head; ``x`` is shared by the heads, or has one row for each."""
    if x.ndim == 4:
        return torch.einsum("bphm,hmd->bphd", x, W) + b
    out = F.linear(x, W.transpose(1, 2).flatten(0, 1), b.flatten())  # a view: loaders store W_Q, W_K, W_V for this
    return out.unflatten(-1, b.shape)


class Attention(nn.Module):
    """Causal self-attention. Query head ``h`` reads the keys and values of ``h // group_size``."""

    def __init__(self, cfg: Config, layer: int):
        super().__init__()
        self.cfg, self.layer = cfg, layer
        self.scale = cfg.attn_scale * (layer + 1 if cfg.scale_by_layer else 1)
        std, d_model, d_head = 0.8 / cfg.d_model**0.5, cfg.d_model, cfg.d_head
        self.W_Q = _weight(cfg.n_heads, d_model, d_head, std=std)
        self.W_K = _weight(cfg.n_kv_heads, d_model, d_head, std=std)
        self.W_V = _weight(cfg.n_kv_heads, d_model, d_head, std=std)
        self.W_O = _weight(cfg.n_heads, d_head, d_model, std=std)
        self.b_Q, self.b_O = _bias(cfg.n_heads, d_head), _bias(d_model)
        self.b_K, self.b_V = _bias(cfg.n_kv_heads, d_head), _bias(cfg.n_kv_heads, d_head)
        self.hook_q, self.hook_k, self.hook_v = HookPoint(), HookPoint(), HookPoint()  # [batch, pos, head, d_head]
        if cfg.positions == "rotary":
            self.hook_rot_q, self.hook_rot_k = HookPoint(), HookPoint()
        self.hook_attn_scores = HookPoint()  # [batch, head, query, key], -inf where a query may not look
        self.hook_pattern = HookPoint()  # [batch, head, query, key]
        self.hook_z = HookPoint()  # [batch, pos, head, d_head]
        self.hook_result = HookPoint(on_request=True)  # [batch, pos, head, d_model]

    def forward(
        self, q_in: Tensor, k_in: Tensor, v_in: Tensor, places: Places, past: KeyValues | None = None
    ) -> Float[Tensor, "batch pos d_model"]:
        q = self.hook_q(per_head(q_in, self.W_Q, self.b_Q))
        k = self.hook_k(per_head(k_in, self.W_K, self.b_K))
        v = self.hook_v(per_head(v_in, self.W_V, self.b_V))
        if places.rotation is not None:
            q = self.hook_rot_q(rotate(q, places.rotation))
            k = self.hook_rot_k(rotate(k, places.rotation))
        if past is not None:
            k, v = past.extend(self.layer, k, v)
        pattern = self.hook_pattern(self.attend(q, k, places.allowed))
        return self.write(self.hook_z(self.mix(pattern, v)))

    def attend(self, q: Tensor, k: Tensor, allowed: Bool[Tensor, "batch 1 query key"]) -> Tensor:
        """Pattern [batch, head, query, key]; the softmax is taken in float32 whatever the weights are."""
        n_query, group = q.shape[1], self.cfg.group_size
        q = rearrange(q, "batch query (kv_head group) d_head -> batch kv_head (group query) d_head", group=group)
        scores = q @ rearrange(k, "batch key kv_head d_head -> batch kv_head d_head key") / self.scale
        scores = rearrange(scores, "batch kv_head (group query) key -> batch (kv_head group) query key", query=n_query)
        scores = self.hook_attn_scores(scores.masked_fill(~allowed, -torch.inf))
        return scores.float().softmax(-1).to(q.dtype)

    def mix(self, pattern: Tensor, v: Tensor) -> Float[Tensor, "batch query head d_head"]:
        """Average of the values under the pattern."""
        group, n_query = self.cfg.group_size, pattern.shape[2]
        pattern = rearrange(pattern, "batch (kv_head group) query key -> batch kv_head (group query) key", group=group)
        z = pattern @ rearrange(v, "batch key kv_head d_head -> batch kv_head key d_head")
        return rearrange(z, "batch kv_head (group query) d_head -> batch query (kv_head group) d_head", query=n_query)

    def write(self, z: Float[Tensor, "batch pos head d_head"]) -> Float[Tensor, "batch pos d_model"]:
        """What all heads together add to the residual stream, output bias included."""
        if self.hook_result.active:
            return self.hook_result(torch.einsum("bphd,hdm->bphm", z, self.W_O)).sum(2) + self.b_O
        return F.linear(z.flatten(2), self.W_O.flatten(0, 1).T, self.b_O)


class MLP(nn.Module):
    """``act(x W_in) W_out``, or gated: ``(act(x W_gate) * (x W_in)) W_out``; each product with its bias."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.gated, self.act_fn = cfg.gated_mlp, ACT_FN[cfg.act_fn]
        std = 0.8 / cfg.d_model**0.5
        self.W_in, self.b_in = _weight(cfg.d_model, cfg.d_mlp, std=std), _bias(cfg.d_mlp)
        self.W_out, self.b_out = _weight(cfg.d_mlp, cfg.d_model, std=std), _bias(cfg.d_model)
        self.hook_pre, self.hook_post = HookPoint(), HookPoint()  # [batch, pos, d_mlp]
        if self.gated:
            self.W_gate, self.b_gate = _weight(cfg.d_model, cfg.d_mlp, std=std), _bias(cfg.d_mlp)
            self.hook_pre_linear = HookPoint()

    def forward(self, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        linear = F.linear(x, self.W_in.T, self.b_in)
        if self.gated:
            gate = self.hook_pre(F.linear(x, self.W_gate.T, self.b_gate))
            post = self.act_fn(gate) * self.hook_pre_linear(linear)
        else:
            post = self.act_fn(self.hook_pre(linear))
        return F.linear(self.hook_post(post), self.W_out.T, self.b_out)
