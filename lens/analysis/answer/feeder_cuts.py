"""Cutting a feeder: what a head's attention does when one write before it is replaced in its queries or its keys alone.

What attribution finds by splitting a number, a cut confirms by changing it: the write's value comes from a run in which
what it carries is absent, the norm before the head is computed anew, and the head's own pattern is read. What keys read
lies in the first copy of a repeat, so there the control has other tokens first; what queries read lies in the second.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.answer.head_inputs import SIDES, Side, Write, recorded_beside
from lens.analysis.answer.qk_attribution import Cells, induction_cells
from lens.analysis.names import Head, check_heads
from lens.analysis.random_tokens import RepeatedTokens
from lens.arrays import as_tensor
from lens.attention import per_head
from lens.cache import ActivationCache
from lens.components import Norm, at_least_float32, softcapped
from lens.decompose import head_writes
from lens.hooked import HookedTransformer
from lens.positions import Places
from lens.progress import Progress, silent

DEFINITION = (
    "Attention on the cells in question, mean over queries, after one write is replaced by its value in the control "
    "run in what this head's queries (or keys) alone are made from; the norm is computed anew."
)


class FeederCuts(NamedTuple):
    """What a head's attention on some cells becomes when a write before it is cut out of its queries or its keys."""

    head: Head
    side: Side
    writes: tuple[Write, ...]  # heads and MLPs before the head, the embedding first
    attention: Float[Tensor, "write sequence"]  # probability, mean over cells
    uncut: Float[Tensor, " sequence"]

    @property
    def change(self) -> Float[Tensor, "write sequence"]:
        """By how much the attention changes; negative: the head needs this write to look there."""
        return as_tensor(self.attention) - as_tensor(self.uncut)

    def strongest(self, count: int = 3) -> list[tuple[Write, float]]:
        """The writes whose cut takes away most, with the attention that is left, least first."""
        left = as_tensor(self.attention).mean(1)
        best = left.topk(min(count, len(left)), largest=False)
        return [(self.writes[at], value) for value, at in zip(best.values.tolist(), best.indices.tolist())]


def control_of(repeated: RepeatedTokens, side: Side) -> Int[Tensor, "batch pos"]:
    """The repeat without its repetition: other tokens in the second copy for queries, in the first one for keys."""
    if side == "q":
        return repeated.control
    bos, n = repeated.bos, repeated.n
    start, first, second = repeated.control.split([bos, n, n], dim=1)
    return torch.cat([start, second, first], dim=1)


def induction_cuts(
    model: HookedTransformer,
    head: Head | tuple[int, int],
    repeated: RepeatedTokens,
    side: Side,
    progress: Progress = silent,
) -> FeederCuts:
    """:func:`cut_feeders` for the induction stripe, with the control that belongs to the side."""
    cells = induction_cells(repeated)
    return cut_feeders(model, head, repeated.tokens, control_of(repeated, side), cells, side, progress)


@torch.no_grad()
def cut_feeders(
    model: HookedTransformer,
    head: Head | tuple[int, int],
    tokens: Int[Tensor, "batch pos"],
    control: Int[Tensor, "batch pos"],
    cells: Cells,
    side: Side,
    progress: Progress = silent,
) -> FeederCuts:
    """Attention of ``head`` on ``cells`` of ``tokens`` with each earlier write, one at a time, as it is in ``control``.

    ``side``: "q" cuts it out of the queries, "k" out of the keys.
    """
    head = Head(*head)
    check_heads([head], model.cfg)
    cells.check(tokens.shape[1])
    if side not in SIDES:
        raise ValueError(f"cut_feeders: side={side!r}; it must be 'q' or 'k'.")
    if control.shape != tokens.shape:
        raise ValueError(
            f"cut_feeders: control {list(control.shape)}; wanted that of the tokens, {list(tokens.shape)}."
        )
    base, other = recorded_beside(model, head, tokens.to(model.device), control.to(model.device))
    return cuts_of(base, other, head, cells, side, progress)


@torch.no_grad()
def cuts_of(
    base: ActivationCache, other: ActivationCache, head: Head, cells: Cells, side: Side, progress: Progress = silent
) -> FeederCuts:
    """:func:`cut_feeders` from two runs that are already :func:`~.head_inputs.recorded`."""
    cfg = base.model.cfg
    resid = base[f"blocks.{head.layer}.hook_resid_pre"]
    pos = torch.tensor(cells.queries) if side == "q" else torch.arange(max(cells.queries) + 1)  # what these cells read
    pos = pos.to(resid.device)
    receiver, resid = Receiver(base, head, side, cells, pos), resid[:, pos]
    uncut = receiver.attention(resid[None])[0]
    writes, left = [], []
    for labels, change in changes(base, other, head.layer, pos):
        progress(len(writes) / max(1, cfg.n_heads * head.layer), f"cutting {labels[0]} and its layer")
        writes += labels
        left.append(receiver.attention(resid + change.to(resid.device)))
    return FeederCuts(head, side, tuple(writes), torch.cat(left).cpu(), uncut.cpu())


def changes(
    base: ActivationCache, other: ActivationCache, layer: int, pos: Int[Tensor, " pos"]
) -> Iterator[tuple[list[Write], Float[Tensor, "write batch pos d_model"]]]:
    """Labels and what replacing each write by its value in the other run adds to the stream, a layer at a time."""
    yield [Write("embedding")], (other["hook_embed"][:, pos] - base["hook_embed"][:, pos])[None]
    cfg = base.model.cfg
    for before in range(layer):
        change = _head_changes(base, other, before, pos)
        labels = [Write("head", before, head) for head in range(cfg.n_heads)]
        yield labels, rearrange(change, "batch pos head d_model -> head batch pos d_model")
        if not cfg.attn_only:
            yield [Write("mlp", before)], (other["mlp_out", before][:, pos] - base["mlp_out", before][:, pos])[None]


def _head_changes(
    base: ActivationCache, other: ActivationCache, layer: int, pos: Int[Tensor, " pos"]
) -> Float[Tensor, "batch pos head d_model"]:
    """What the heads of a layer write in the other run beyond what they write in this one."""
    block = base.model.blocks[layer]
    if isinstance(block.ln1_post, Norm):  # its scale is another in each run
        return head_writes(other, layer, pos) - head_writes(base, layer, pos)
    change = other["z", layer][:, pos] - base["z", layer][:, pos]
    return einsum(change, block.attn.W_O, "batch pos head d_z, head d_z d_model -> batch pos head d_model")


class Receiver:
    """One head whose queries or keys are made anew from changed streams, the other side as it was.

    ``pos``: where they are made; all others stay out of it. Keys must reach as far as the queries of the cells see.
    """

    def __init__(self, base: ActivationCache, head: Head, side: Side, cells: Cells, pos: Int[Tensor, " pos"]) -> None:
        self.model, self.head, self.side, self.cells = base.model, head, side, cells
        self.block = base.model.blocks[head.layer]
        n_pos = base[f"blocks.{head.layer}.hook_resid_pre"].shape[1]
        row = torch.zeros(1, n_pos, dtype=torch.long, device=base.model.device)  # all rows hold the same positions
        self.places = base.model.places(row).to(self.block.device)
        self.here = _at(self.places, pos)
        fixed = "k" if side == "q" else "q"
        self.kept = base[f"blocks.{head.layer}.attn.hook_{side}"][:, pos]
        other = base[f"blocks.{head.layer}.attn.hook_{fixed}"]
        self.fixed = self.block.attn.positioned(fixed, other, self.places)[:, :, self._which(fixed)]

    def attention(self, resid: Float[Tensor, "write batch pos d_model"]) -> Float[Tensor, "write batch"]:
        """Attention on the cells, mean over them, with one side made from each of these streams."""
        n_writes, n_seqs = resid.shape[:2]
        made = self.made(resid.flatten(0, 1))
        query, key = (torch.tensor(one, device=made.device) for one in self.cells)
        fixed = (self.fixed if self.side == "q" else self.fixed[:, query]).repeat(n_writes, 1, 1)
        pattern = self.pattern(*((made, fixed) if self.side == "q" else (fixed, made)), query)
        on_cells = pattern[:, torch.arange(len(query)), key]
        return rearrange(on_cells, "(write batch) query -> write batch query", write=n_writes, batch=n_seqs).mean(-1)

    def made(self, stream: Float[Tensor, "row pos d_model"]) -> Float[Tensor, "row pos d_head"]:
        """This side's queries or keys from changed streams; the norm before them is computed anew."""
        read = dict(zip("qkv", self.block.attention_inputs(stream, self.here)))[self.side]
        attn, which = self.block.attn, self._which(self.side)
        W, b = (attn.W_Q, attn.b_Q) if self.side == "q" else (attn.W_K, attn.b_K)
        made = attn.clipped(per_head(read, W[which : which + 1], b[which : which + 1]))
        return self._positioned(made, which)

    def _positioned(self, made: Float[Tensor, "row pos 1 d_head"], which: int) -> Float[Tensor, "row pos d_head"]:
        attn = self.block.attn
        if self.model.cfg.qk_norm is None:
            return attn.rotated(self.side, made, self.here)[:, :, 0]
        # The norm may be one over all heads: the others are what they were, and each head has a gain of its own.
        every = self.kept.repeat(len(made) // len(self.kept), 1, 1, 1)
        every[:, :, which] = made[:, :, 0]
        return attn.positioned(self.side, every, self.here)[:, :, which]

    def pattern(
        self, q: Float[Tensor, "row query d"], k: Float[Tensor, "row key d"], query: Int[Tensor, " query"]
    ) -> Float[Tensor, "row query key"]:
        """The head's attention from its queries at the positions ``query`` and its first keys."""
        attn, n_keys = self.block.attn, k.shape[1]
        q, k = at_least_float32(q), at_least_float32(k)
        scores = einsum(q, k, "row query d_head, row key d_head -> row query key") / attn.scale
        scores = softcapped(scores, self.model.cfg.attn_softcap)
        if self.places.bias is not None:
            scores = scores + self.places.bias[0, self.head.head, query, :n_keys]
        allowed = self.places.allowed[attn.window][0, 0, query, :n_keys]
        return scores.masked_fill(~allowed, -torch.inf).softmax(-1)

    def _which(self, side: Side) -> int:
        return self.head.head if side == "q" else self.head.head // self.model.cfg.group_size


def _at(places: Places, pos: Int[Tensor, " pos"]) -> Places:
    """The turns and additions of some positions only; what queries may see stays that of all."""
    turns = {
        name: turn and turn._replace(cos=turn.cos[:, pos], sin=turn.sin[:, pos])
        for name in ("rotation", "local_rotation")
        for turn in [getattr(places, name)]
    }
    added = None if places.pos_embed is None else places.pos_embed[:, pos]
    return places._replace(pos_embed=added, **turns)
