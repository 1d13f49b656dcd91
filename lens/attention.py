"""Causal self-attention, every step of it under a hook point."""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lens.components import Norm, at_least_float32, bias, softcapped, weight
from lens.config import Config
from lens.hooks import HookPoint
from lens.positions import Places, rotate


class KeyValues:
    """Keys (rotated) and values of the tokens already read, per layer, so that generating reads each token once."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def n_pos(self) -> int:
        """How many positions are already held."""
        return next((k.shape[1] for k, _ in self.layers.values()), 0)

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values of ``layer``, the new ones last; they are held from now on."""
        if layer in self.layers:
            old_k, old_v = self.layers[layer]
            k, v = torch.cat([old_k, k], dim=1), torch.cat([old_v, v], dim=1)
        self.layers[layer] = (k, v)
        return k, v


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
    """Causal self-attention. Query head ``h`` reads the keys and values of ``h // group_size``.

    ``hook_q`` and ``hook_k`` are linear in the input: before the norm of q and k, where there is one, and before the
    rotation; ``hook_rot_q`` and ``hook_rot_k`` are what the scores are made of.
    """

    def __init__(self, cfg: Config, layer: int):
        super().__init__()
        self.cfg, self.layer, self.window = cfg, layer, cfg.window(layer)
        self.scale = cfg.attn_scale * (layer + 1 if cfg.scale_by_layer else 1)
        self.local_rotary = self.window is not None and cfg.local_rotary_base is not None
        self.W_Q = weight(cfg, cfg.n_heads, cfg.d_model, cfg.d_head)
        self.W_K = weight(cfg, cfg.n_kv_heads, cfg.d_model, cfg.d_head)
        self.W_V = weight(cfg, cfg.n_kv_heads, cfg.d_model, cfg.d_head)
        self.W_O = weight(cfg, cfg.n_heads, cfg.d_head, cfg.d_model)
        self.b_Q, self.b_O = bias(cfg.n_heads, cfg.d_head), bias(cfg.d_model)
        self.b_K, self.b_V = bias(cfg.n_kv_heads, cfg.d_head), bias(cfg.n_kv_heads, cfg.d_head)
        self.hook_q, self.hook_k, self.hook_v = HookPoint(), HookPoint(), HookPoint()  # [batch, pos, head, d_head]
        if cfg.qk_norm is not None:
            n_axes = 2 if cfg.qk_norm == "all" else 1
            self.q_norm = Norm(cfg.norm, cfg.norm_eps, cfg.n_heads, cfg.d_head, n_axes=n_axes)
            self.k_norm = Norm(cfg.norm, cfg.norm_eps, cfg.n_kv_heads, cfg.d_head, n_axes=n_axes)
        if cfg.positions == "rotary":
            self.hook_rot_q, self.hook_rot_k = HookPoint(), HookPoint()
        self.hook_attn_scores = HookPoint()  # [batch, head, query, key], float32, -inf where a query may not look
        self.hook_pattern = HookPoint()  # [batch, head, query, key]
        self.hook_z = HookPoint()  # [batch, pos, head, d_head]
        self.hook_result = HookPoint(on_request=True)  # [batch, pos, head, d_model]

    def forward(
        self, q_in: Tensor, k_in: Tensor, v_in: Tensor, places: Places, past: KeyValues | None = None
    ) -> Float[Tensor, "batch pos d_model"]:
        q = self.hook_q(self.clipped(per_head(q_in, self.W_Q, self.b_Q)))
        k, v = self.keys_values(k_in, v_in)
        q, k = self.positioned("q", q, places), self.positioned("k", k, places)
        if past is not None:
            k, v = past.extend(self.layer, k, v)
        pattern = self.hook_pattern(self.attend(q, k, places.allowed[self.window], places.bias))
        return self.write(self.hook_z(self.mix(pattern, v)))

    def keys_values(self, k_in: Tensor, v_in: Tensor) -> tuple[Tensor, Tensor]:
        """Keys, before norm and rotation, and values."""
        k = self.hook_k(self.clipped(per_head(k_in, self.W_K, self.b_K)))
        return k, self.hook_v(self.clipped(per_head(v_in, self.W_V, self.b_V)))

    def clipped(self, x: Tensor) -> Tensor:
        """``x`` cut off at ± clip_qkv, where the model does so."""
        return x if self.cfg.clip_qkv is None else x.clamp(-self.cfg.clip_qkv, self.cfg.clip_qkv)

    def positioned(self, name: str, x: Tensor, places: Places) -> Tensor:
        """Queries (``name`` "q") or keys ("k") as the scores are made of them: normalised and rotated, where needed."""
        if self.cfg.qk_norm is not None:
            x = getattr(self, f"{name}_norm")(x)
        return self.rotated(name, x, places)

    def rotated(self, name: str, x: Tensor, places: Places) -> Tensor:
        """Queries or keys turned by the angles of their positions, where the model does so."""
        rotation = places.local_rotation if self.local_rotary else places.rotation
        return x if rotation is None else getattr(self, f"hook_rot_{name}")(rotate(x, rotation))

    def attend(
        self,
        q: Tensor,
        k: Tensor,
        allowed: Bool[Tensor, "batch 1 query key"],
        bias: Float[Tensor, "batch head query key"] | None = None,
    ) -> Tensor:
        """Pattern [batch, head, query, key]; scores and softmax are taken in float32 whatever the weights are.

        A product of queries and keys need not fit into float16 (65504), and a cap or a bias would then save nothing.
        """
        n_query, group, dtype = q.shape[1], self.cfg.group_size, q.dtype
        q, k = at_least_float32(q), at_least_float32(k)
        q = rearrange(q, "batch query (kv_head group) d_head -> batch kv_head (group query) d_head", group=group)
        scores = q @ rearrange(k, "batch key kv_head d_head -> batch kv_head d_head key") / self.scale
        scores = rearrange(scores, "batch kv_head (group query) key -> batch (kv_head group) query key", query=n_query)
        scores = softcapped(scores, self.cfg.attn_softcap)
        if bias is not None:
            scores = scores + bias
        scores = self.hook_attn_scores(scores.masked_fill(~allowed, -torch.inf))
        return at_least_float32(scores).softmax(-1).to(dtype)  # a hook may have put scores of the weights' format here

    def mix(self, pattern: Tensor, v: Tensor) -> Float[Tensor, "batch query head d_head"]:
        """Average of the values under the pattern."""
        group, n_query = self.cfg.group_size, pattern.shape[2]
        pattern = rearrange(pattern, "batch (kv_head group) query key -> batch kv_head (group query) key", group=group)
        z = pattern @ rearrange(v, "batch key kv_head d_head -> batch kv_head key d_head")
        return rearrange(z, "batch kv_head (group query) d_head -> batch query (kv_head group) d_head", query=n_query)

    def write(self, z: Float[Tensor, "batch pos head d_head"]) -> Float[Tensor, "batch pos d_model"]:
        """What all heads together write, output bias included."""
        if self.hook_result.active:
            return self.hook_result(torch.einsum("bphd,hdm->bphm", z, self.W_O)).sum(2) + self.b_O
        return F.linear(z.flatten(2), self.W_O.flatten(0, 1).T, self.b_O)
