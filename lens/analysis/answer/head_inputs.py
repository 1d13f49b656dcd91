"""What stands in the stream before a head, write by write, as the head's queries and keys read it.

With the scales of the norms frozen as they were in the run (before the layer, and of queries and keys where the model
has such norms), a query is a sum over everything that wrote into the stream before; so is a key. Source: Elhage et al.
2021, "A mathematical framework for transformer circuits".
"""

from typing import Literal, NamedTuple

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.circuit_weights import read_through, write_through
from lens.analysis.names import Head, check_heads
from lens.attention import KeyValues
from lens.cache import ActivationCache
from lens.components import Norm, at_least_float32
from lens.config import Config
from lens.decompose import biases
from lens.hooked import HookedTransformer
from lens.positions import rotate

Side = Literal["q", "k"]
SIDES = {"q": "queries", "k": "keys"}


class Write(NamedTuple):
    """What writes into the stream: "embedding", "positions", "head", "mlp", or "biases", all of them together.

    "cut" is no write: what a model that cuts off its queries and keys takes from their sum.
    """

    kind: str
    layer: int | None = None
    head: int | None = None

    def __str__(self) -> str:
        if self.kind == "head":
            return f"{self.layer}.{self.head}"
        return self.kind if self.layer is None else f"{self.kind} {self.layer}"


class HeadInputs(NamedTuple):
    """Queries or keys of one head as a sum: over ``writes`` they add up to what the scores are made of."""

    values: Float[Tensor, "batch pos write d_head"]  # after the frozen norms and the rotation
    writes: tuple[Write, ...]


def writes_before(cfg: Config, layer: int) -> tuple[Write, ...]:
    """Everything that writes into the stream before ``layer``, in the order of the forward pass."""
    positions = [Write("positions")] if cfg.positions in ("learned", "shortformer") else []
    found = [Write("embedding"), *positions]
    for before in range(layer):
        found += [Write("head", before, head) for head in range(cfg.n_heads)]
        found += [] if cfg.attn_only else [Write("mlp", before)]
    return (*found, Write("biases"), *([Write("cut")] if cfg.clip_qkv is not None else []))


def why_not_a_sum(cfg: Config) -> str | None:
    """Why the queries of one head are no sum over writes by themselves; None where they are."""
    if cfg.qk_norm == "all" and cfg.norm == "LN":
        return "a LayerNorm over all heads together subtracts the mean of the other heads' queries from those of this"
    return None


def names_read(cfg: Config, layer: int) -> list[str]:
    """The activations that :func:`head_inputs` needs of a run."""
    names = ["hook_embed", *(["hook_pos_embed"] if cfg.positions in ("learned", "shortformer") else [])]
    names += [f"blocks.{at}.hook_resid_pre" for at in {0, layer}]
    names += [f"blocks.{before}.attn.hook_z" for before in range(layer)]
    names += [] if cfg.attn_only else [f"blocks.{before}.hook_mlp_out" for before in range(layer)]
    if cfg.norm is not None and cfg.post_norm:
        names += [f"blocks.{before}.ln1_post.hook_scale" for before in range(layer)]
    names += [f"blocks.{layer}.attn.hook_{side}" for side in SIDES]
    if cfg.qk_norm is not None:
        names += [f"blocks.{layer}.attn.{side}_norm.hook_scale" for side in SIDES]
    return names


@torch.no_grad()
def recorded(
    model: HookedTransformer, head: Head, tokens: Int[Tensor, "batch pos"], past: KeyValues | None = None
) -> ActivationCache:
    """A run up to the layer of ``head``, with what :func:`head_inputs` needs. ValueError where there is no such sum.

    ``past``: the tokens continue what it holds, and stand in it afterwards.
    """
    check_heads([head], model.cfg)
    reason = why_not_a_sum(model.cfg)
    if reason is not None:
        raise ValueError(f"The scores of head {head} of {model.name} are no sum over writes: {reason}.")
    names = names_read(model.cfg, head.layer)
    _, cache = model.run_with_cache(tokens, names_filter=names, stop_at_layer=head.layer + 1, past=past)
    return cache


@torch.no_grad()
def recorded_beside(
    model: HookedTransformer, head: Head, tokens: Int[Tensor, "batch pos"], other: Int[Tensor, "batch pos"]
) -> tuple[ActivationCache, ActivationCache]:
    """:func:`recorded` of both, row beside row; the first positions, which are the same in both, are run once.

    What comes later changes nothing before it.
    """
    differ = (tokens != other).any(0).nonzero()
    shared = int(differ[0]) if len(differ) else tokens.shape[1]
    if not 1 < shared < tokens.shape[1]:
        return recorded(model, head, tokens), recorded(model, head, other)
    past = KeyValues()
    first = recorded(model, head, tokens[:, :shared], past)
    twice = KeyValues()
    twice.layers = {layer: (torch.cat([k, k]), torch.cat([v, v])) for layer, (k, v) in past.layers.items()}
    later = recorded(model, head, torch.cat([tokens, other])[:, shared:], twice)
    return tuple(_joined(first, later, rows) for rows in (slice(None, len(tokens)), slice(len(tokens), None)))


def _joined(first: ActivationCache, later: ActivationCache, rows: slice) -> ActivationCache:
    """A run of the first positions and some rows of one that went on from it, as one run."""
    joined = {
        name: torch.cat([x, later[name][rows] if len(later[name]) > 1 else later[name]], dim=1)
        for name, x in first.items()
    }
    return ActivationCache(joined, first.model)


@torch.no_grad()
def head_inputs(cache: ActivationCache, head: Head, side: Side, pos: Int[Tensor, " pos"]) -> HeadInputs:
    """Queries (``side`` "q") or keys ("k") of ``head`` at some positions, split by what wrote them.

    Heads before it meet W_O and the reading matrix as one small product, so that no write is formed in the stream's
    width. MLPs carry their b_out; "biases" are those of attention (b_O, b_Q or b_K) and of norms.
    """
    reading = _Reading(cache, head, side, pos)
    values = torch.cat(list(reading.parts()), dim=2)
    attn, which = reading.attn, reading.which
    if cache.model.cfg.clip_qkv is not None:
        actual = at_least_float32(cache[f"blocks.{head.layer}.attn.hook_{side}"][:, pos, which])
        values = torch.cat([values, (actual - values.sum(2))[:, :, None]], dim=2)
    if cache.model.cfg.qk_norm is not None:
        values = _normed(cache, head.layer, side, which, pos, values)
    places = cache.model.places(cache[f"blocks.{head.layer}.hook_resid_pre"]).to(values.device)
    rotation = places.local_rotation if attn.local_rotary else places.rotation
    if rotation is not None:
        turned = rotation._replace(cos=rotation.cos[:, pos], sin=rotation.sin[:, pos])
        values = rotate(values, turned)  # the writes stand where heads do: all turn alike
    return HeadInputs(values, writes_before(cache.model.cfg, head.layer))


class _Reading:
    """One head's W_Q or W_K with the norm before it folded in, and the scale that norm had in a run."""

    def __init__(self, cache: ActivationCache, head: Head, side: Side, pos: Int[Tensor, " pos"]) -> None:
        self.cache, self.pos, self.layer = cache, pos, head.layer
        block = cache.model.blocks[head.layer]
        self.norm, self.attn = block.ln1, block.attn
        self.which = head.head if side == "q" else head.head // cache.model.cfg.group_size
        W, b = (self.attn.W_Q, self.attn.b_Q) if side == "q" else (self.attn.W_K, self.attn.b_K)
        self.W, self.b = at_least_float32(W[self.which]), at_least_float32(b[self.which])
        self.reads = read_through(self.norm, self.W)
        resid = at_least_float32(cache[f"blocks.{head.layer}.hook_resid_pre"][:, pos])
        normed = isinstance(self.norm, Norm)
        self.scale = self.norm.scale_of(self.norm.centre(resid)) if normed else torch.ones_like(resid[..., :1])

    def parts(self):
        """What each write gives, [batch, pos, write, d_head], before norm and rotation of queries and keys."""
        model, cfg = self.cache.model, self.cache.model.cfg
        yield self._read(self.cache["hook_embed"][:, self.pos])
        if cfg.positions == "learned":
            yield self._read(self.cache["hook_pos_embed"][:, self.pos].expand(*self.scale.shape[:2], -1))
        if cfg.positions == "shortformer":  # added after the norm, to what queries and keys are made from
            added = self.cache["hook_pos_embed"][:, self.pos].to(self.W) @ self.W
            yield added.expand(*self.scale.shape[:2], -1)[:, :, None]
        for before in range(self.layer):
            yield self._heads(before)
            if not cfg.attn_only:
                yield self._read(self.cache["mlp_out", before][:, self.pos])
        always = biases(self.cache, self.layer, incl_mlp=False, pos=self.pos)
        own = self.b + (self.norm.b.to(self.W) @ self.W if isinstance(self.norm, Norm) and self.norm.centred else 0)
        yield self._read(always.to(model.device)) + own

    def _read(self, written: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos 1 d_head"]:
        return (at_least_float32(written).to(self.W.device) @ self.reads / self.scale)[:, :, None]

    def _heads(self, layer: int) -> Float[Tensor, "batch pos head d_head"]:
        block = self.cache.model.blocks[layer]
        through = write_through(block.ln1_post, block.attn.W_O).to(self.W.device) @ self.reads
        z = at_least_float32(self.cache["z", layer][:, self.pos]).to(self.W.device)
        read = einsum(z, through, "batch pos head d_z, head d_z d_head -> batch pos head d_head")
        if isinstance(block.ln1_post, Norm):
            read = read / self.cache[f"blocks.{layer}.ln1_post.hook_scale"][:, self.pos].to(read)[..., None]
        return read / self.scale[..., None]


def _normed(
    cache: ActivationCache, layer: int, side: Side, which: int, pos: Tensor, values: Float[Tensor, "b p write d_head"]
) -> Float[Tensor, "b p write d_head"]:
    """Through the norm of queries or keys, its scale that of the run; a bias goes to the biases."""
    norm = getattr(cache.model.blocks[layer].attn, f"{side}_norm")
    scale = cache[f"blocks.{layer}.attn.{side}_norm.hook_scale"][:, pos]  # [batch, pos, head or 1, 1]
    scale = scale[:, :, which : which + 1] if scale.shape[2] > 1 else scale
    values = norm.centre(values, dim=-1) / scale * norm.w[which]
    if norm.centred:
        at = [write.kind for write in writes_before(cache.model.cfg, layer)].index("biases")
        values[:, :, at] += norm.b[which]
    return values
