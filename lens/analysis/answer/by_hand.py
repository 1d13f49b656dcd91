"""One cell of an attention pattern computed again, step by step, from the stream and the weights."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.analysis.names import Head, check_heads
from lens.components import Norm, at_least_float32
from lens.hooked import HookedTransformer
from lens.positions import Places, Rotation


class Vector(NamedTuple):
    """The query or a key of one head, step by step; None for a step that the model does not take."""

    linear: Float[Tensor, " d_head"]  # the normed stream times W plus b, cut off at ± clip_qkv where the model does so
    normed: Float[Tensor, " d_head"] | None  # through the norm of queries and keys
    rotated: Float[Tensor, " d_head"] | None  # turned by its position

    @property
    def final(self) -> Float[Tensor, " d_head"]:
        """What the score is made of."""
        steps = (self.rotated, self.normed, self.linear)
        return next(step for step in steps if step is not None)


class CellByHand(NamedTuple):
    """Every number on the way to one cell of a pattern."""

    head: Head
    query: int
    key: int
    q: Vector
    k: Vector
    positions: str  # "learned", "shortformer", "rotary" or "alibi"
    dot: float  # q · k
    divisor: float
    scaled: float  # q · k / divisor
    softcap: float | None
    capped: float  # softcap · tanh(scaled / softcap); scaled without a cap
    bias: float  # what distance takes from the score; 0 without
    scores: Float[Tensor, " key"]  # of the whole row, −∞ where the query may not look
    attention: Float[Tensor, " key"]  # exp(score − largest) / sum, by hand
    actual: Float[Tensor, " key"]  # the model's own row

    @property
    def difference(self) -> float:
        """Largest difference between the row by hand and the model's own."""
        return float(abs(self.attention - self.actual).max())


@torch.no_grad()
def cell_by_hand(
    model: HookedTransformer, head: Head | tuple[int, int], tokens: Int[Tensor, "1 pos"], query: int, key: int
) -> CellByHand:
    """How much ``head`` attends from ``query`` to ``key``, with every step. ValueError for a cell it cannot see."""
    head, n_pos = Head(*head), tokens.shape[1]
    check_heads([head], model.cfg)
    if not (0 <= query < n_pos and 0 <= key < n_pos):
        raise ValueError(f"cell_by_hand: there is no cell {query}-{key} in a text of {n_pos} tokens.")
    names = [f"blocks.{head.layer}.hook_resid_pre", f"blocks.{head.layer}.attn.hook_pattern"]
    _, cache = model.run_with_cache(tokens, names_filter=names, stop_at_layer=head.layer + 1)
    steps = _Steps(model, head, cache[names[0]])
    allowed = steps.allowed[query]
    if not allowed[key]:
        raise ValueError(f"cell_by_hand: query {query} of layer {head.layer} does not see key {key}.")
    q, keys = steps.vector("q", query), steps.keys()
    dots = keys @ q.final
    scaled = dots / steps.divisor
    cap = model.cfg.attn_softcap
    capped = scaled if cap is None else cap * torch.tanh(scaled / cap)
    bias = torch.zeros_like(capped) if steps.places.bias is None else steps.places.bias[0, head.head, query].cpu()
    scores = (capped + bias).masked_fill(~allowed, -torch.inf)
    weights = (scores - scores[allowed].max()).exp()
    return CellByHand(
        head=head,
        query=query,
        key=key,
        q=q,
        k=steps.vector("k", key),
        positions=model.cfg.positions,
        dot=float(dots[key]),
        divisor=float(steps.divisor),
        scaled=float(scaled[key]),
        softcap=cap,
        capped=float(capped[key]),
        bias=float(bias[key]),
        scores=scores.cpu(),
        attention=(weights / weights.sum()).cpu(),
        actual=cache[names[1]][0, head.head, query].float().cpu(),
    )


class _Steps:
    """Queries and keys of one head on one text, from the stream before its layer."""

    def __init__(self, model: HookedTransformer, head: Head, resid: Float[Tensor, "1 pos d_model"]) -> None:
        block = model.blocks[head.layer]
        self.attn, self.head, self.group = block.attn, head.head, model.cfg.group_size
        self.places: Places = model.places(resid).to(block.device)
        self.allowed: Bool[Tensor, "query key"] = self.places.allowed[self.attn.window][0, 0].cpu()
        self.divisor = self.attn.scale
        normed = _normed(block.ln1, resid)
        shared = self.places.pos_embed  # some models add positions to what queries and keys are made from
        self.read = normed if shared is None else normed + shared

    def vector(self, side: str, pos: int) -> Vector:
        """The query (``side`` "q") or key ("k") at one position."""
        return Vector(*(None if step is None else step[pos].cpu() for step in self._steps(side)))

    def keys(self) -> Float[Tensor, "key d_head"]:
        """What the scores of every key are made of."""
        return next(step for step in reversed(self._steps("k")) if step is not None).cpu()

    def _steps(self, side: str) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Each [pos, d_head]: linear, normed, rotated."""
        attn, which = self.attn, self.head if side == "q" else self.head // self.group
        W, b = (attn.W_Q, attn.b_Q) if side == "q" else (attn.W_K, attn.b_K)
        every = torch.stack(
            [self.read[0] @ W[one] + b[one] for one in range(len(W))], dim=1
        )  # a norm may need them all
        every = attn.clipped(every)
        normed = None
        if attn.cfg.qk_norm is not None:
            normed = _normed(getattr(attn, f"{side}_norm"), every[None])[0]
        before = every if normed is None else normed
        rotation = self.places.local_rotation if attn.local_rotary else self.places.rotation
        rotated = None if rotation is None else _turned(before, rotation)
        return tuple(None if step is None else at_least_float32(step[:, which]) for step in (every, normed, rotated))


def _normed(norm: torch.nn.Module, x: Tensor) -> Tensor:
    """LayerNorm or RMSNorm as their formulas say; ``x`` where there is none."""
    if not isinstance(norm, Norm):
        return x
    exact = at_least_float32(x)
    if norm.centred:
        exact = exact - exact.mean(norm.axes, keepdim=True)
    unit = (exact / (exact.pow(2).mean(norm.axes, keepdim=True) + norm.eps).sqrt()).to(x.dtype)
    return unit * norm.w + norm.b if norm.centred else unit * norm.w


def _turned(x: Float[Tensor, "pos head d_head"], rotation: Rotation) -> Float[Tensor, "pos head d_head"]:
    """Each pair (a, b) of dimensions as (a cos − b sin, b cos + a sin) of its position's angle; the others stay."""
    cos, sin = rotation.cos[0], rotation.sin[0]
    pair = torch.arange(cos.shape[-1], device=x.device)
    first, second = (2 * pair, 2 * pair + 1) if rotation.adjacent else (pair, pair + len(pair))
    out = x.clone()
    out[..., first] = x[..., first] * cos - x[..., second] * sin
    out[..., second] = x[..., second] * cos + x[..., first] * sin
    return out
