"""What a model writes, token by token, and what it writes when it is changed: heads removed or scaled, or steered."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.held_out import beginnings
from lens.analysis.names import Head, check_heads
from lens.analysis.streaming import stream
from lens.generate import Sampling, generation_steps, padded_left
from lens.hooked import HookedTransformer
from lens.hooks import HookFunction, HookPoint, HookSpec, hooks
from lens.progress import Progress, silent

REPEATS = (
    "Share of the tokens written so far that repeat: the pair of a token and the one before it stands somewhere "
    "earlier in the text, the prompt included."
)
UNITS = ("stream", "direction")  # in which the strength of steering counts
CHAPTERS, LENGTH = 16, 64  # of the shipped text, over which the mean of a head is taken


@dataclass(frozen=True)
class Change:
    """What is done to a model at every position, of the prompt and of what it writes: cached or not, the same.

    ``heads``: their z becomes mean + factor · (z − mean), with ``means`` a row per head, or zero. ``vector`` is added
    to the stream that enters ``layer``.
    """

    heads: tuple[Head, ...] = ()
    factor: float = 0.0
    means: tuple[tuple[float, ...], ...] = ()
    layer: int = 0
    vector: tuple[float, ...] = ()

    def hooks(self, model: HookedTransformer) -> list[HookSpec]:
        """The change as hooks. ValueError for heads, a layer or a vector that the model does not have."""
        check_heads(self.heads, model.cfg)
        if self.means and len(self.means) != len(self.heads):
            raise ValueError(f"Change: {len(self.means)} means for {len(self.heads)} heads; give one per head or none.")
        specs: list[HookSpec] = []
        for layer in sorted({head.layer for head in self.heads}):
            specs.append((f"blocks.{layer}.attn.hook_z", self._scale(layer)))
        if self.vector:
            if not 0 <= self.layer < model.cfg.n_layers or len(self.vector) != model.cfg.d_model:
                raise ValueError(
                    f"Change: a vector of {len(self.vector)} into layer {self.layer}; this model has "
                    f"{model.cfg.d_model} coordinates and layers 0 … {model.cfg.n_layers - 1}."
                )
            specs.append((f"blocks.{self.layer}.hook_resid_pre", self._steer))
        return specs

    def _scale(self, layer: int) -> HookFunction:
        means = self.means or [(0.0,)] * len(self.heads)
        here = [(head.head, mean) for head, mean in zip(self.heads, means, strict=True) if head.layer == layer]

        def scale(z: Float[Tensor, "batch pos head d_head"], hook: HookPoint) -> None:
            for head, mean in here:
                about = z.new_tensor(mean)
                z[:, :, head] = about + self.factor * (z[:, :, head] - about)

        return scale

    def _steer(self, resid: Float[Tensor, "batch pos d_model"], hook: HookPoint) -> Tensor:
        return resid + resid.new_tensor(self.vector)


class Written(NamedTuple):
    """A continuation, token by token. Numbers are the model's own, before temperature, top-k and top-p."""

    ids: Int[Tensor, " new"]
    logprob: Float[Tensor, " new"]  # nats
    rank: Int[Tensor, " new"]  # tokens that score strictly higher
    entropy: Float[Tensor, " new"]  # nats
    top: Int[Tensor, "new k"]  # the likeliest tokens at each place
    top_logprob: Float[Tensor, "new k"]

    @property
    def n(self) -> int:
        """Tokens written."""
        return len(self.ids)


@torch.no_grad()
def write(
    model: HookedTransformer,
    tokens: Int[Tensor, "1 pos"],
    n_new: int,
    sampling: Sampling,
    change: Change | None = None,
    stop_ids: Sequence[int] = (),
    n_top: int = 5,
    use_past_kv_cache: bool = True,
) -> Written:
    """What ``model``, changed or not, writes after ``tokens``: ``n_new`` tokens, or up to one of ``stop_ids``.

    Written in parts, each after the text so far, it is the same text.
    """
    rows = []
    with hooks(model, (change or Change()).hooks(model)):
        steps = generation_steps(
            model, padded_left(tokens.to(model.device)), n_new, sampling, stop_ids, use_past_kv_cache
        )
        for drawn, logits in steps:
            rows.append(_numbers(logits[0].float().cpu(), drawn[0], n_top))
    return Written(*(torch.stack(column) for column in zip(*rows, strict=True)))


def _numbers(logits: Float[Tensor, " d_vocab"], drawn: Tensor, n_top: int) -> Written:
    """One token of what is written."""
    logprobs = logits.log_softmax(-1)
    top = logprobs.topk(min(n_top, len(logprobs)))
    rank = (logits > logits[drawn]).sum()
    return Written(drawn, logprobs[drawn], rank, -(logprobs.exp() * logprobs).sum(), top.indices, top.values)


def joined(parts: Sequence[Written]) -> Written:
    """Parts of one continuation, one after the other; of torch or numpy."""
    return Written(*(np.concatenate([np.asarray(one) for one in column]) for column in zip(*parts, strict=True)))


def repeated_share(prompt: Sequence[int], written: Sequence[int]) -> Float[np.ndarray, " new"]:
    """After each written token, the share of the tokens so far that repeat: see ``REPEATS``."""
    text, seen = [*prompt, *written], set()
    repeats = []
    for place, pair in enumerate(pairwise(text), start=1):
        if place >= len(prompt):
            repeats.append(pair in seen)
        seen.add(pair)
    repeats = [False] * (len(written) - len(repeats)) + repeats  # nothing stands before the first token of all
    return np.cumsum(repeats) / np.arange(1, len(written) + 1)


def first_difference(one: Sequence[int], other: Sequence[int]) -> int | None:
    """The first place at which two continuations part; None where one begins with the other."""
    return next((place for place, (a, b) in enumerate(zip(one, other)) if a != b), None)


@torch.no_grad()
def mean_z(
    model: HookedTransformer, heads: Sequence[Head], progress: Progress = silent
) -> Float[Tensor, "head d_head"]:
    """What each head mixes from the values on average, over the beginnings of shipped chapters, first token left out.

    Times W_O it is the head's mean write.
    """
    check_heads(heads, model.cfg)
    text = beginnings(model, CHAPTERS, model.bos.prepend, LENGTH)
    counted = text.mask.bool().clone()
    counted[:, 0] = False
    sums = torch.zeros(len(heads), model.cfg.d_head, dtype=torch.float64)

    def visit(layer: int, rows: slice, z: Float[Tensor, "batch pos head d_head"]) -> None:
        for place, head in enumerate(heads):
            if head.layer == layer:
                sums[place] += z[:, :, head.head][counted[rows].to(z.device)].double().sum(0).cpu()

    names = [f"blocks.{layer}.attn.hook_z" for layer in sorted({head.layer for head in heads})]
    stream(model, text.tokens, dict.fromkeys(names, visit), text.mask, progress)
    return (sums / counted.sum()).float()


@torch.no_grad()
def steering(
    model: HookedTransformer,
    tokens: Int[Tensor, "1 pos"],
    direction: Float[Tensor, " d_model"],
    layer: int,
    strength: float,
    unit: str = "stream",
) -> Change:
    """Adds ``strength`` times ``direction`` to the stream that enters ``layer``, in one of ``UNITS``.

    "stream": at strength 1 as long as that stream itself is, mean over the prompt's positions but the first;
    "direction": at strength 1 the direction as it is. ValueError for no direction.
    """
    if unit not in UNITS:
        raise ValueError(f"steering: unit={unit!r}; choose one of {', '.join(UNITS)}.")
    length = direction.float().norm()
    if not length > 0:
        raise ValueError("steering: the direction is zero; choose two different answers, or a head that writes.")
    if unit == "direction":
        return Change(layer=layer, vector=tuple((direction.float().cpu() * strength).tolist()))
    resid = model(tokens.to(model.device), stop_at_layer=layer)[0].float()
    typical = resid[min(1, len(resid) - 1) :].norm(dim=-1).mean().cpu()
    vector = direction.float().cpu() * (strength * typical / length.cpu())
    return Change(layer=layer, vector=tuple(vector.tolist()))


@torch.no_grad()
def answer_direction(model: HookedTransformer, right: int, wrong: int | None) -> Float[Tensor, " d_model"]:
    """What raises the logit of ``right``, over that of ``wrong`` if there is one: columns of W_U."""
    columns = model.unembed.directions(torch.tensor([right, right if wrong is None else wrong], device=model.device))
    return (columns[0] if wrong is None else columns[0] - columns[1]).float().cpu()


@torch.no_grad()
def head_direction(model: HookedTransformer, head: Head, progress: Progress = silent) -> Float[Tensor, " d_model"]:
    """The mean write of a head on the shipped text."""
    z = mean_z(model, [head], progress)[0]
    return (z @ model.blocks[head.layer].attn.W_O[head.head].float().cpu()).detach()
