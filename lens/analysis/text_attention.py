"""Everything a page needs to show the attention of one text, from one forward pass."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.attention import hide_first, value_lengths
from lens.analysis.content_dependence import Zones, content_dependence, zones
from lens.analysis.pattern_scores import row_entropy, stripe
from lens.analysis.previous_token import first_query
from lens.analysis.streaming import stream
from lens.model import Transformer
from lens.progress import Progress, silent

KEEP_BYTES = 64_000_000  # of the patterns of all heads; above, the residual streams are kept instead
CELLS = 24  # of a small picture, besides the first token


class Habits(NamedTuple):
    """Where a head looks whatever the text says, means over queries. NaN where the text has no such query."""

    first: Tensor  # probability of the first token, queries q >= 1
    previous: Tensor  # A[q, q-1], queries q >= 6 as in pattern_scores; never q = 1, whose key is the first token
    itself: Tensor  # A[q, q], queries q >= 1
    entropy: Tensor  # nats, queries q >= 1


class TextAttention(NamedTuple):
    """Attention of every head on one text.

    A short text has all ``pattern``s and no ``streams``; a long one has no patterns and all streams, from which
    :func:`layer_pattern` computes one layer at a time.
    """

    pattern: Float[Tensor, "kept_layer head query key"]  # probability
    streams: Float[Tensor, "other_layer pos d_model"]  # the residual stream before each layer
    value_length: Float[Tensor, "layer head key"]  # ‖v W_O‖, residual-stream units
    habits: Habits  # each [layer, head]
    content_dependence: Float[Tensor, "layer head"]  # nats per query, see lens.analysis.content_dependence
    pictures: Float[Tensor, "layer head row column"]  # see shrink
    block: int  # tokens per cell of the pictures, the first token aside


@torch.no_grad()
def text_attention(
    model: Transformer, tokens: Int[Tensor, "1 pos"], keep_bytes: int = KEEP_BYTES, progress: Progress = silent
) -> TextAttention:
    """Patterns (or streams, when the patterns would take more than ``keep_bytes``), lengths, habits and pictures.

    ``tokens``: one text without pads. ValueError for several texts or fewer than two tokens.
    """
    if tokens.shape[0] != 1 or tokens.shape[1] < 2:
        raise ValueError(f"text_attention: tokens of shape {list(tokens.shape)}; wanted one text of at least two.")
    cfg, n_pos = model.cfg, tokens.shape[1]
    short = 4 * cfg.n_layers * cfg.n_heads * n_pos**2 <= keep_bytes
    block = -(-(n_pos - 1) // CELLS)
    patterns, streams, lengths, habits, by_layer, pictures = [], [], [], [], [], []

    def visit_stream(layer: int, rows: slice, resid: Float[Tensor, "1 pos d_model"]) -> None:
        streams.append(resid[0].float().cpu())

    def visit_values(layer: int, rows: slice, v: Float[Tensor, "1 pos kv_head d_head"]) -> None:
        lengths.append(torch.cat([value_lengths(model, layer, head, v) for head in range(cfg.n_heads)]).cpu())

    def visit_pattern(layer: int, rows: slice, pattern: Float[Tensor, "1 head query key"]) -> None:
        pattern = pattern[0].float()
        if short:
            patterns.append(pattern.cpu())
        habits.append(head_habits(pattern))
        by_layer.append(zones(pattern))
        pictures.append(shrink(pattern, block).cpu())

    visits = {}
    for layer in range(cfg.n_layers):
        visits |= {} if short else {f"blocks.{layer}.hook_resid_pre": visit_stream}
        visits |= {f"blocks.{layer}.attn.hook_v": visit_values, f"blocks.{layer}.attn.hook_pattern": visit_pattern}
    stream(model, tokens, visits, progress=progress)
    whole = Zones(*map(torch.cat, zip(*by_layer)))
    return TextAttention(
        pattern=torch.stack(patterns) if short else torch.empty(0, cfg.n_heads, n_pos, n_pos),
        streams=torch.empty(0, n_pos, cfg.d_model) if short else torch.stack(streams),
        value_length=torch.stack(lengths),
        habits=Habits(*(torch.stack(column).cpu() for column in zip(*habits))),
        content_dependence=content_dependence(whole).unflatten(0, (cfg.n_layers, -1)).cpu(),
        pictures=torch.stack(pictures),
        block=block,
    )


@torch.no_grad()
def layer_pattern(
    model: Transformer, stream: Float[Tensor, "pos d_model"], layer: int
) -> Float[Tensor, "head query key"]:
    """Attention of one layer on the text whose residual stream enters it: probabilities, rows sum to 1."""
    found = []
    name = f"blocks.{layer}.attn.hook_pattern"
    resid = stream[None].to(model.device, model.dtype)
    model.run_with_hooks(
        resid,
        start_at_layer=layer,
        stop_at_layer=layer + 1,
        fwd_hooks=[(name, lambda pattern, hook: found.append(pattern[0].float().cpu()))],
    )
    return found[0]


class HeadNumbers(NamedTuple):
    """A number for every query and key of some heads, and what a first token that is hidden had of it."""

    values: Float[Tensor, "head query key"]  # share of attention, or attention × ‖v W_O‖ in residual-stream units
    hidden: Float[Tensor, "head query"] | None  # share of each query's numbers; None when it is not hidden


def head_numbers(
    pattern: Float[Tensor, "head query key"],
    value_length: Float[Tensor, "head key"] | None = None,
    hide: bool = False,
    share: bool = False,
) -> HeadNumbers:
    """Attention of some heads, times the length of what each value writes where ``value_length`` is given.

    ``hide`` takes the first token out: rows of attention then sum to 1 again, lengths stay lengths. ``share`` makes
    rows of lengths sum to 1, too.
    """
    values = pattern if value_length is None else pattern * value_length[:, None, :]
    totals = values.sum(-1, keepdim=True)
    totals = torch.where(totals > 0, totals, 1)
    is_length = value_length is not None and not share
    values = values / totals if value_length is not None and share else values
    if not hide:
        return HeadNumbers(values, None)
    if not is_length:
        return HeadNumbers(*hide_first(values))
    return HeadNumbers(F.pad(values[:, :, 1:], (1, 0)), values[:, :, 0] / totals[:, :, 0])


def head_habits(pattern: Float[Tensor, "*batch query key"]) -> Habits:
    """The habits of patterns of one text of at least two tokens. Compare them with those of ``uniform_pattern``."""
    return Habits(
        first=pattern[..., 1:, 0].mean(-1),
        previous=stripe(pattern, 1)[..., max(first_query(pattern.shape[-1]) - 1, 1) :].mean(-1),
        itself=stripe(pattern, 0)[..., 1:].mean(-1),
        entropy=row_entropy(pattern)[..., 1:].mean(-1),
    )


def shrink(pattern: Float[Tensor, "head query key"], block: int) -> Float[Tensor, "head row column"]:
    """The largest value of each ``block`` x ``block`` square: a thin stripe stays visible.

    Row and column 0 hold the first token alone, so that it can be left out; position p falls into cell ⌈p / block⌉.
    """
    alone = F.pad(pattern, (block - 1, 0, block - 1, 0))
    return F.max_pool2d(alone, block, ceil_mode=True)
