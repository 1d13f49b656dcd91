"""Attention knockout: what a head's look from some queries at some keys is good for.

The chosen cells of one head's pattern are cut, the run goes on from that layer, and the predictions are compared with
those of the uncut run and of control runs in which as many other cells of the same queries are cut. Source: Geva et al.
2023, "Dissecting recall of factual associations in auto-regressive language models".
"""

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.analysis.answer.qk_attribution import allowed_keys
from lens.analysis.loss import chunks
from lens.analysis.names import Head, check_heads
from lens.finite import require_finite
from lens.hooked import HookedTransformer
from lens.hooks import HookPoint, hooks
from lens.progress import Progress, silent

Rest = Literal["renormalised", "lost"]
RESTS = {
    "renormalised": "the cells get score −∞ before the softmax, so the other keys of the query share their attention",
    "lost": "the cells get attention 0 after the softmax, and the other keys keep what they had",
}
DRAWS = 16  # control runs, at most
TOP = 8  # tokens of a prediction
BYTES = 64_000_000  # of the patterns of one layer, or what its MLP holds, at once


class PatternCell(NamedTuple):
    """One place of an attention pattern: from this query to this key, zero-based."""

    query: int
    key: int

    def __str__(self) -> str:
        return f"{self.query}-{self.key}"


Cut = tuple[PatternCell, ...]  # the cells that one run goes without


class Knockout(NamedTuple):
    """Predictions without some cells of a head. Run 0 is uncut, run 1 cut; the others are the controls."""

    head: Head
    runs: tuple[Cut, ...]  # the cells that each run goes without
    rest: Rest
    seed: int  # of the controls
    removed: Float[Tensor, " run"]  # attention that the cells had in the uncut run, summed over them
    places: tuple[int, ...]  # positions whose prediction is read: the queries of the cells, and the last one
    following: Int[Tensor, " place"]  # the token that does follow; −1 after the last one
    tokens: Int[Tensor, "place top"]  # likeliest next ones, cut or uncut, and the one that follows
    logit: Float[Tensor, "run place top"]
    logprob: Float[Tensor, "run place top"]  # nats
    kl: Float[Tensor, "run place"]  # nats, KL(uncut ‖ run) of the next-token distributions
    loss: Float[Tensor, "run pos_minus_1"]  # nats; entry p is about the token at p + 1

    @property
    def changed(self) -> Float[Tensor, "run pos_minus_1"]:
        """Loss minus that of the uncut run, nats; above 0 where the text became more surprising."""
        return self.loss - self.loss[:1]

    @property
    def most_moved(self) -> int:
        """Index of the place whose prediction the cut changes most."""
        return int(self.kl[1].argmax())


class Beside(NamedTuple):
    """A change that the cut makes, beside that of each control run. NaN where there is no control."""

    cut: float
    mean: float  # of the controls
    low: float
    high: float
    n: int  # control runs
    larger: int  # of which change it as much as the cut or more, in size


def beside(changes: Float[np.ndarray, " run"]) -> Beside:
    """``changes`` of one number, a run each, as in :class:`Knockout`: the uncut one, the cut one, the controls."""
    cut, controls = float(changes[1]), np.asarray(changes[2:], np.float64)
    if not len(controls):
        return Beside(cut, np.nan, np.nan, np.nan, 0, 0)
    larger = int((np.abs(controls) >= abs(cut)).sum())
    return Beside(cut, float(controls.mean()), float(controls.min()), float(controls.max()), len(controls), larger)


@torch.no_grad()
def knockout(
    model: HookedTransformer,
    head: Head | tuple[int, int],
    tokens: Int[Tensor, "1 pos"],
    cells: Sequence[tuple[int, int]],
    rest: Rest = "renormalised",
    seed: int = 0,
    draws: int = DRAWS,
    progress: Progress = silent,
) -> Knockout:
    """What the model predicts when ``head`` may not look from some queries at some keys.

    ``rest`` says what becomes of the other keys of those queries (``RESTS``). ``draws`` and ``seed`` are those of
    :func:`control_cuts`. ValueError for a cell that the head cannot see, and for a query that would be left without
    any key to share its attention.
    """
    head, cut = Head(*head), tuple(dict.fromkeys(PatternCell(*cell) for cell in cells))
    check_heads([head], model.cfg)
    if tokens.shape[0] != 1 or tokens.shape[1] < 2:
        raise ValueError(f"knockout: tokens of shape {list(tokens.shape)}; wanted one text of at least two.")
    allowed = allowed_keys(model, head.layer, tokens.shape[1])
    if problem := why_not_cut(allowed, cut, rest):
        raise ValueError(f"knockout of head {head}: {problem}.")
    names = [f"blocks.{head.layer}.hook_resid_pre", f"blocks.{head.layer}.attn.hook_pattern"]
    progress(0.0, f"reading the text up to layer {head.layer}")
    _, cache = model.run_with_cache(tokens, names_filter=names, stop_at_layer=head.layer + 1)
    pattern = cache[names[1]][0, head.head].float().cpu()
    runs = ((), cut, *control_cuts(allowed, cut, draws, seed))
    read = _Reading(model, tokens, cut)
    for at, stream in enumerate(cut_streams(model, head, cache[names[0]], runs, rest)):
        progress((at + 1) / (len(runs) + 1), "uncut" if at == 0 else "cut" if at == 1 else f"control {at - 1}")
        read.add(stream)
    removed = torch.tensor([sum(float(pattern[cell]) for cell in run) for run in runs])
    return Knockout(head, runs, rest, seed, removed, read.places, *read.result())


def why_not_cut(allowed: Bool[Tensor, "query key"], cut: Cut, rest: Rest) -> str:
    """Why these cells cannot be cut, without a full stop; "" where they can. ``allowed``: which keys a query sees."""
    if rest not in RESTS:
        return f"rest={rest!r}; it must be one of {', '.join(RESTS)}"
    if not cut:
        return "no cell is named; give (query, key) pairs"
    for query, key in cut:
        if not (0 <= query < len(allowed) and 0 <= key < len(allowed)):
            return f"there is no cell {query}-{key} in a text of {len(allowed)} tokens"
        if not allowed[query, key]:
            return f"query {query} does not see key {key}, so nothing can be cut there"
    for query in sorted({cell.query for cell in cut}):
        if rest == "renormalised" and sum(cell.query == query for cell in cut) == int(allowed[query].sum()):
            return f"query {query} would have no key left to share its attention"
    return ""


def control_cuts(allowed: Bool[Tensor, "query key"], cut: Cut, draws: int, seed: int) -> tuple[Cut, ...]:
    """For each draw as many other cells of the same queries, each from the keys that the query sees and ``cut`` leaves.

    Fewer where a query has fewer such keys. Draws that come out alike count once, so that there may be fewer than
    ``draws``, and none where the queries see nothing else.
    """
    generator, different = torch.Generator().manual_seed(seed), {}
    keys = {query: [cell.key for cell in cut if cell.query == query] for query, _ in cut}
    others = {
        query: [key for key in allowed[query].nonzero()[:, 0].tolist() if key not in own] for query, own in keys.items()
    }
    for _ in range(draws):
        cells: list[PatternCell] = []
        for query, own in keys.items():
            order = torch.randperm(len(others[query]), generator=generator)[: len(own)].tolist()
            cells += [PatternCell(query, others[query][at]) for at in sorted(order)]
        different[tuple(cells)] = None
    return tuple(cells for cells in different if cells)


def cut_streams(
    model: HookedTransformer, head: Head, resid: Float[Tensor, "1 pos d_model"], runs: Sequence[Cut], rest: Rest
) -> Iterator[Float[Tensor, "pos d_model"]]:
    """The stream before the final norm, [pos, d_model], of each run, from the stream that enters the head's layer."""
    cfg, n_pos = model.cfg, resid.shape[1]
    size = max(1, BYTES // (4 * n_pos * max(cfg.n_heads * n_pos, 2 * cfg.d_mlp)))
    point = "hook_attn_scores" if rest == "renormalised" else "hook_pattern"
    for start in range(0, len(runs), size):
        some = runs[start : start + size]
        removed = partial(_remove, head=head.head, runs=some, value=-torch.inf if rest == "renormalised" else 0.0)
        with hooks(model, [(f"blocks.{head.layer}.attn.{point}", removed)]):
            rows = resid.expand(len(some), -1, -1)
            streams = model(rows, start_at_layer=head.layer, stop_at_layer=cfg.n_layers)
        yield from streams


def _remove(x: Tensor, hook: HookPoint, head: int, runs: Sequence[Cut], value: float) -> Tensor:
    for row, cut in enumerate(runs):
        for query, key in cut:
            x[row, head, query, key] = value
    return x


class _Reading:
    """Predictions and losses of one run after the other, the uncut one first and the cut one second."""

    def __init__(self, model: HookedTransformer, tokens: Int[Tensor, "1 pos"], cut: Cut) -> None:
        self.model, self.tokens = model, tokens.to(model.device)
        self.first = min(cell.query for cell in cut)  # what comes before is the same in every run
        self.places = tuple(sorted({*(cell.query for cell in cut), tokens.shape[1] - 1}))
        self.losses: list[Tensor] = []
        self.before: list[Tensor] = []  # logits of the uncut and the cut run at the places, [place, d_vocab]
        self.controls: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, stream: Float[Tensor, "pos d_model"]) -> None:
        """Read the next run."""
        start = self.first if self.losses else 0
        self.losses.append(torch.cat([*(loss[:start] for loss in self.losses[:1]), self._loss(stream, start)]))
        logits = self._logits(stream[list(self.places)])
        if len(self.before) < 2:
            self.before.append(logits)
        else:
            self.controls.append(self._numbers(logits))

    def result(self) -> tuple[Tensor, ...]:
        """The fields of :class:`Knockout` from ``following`` on."""
        loss = torch.stack(self.losses)
        require_finite(self.model, self.tokens, loss)
        runs = [*(self._numbers(logits) for logits in self.before), *self.controls]
        return (self.following.cpu(), self.likeliest.cpu(), *(torch.stack(rows).cpu() for rows in zip(*runs)), loss)

    @cached_property
    def following(self) -> Int[Tensor, " place"]:
        """The token after each place, −1 after the last."""
        after = torch.cat([self.tokens[0, 1:], self.tokens.new_tensor([-1])])
        return after[list(self.places)]

    @cached_property
    def likeliest(self) -> Int[Tensor, "place top"]:
        """What either run expects most, and the token that follows."""
        largest = torch.maximum(*(logits.softmax(-1) for logits in self.before))
        following = self.following.to(largest.device)
        known = following >= 0
        largest[known, following[known]] = 2.0  # above any probability
        return largest.topk(min(TOP, largest.shape[-1])).indices

    def _numbers(self, logits: Float[Tensor, "place d_vocab"]) -> tuple[Tensor, Tensor, Tensor]:
        uncut, logprob, at = self.before[0].log_softmax(-1), logits.log_softmax(-1), self.likeliest
        kl = (uncut.exp() * (uncut - logprob)).sum(-1).clamp(min=0)  # rounding can take it below
        return logits.gather(-1, at), logprob.gather(-1, at), kl

    def _logits(self, stream: Float[Tensor, "pos d_model"]) -> Float[Tensor, "pos d_vocab"]:
        return self.model(stream[:, None], start_at_layer=self.model.cfg.n_layers)[:, 0].float()

    def _loss(self, stream: Float[Tensor, "pos d_model"], start: int) -> Float[Tensor, " predicted"]:
        read, target = stream[start:-1], self.tokens[0, start + 1 :]
        losses = [stream.new_empty(0, dtype=torch.float32).cpu()]
        for at in chunks(len(read), self.model.cfg.d_vocab):
            logprob = self._logits(read[at]).log_softmax(-1)
            losses.append(-logprob.gather(-1, target[at, None].to(logprob.device))[:, 0].cpu())
        return torch.cat(losses)
