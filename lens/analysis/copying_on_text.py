"""Does a head copy on natural text? Its direct path to the logits of the tokens it attends to, beside a paired control.

The control breaks one thing only: what a head writes at one query is read on the tokens that it attends to at the
others. A head that raises some tokens of a text always, or that looks at tokens every head raises, gains nothing by it.
"""

from typing import NamedTuple

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.analysis.copying_on_data import CopyingScores
from lens.analysis.direct_paths import PATH, DirectPaths
from lens.analysis.rotation_test import rotation_z
from lens.analysis.score_results import Kind, Samples, head_score
from lens.analysis.streaming import stream
from lens.model import Transformer
from lens.progress import Progress, silent

FEWEST = 3  # tokens of a document: two queries, so that one can be the control of the other
CONTROL = "the same writes on the tokens the head attends to at the document's other queries, mean over all pairs"
ATTENDED = "weighted by its attention (position 0 counts as nothing); mean over queries q ≥ 1"
KINDS = (
    Kind(
        "text_logit",
        "logits",
        f"{PATH}, minus its mean over the vocabulary: logit of the tokens it attends to, {ATTENDED}.",
        CONTROL,
        False,
    ),
    Kind(
        "text_share",
        "share",
        f"{PATH}, minus its mean over the vocabulary: of all that it raises among the different tokens of the "
        f"document, the share of those it attends to, {ATTENDED}.",
        CONTROL,
        False,
    ),
)


class TextPaths(NamedTuple):
    """Direct paths of every head on each document, means over its queries; ``_null``: the paired control."""

    logit: Float[Tensor, "document layer head"]
    logit_null: Float[Tensor, "document layer head"]
    share: Float[Tensor, "document layer head"]
    share_null: Float[Tensor, "document layer head"]
    n_queries: Int[Tensor, " document"]
    n_different: Int[Tensor, " document"]  # tokens, position 0 left out
    written: Float[Tensor, "document layer head"]  # mean square of all logits on the document's tokens
    core: Float[Tensor, "part layer head d_head d_head"]  # trace: sum over its documents of logit − control


def copying_on_text(
    model: Transformer, tokens: Int[Tensor, "document pos"], mask: Bool[Tensor, "document pos"],
    progress: Progress = silent,
) -> CopyingScores:  # fmt: skip
    """What every head writes on the tokens it attends to, beside its control; 16 documents or more give intervals.

    ``tokens`` and ``mask``: separate documents, padded on the right, as from
    :func:`lens.analysis.held_out.beginnings`. Biases and the way through later layers are not in it.
    """
    return text_copying(text_paths(model, tokens, mask, progress))


def text_paths_of(
    rows: tuple[int, int], model: Transformer, tokens: Int[Tensor, "document pos"], mask: Bool[Tensor, "document pos"]
) -> TextPaths:
    """:func:`text_paths` of the documents ``rows`` = (first, last + 1), so that they can come in a few at a time."""
    chosen = slice(*rows)
    return text_paths(model, tokens[chosen], mask[chosen])


@torch.no_grad()
def text_paths(
    model: Transformer, tokens: Int[Tensor, "document pos"], mask: Bool[Tensor, "document pos"],
    progress: Progress = silent,
) -> TextPaths:  # fmt: skip
    """The direct paths of all heads from one forward pass of the documents. ValueError for one of under three tokens.

    All pairs of a query with another one's attention are averaged exactly: a sum over queries of the pattern and of
    the logits is all that it takes.
    """
    _check(tokens, mask)
    paths = _Paths(model, tokens, mask.to(model.device).bool())
    stream(model, tokens, paths.visits(), mask, progress=progress)
    logit, share = (
        torch.stack([own, others]).cpu() for own, others in (paths.logit(), (paths.share, paths.share_null))
    )
    counts = paths.counted.sum(1).cpu(), paths.n_different.cpu()
    return TextPaths(*logit, *share, *counts, paths.written().cpu(), paths.core[None].cpu())


def text_copying(paths: TextPaths, where: str = "", unit: str = "documents") -> CopyingScores:
    """The statistics of both numbers over documents, called ``unit``; ``where`` says in words which they are."""
    n_queries, chance = int(paths.n_queries.sum()), float((1 / paths.n_different).mean())
    samples = {
        "text_logit": Samples(paths.logit, paths.logit_null, 0.0, n_queries),
        "text_share": Samples(paths.share, paths.share_null, chance, n_queries),
    }
    scores = {kind.name: head_score(kind, samples[kind.name], unit) for kind in KINDS}
    source = f"{len(paths.logit)} {unit}, {n_queries + len(paths.logit)} tokens"
    more = {"z": rotation_z(paths.core.sum(0)), "written": paths.written.mean(0).sqrt()}
    return CopyingScores(scores=scores, missing={}, source=f"{source}: {where}" if where else source, seed=None, **more)


def join_text(found: list[TextPaths]) -> TextPaths:
    """Documents that came in a few at a time."""
    return TextPaths(*(torch.cat(column) for column in zip(*found, strict=True)))


class _Paths(DirectPaths):
    """What each head writes on the tokens that it attends to, and on those that it attends to at other queries."""

    def __init__(
        self, model: Transformer, tokens: Int[Tensor, "document pos"], mask: Bool[Tensor, "document pos"]
    ) -> None:
        super().__init__(model, tokens, slice(1, tokens.shape[1]))
        self.counted = mask[:, 1:]  # queries, and the keys they may attend to: all but position 0
        self.different = _different(self.candidates[:, 1:], self.counted)
        self.n_different = self.different.sum(1)
        shape = (len(tokens), model.cfg.n_layers, self.counted.shape[1], model.cfg.n_heads)
        # Times the scale.
        self.raised, self.raised_null, self.square = (torch.zeros(shape, device=model.device) for _ in range(3))
        cfg = model.cfg
        self.core = torch.zeros(cfg.n_layers, cfg.n_heads, cfg.d_head, cfg.d_head, device=model.device)
        self.share, self.share_null = (torch.empty(*shape[:2], shape[3], device=model.device) for _ in range(2))
        self.attention: Float[Tensor, "batch head query key"] = self.raised

    def logit(self) -> tuple[Float[Tensor, "document layer head"], Float[Tensor, "document layer head"]]:
        """Own and control, mean over queries, once the forward pass is over."""
        n = self.counted.sum(1)[:, None, None]
        return (self.raised / self.scale).sum(2) / n, (self.raised_null / self.scale).sum(2) / n

    def written(self) -> Float[Tensor, "document layer head"]:
        """Mean square of what is written on the document's tokens, once the forward pass is over."""
        return (self.square / self.scale.square()).sum(2) / self.counted.sum(1)[:, None, None]

    def see_pattern(self, layer: int, rows: slice, pattern: Float[Tensor, "batch head query key"]) -> None:
        """Attention of real queries; position 0 is left out on both sides."""
        self.attention = pattern[:, :, 1:, 1:].float() * self.counted[rows, None, :, None]

    def see_z(self, layer: int, rows: slice, z: Float[Tensor, "batch pos head d_head"]) -> None:
        """What every head writes, on the tokens of its document."""
        along = self.along(layer, rows)[..., 1:]
        logits = self.logits(z, along) * self.counted[rows, :, None, None]
        n = self.counted[rows].sum(1)[:, None]
        self.square[rows, layer] = (logits.square() * self.counted[rows, None, None]).sum(-1) / n[..., None]
        self.core[layer] += self._core(rows, z, along)
        self.raised[rows, layer], self.raised_null[rows, layer] = self._paired(rows, logits)
        positive = logits.clamp(min=0)
        whole = einsum(positive, self.different[rows].float(), "b query head key, b key -> b query head")
        shares = positive / whole.clamp(min=torch.finfo(whole.dtype).tiny)[..., None]  # 0 where nothing is raised
        own, others = self._paired(rows, shares)
        self.share[rows, layer], self.share_null[rows, layer] = own.sum(1) / n, others.sum(1) / n

    def _core(
        self, rows: slice, z: Float[Tensor, "batch pos head d_head"], along: Float[Tensor, "batch head d_head key"]
    ) -> Float[Tensor, "head d_head d_head"]:
        """Values times what they would have to write, so that its trace is the sum of logit − control, times scales."""
        n = self.counted[rows].sum(1)[:, None, None, None]
        others = (self.attention.sum(2, keepdim=True) - self.attention) / (n - 1)
        weights = (self.attention - others) * self.counted[rows, None, :, None] * self.counted[rows, None, None] / n
        wanted = einsum(weights, along, "b head query key, b head d_out key -> b query head d_out")
        return einsum(z[:, self.queries].float(), wanted, "b query head d_in, b query head d_out -> head d_in d_out")

    def _paired(
        self, rows: slice, values: Float[Tensor, "batch query head key"]
    ) -> tuple[Float[Tensor, "batch query head"], Float[Tensor, "batch query head"]]:
        """Values weighted by each query's own attention, and by that of the other queries, their mean."""
        own = einsum(self.attention, values, "b head query key, b query head key -> b query head")
        of_all = einsum(self.attention.sum(2), values, "b head key, b query head key -> b query head")
        return own, (of_all - own) / (self.counted[rows].sum(1)[:, None, None] - 1)


def _different(tokens: Int[Tensor, "document key"], counted: Bool[Tensor, "document key"]) -> Bool[Tensor, "..."]:
    """True at the first place of every token of a document."""
    same = (tokens[:, :, None] == tokens[:, None, :]) & counted[:, :, None] & counted[:, None, :]
    return counted & ~same.tril(-1).any(-1)


def _check(tokens: Tensor, mask: Tensor) -> None:
    if tokens.shape != mask.shape:
        raise ValueError(f"text_paths: mask has shape {list(mask.shape)}; wanted that of tokens, {list(tokens.shape)}.")
    lengths, run = mask.sum(1), mask.bool().cumprod(1).sum(1)
    if (run != lengths).any():
        raise ValueError(f"text_paths: document {int((run != lengths).nonzero()[0])} is not padded on the right alone.")
    if len(lengths) == 0 or lengths.min() < FEWEST:
        shortest = int(lengths.argmin()) if len(lengths) else 0
        raise ValueError(
            f"text_paths: document {shortest} of {len(lengths)} has fewer than {FEWEST} tokens; leave it out, or give "
            "longer ones."
        )
