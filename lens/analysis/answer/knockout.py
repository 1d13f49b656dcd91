"""Attention knockout: what the look of some heads from some queries at some keys is good for.

The chosen cells of the heads' patterns are cut together, the run goes on from the first of their layers, and the
predictions are compared with those of the uncut run and of control runs in which as many other cells of the same
queries of the same heads are cut. Source: Geva et al.
2023, "Dissecting recall of factual associations in auto-regressive language models".
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.analysis.answer.qk_attribution import allowed_keys
from lens.analysis.loss import chunks
from lens.analysis.names import Head, HeadCell, check_heads
from lens.batching import at_once
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


Cut = tuple[HeadCell, ...]  # the cells that one run goes without
Allowed = Mapping[int, Bool[Tensor, "query key"]]  # by layer, which keys a query sees


class Knockout(NamedTuple):
    """Predictions without some cells of some heads. Run 0 is uncut, run 1 cut; the others are the controls."""

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
    def heads(self) -> tuple[Head, ...]:
        """The heads that are cut, in the order of the model."""
        return tuple(sorted({cell.head for cell in self.runs[1]}))

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
    """:func:`knockout_of` cells of one head: what the model predicts when it may not look from a query at a key."""
    named = [HeadCell(Head(*head), *cell) for cell in cells]
    return knockout_of(model, named, tokens, rest, seed, draws, progress)


@torch.no_grad()
def knockout_of(
    model: HookedTransformer,
    cells: Sequence[HeadCell],
    tokens: Int[Tensor, "1 pos"],
    rest: Rest = "renormalised",
    seed: int = 0,
    draws: int = DRAWS,
    progress: Progress = silent,
) -> Knockout:
    """What the model predicts when some heads may not look from some queries at some keys, all of them at once.

    ``rest`` says what becomes of the other keys of those queries (``RESTS``). ``draws`` and ``seed`` are those of
    :func:`control_cuts`. ValueError for a cell that its head cannot see, and for a query that would be left without
    any key to share its attention.
    """
    cut = tuple(dict.fromkeys(cells))
    check_heads([cell.head for cell in cut], model.cfg)
    if tokens.shape[0] != 1 or tokens.shape[1] < 2:
        raise ValueError(f"knockout: tokens of shape {list(tokens.shape)}; wanted one text of at least two.")
    allowed = allowed_of(model, cut, tokens.shape[1])
    if problem := why_not_cut(allowed, cut, rest):
        raise ValueError(f"knockout: {problem}.")
    first, last = min(allowed), max(allowed)
    stream, patterns = f"blocks.{first}.hook_resid_pre", {at: f"blocks.{at}.attn.hook_pattern" for at in allowed}
    progress(0.0, f"reading the text up to layer {last}")
    _, cache = model.run_with_cache(tokens, names_filter=[stream, *patterns.values()], stop_at_layer=last + 1)
    runs = ((), cut, *control_cuts(allowed, cut, draws, seed))
    read = _Reading(model, tokens, cut)
    for at, final in enumerate(cut_streams(model, first, cache[stream], runs, rest)):
        progress((at + 1) / (len(runs) + 1), "uncut" if at == 0 else "cut" if at == 1 else f"control {at - 1}")
        read.add(final)
    had = {head: cache[patterns[head.layer]][0, head.head].float().cpu() for head in {cell.head for cell in cut}}
    removed = torch.tensor([sum(float(had[cell.head][cell.query, cell.key]) for cell in run) for run in runs])
    return Knockout(runs, rest, seed, removed, read.places, *read.result())


def allowed_of(model: HookedTransformer, cut: Sequence[HeadCell], n_pos: int) -> Allowed:
    """Which keys the queries of a text see, for each layer of the cells."""
    return {layer: allowed_keys(model, layer, n_pos).cpu() for layer in sorted({cell.head.layer for cell in cut})}


def why_not_cut(allowed: Allowed, cut: Cut, rest: Rest) -> str:
    """Why these cells cannot be cut, without a full stop; "" where they can. ``allowed``: see :func:`allowed_of`."""
    if rest not in RESTS:
        return f"rest={rest!r}; it must be one of {', '.join(RESTS)}"
    if not cut:
        return "no cell is named; give (query, key) pairs"
    for cell in cut:
        sees = allowed[cell.head.layer]
        if not (0 <= cell.query < len(sees) and 0 <= cell.key < len(sees)):
            return f"head {cell.head}: there is no cell {cell.query}-{cell.key} in a text of {len(sees)} tokens"
        if not sees[cell.query, cell.key]:
            return f"head {cell.head}: query {cell.query} does not see key {cell.key}, so nothing can be cut there"
    for (head, query), keys in _rows(cut).items():
        if rest == "renormalised" and len(keys) == int(allowed[head.layer][query].sum()):
            return f"head {head}: query {query} would have no key left to share its attention"
    return ""


def _rows(cut: Cut) -> dict[tuple[Head, int], list[int]]:
    """The keys that are cut in each row of a pattern, by (head, query)."""
    rows: dict[tuple[Head, int], list[int]] = {}
    for head, query, key in cut:
        rows.setdefault((head, query), []).append(key)
    return rows


def control_cuts(allowed: Allowed, cut: Cut, draws: int, seed: int) -> tuple[Cut, ...]:
    """For each draw as many other cells of the same rows, each from the keys that the query sees and ``cut`` leaves.

    Fewer where a query has fewer such keys. Draws that come out alike count once, so that there may be fewer than
    ``draws``, and none where the queries see nothing else.
    """
    generator, different = torch.Generator().manual_seed(seed), {}
    rows = _rows(cut)
    others = {
        (head, query): [key for key in allowed[head.layer][query].nonzero()[:, 0].tolist() if key not in own]
        for (head, query), own in rows.items()
    }
    for _ in range(draws):
        cells: list[HeadCell] = []
        for (head, query), own in rows.items():
            keys = others[head, query]
            order = torch.randperm(len(keys), generator=generator)[: len(own)].tolist()
            cells += [HeadCell(head, query, keys[at]) for at in sorted(order)]
        different[tuple(cells)] = None
    return tuple(cells for cells in different if cells)


def cut_streams(
    model: HookedTransformer, layer: int, resid: Float[Tensor, "1 pos d_model"], runs: Sequence[Cut], rest: Rest
) -> Iterator[Float[Tensor, "pos d_model"]]:
    """The stream before the final norm, [pos, d_model], of each run, from the stream that enters ``layer``.

    ``layer`` is the first, or before the first, in which anything is cut.
    """
    cfg, n_pos = model.cfg, resid.shape[1]
    size = at_once(BYTES // (4 * n_pos * max(cfg.n_heads * n_pos, 2 * cfg.d_mlp)))
    point = "hook_attn_scores" if rest == "renormalised" else "hook_pattern"
    value = -torch.inf if rest == "renormalised" else 0.0
    for start in range(0, len(runs), size):
        some = runs[start : start + size]
        layers = sorted({cell.head.layer for run in some for cell in run})
        specs = [(f"blocks.{at}.attn.{point}", partial(_remove, layer=at, runs=some, value=value)) for at in layers]
        with hooks(model, specs):
            rows = resid.expand(len(some), -1, -1)
            streams = model(rows, start_at_layer=layer, stop_at_layer=cfg.n_layers)
        yield from streams


def _remove(x: Tensor, hook: HookPoint, layer: int, runs: Sequence[Cut], value: float) -> Tensor:
    for row, cut in enumerate(runs):
        for head, query, key in cut:
            if head.layer == layer:
                x[row, head.head, query, key] = value
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
