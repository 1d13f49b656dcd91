"""Why a head looks where it does, asked in both ways: by splitting the score, and by cutting what feeds it.

Asked of the induction stripe of repeats, or of one cell of a text. Either has a control: repeats the one in which
nothing repeats, a text random tokens in the place of its own, which leaves what position alone does.
"""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from lens.analysis.answer.feeder_cuts import FeederCuts, control_of, cuts_of
from lens.analysis.answer.head_inputs import SIDES, Write, recorded, recorded_beside
from lens.analysis.answer.pair_cut import PairCut, Runs, pair_cut_of
from lens.analysis.answer.qk_attribution import Cells, QKAttribution, contrast_of, induction_cells, minus_control
from lens.analysis.names import Head
from lens.analysis.random_tokens import RepeatedTokens, sampling_set
from lens.arrays import as_tensor
from lens.cache import ActivationCache
from lens.hooked import HookedTransformer
from lens.progress import Progress, part, silent

DRAWS = 16  # texts of random tokens, against one text


class Reasons(NamedTuple):
    """What raises the score of some cells of a head, and what is left of its attention there with each write cut."""

    text: QKAttribution  # where the head looks for something
    control: QKAttribution  # the same cells, where it is not there
    cut_from_queries: FeederCuts
    cut_from_keys: FeederCuts
    pair: PairCut  # the pair of writes with the largest share, cut out of either side and of both

    @property
    def attribution(self) -> QKAttribution:
        """The contrast less that of the control."""
        return minus_control(self.text, self.control)

    @property
    def head(self) -> Head:
        """The head that is asked about."""
        return Head(*self.text.head)

    @property
    def read(self) -> QKAttribution:
        """What a mechanism is read from: the contrast less the control's, or itself where the control has it too."""
        return self.text if in_control(self.text, self.control) else self.attribution


def in_control(text: QKAttribution, control: QKAttribution) -> bool:
    """Whether the control has at least half of the contrast: then what was destroyed there does not make it."""
    plain, other = (float(as_tensor(one.total).mean()) for one in (text, control))
    return abs(other) >= abs(plain) / 2


def top_pair(text: QKAttribution, control: QKAttribution) -> tuple[Write, Write]:
    """The pair with the largest share, read by the query and by the key."""
    read = text if in_control(text, control) else minus_control(text, control)
    return read.strongest_pairs(1)[0][:2]


@torch.no_grad()
def stripe_reasons(
    model: HookedTransformer, head: Head | tuple[int, int], repeated: RepeatedTokens, progress: Progress = silent
) -> Reasons:
    """Attribution and cuts of one head's induction stripe, from three runs up to its layer and three from there on."""
    head, cells = Head(*head), induction_cells(repeated)
    return _reasons(stripe_runs(model, head, repeated, part(progress, 0, 0.5)), head, cells, part(progress, 0.5, 1))


def stripe_runs(model: HookedTransformer, head: Head, repeated: RepeatedTokens, progress: Progress = silent) -> Runs:
    """The repeats, with other tokens second (what queries read) and with other tokens first (what keys read)."""
    tokens, second, first = (
        one.to(model.device) for one in (repeated.tokens, *(control_of(repeated, side) for side in SIDES))
    )
    reading = f"reading {len(tokens)} sequences up to layer {head.layer}"
    progress(0, f"{reading}, with and without their second copy")
    base, for_queries = recorded_beside(model, head, tokens, second)
    progress(0.6, f"{reading}, other tokens first")
    return Runs(base, for_queries, recorded(model, head, first), repeated.tokens)


@torch.no_grad()
def cell_reasons(
    model: HookedTransformer,
    head: Head | tuple[int, int],
    tokens: Int[Tensor, "1 pos"],
    query: int,
    key: int,
    seed: int = 0,
    progress: Progress = silent,
) -> Reasons:
    """The same of one cell of one text, against texts of random tokens that begin with the same token.

    What is subtracted, and what a cut puts in a write's place, differs from draw to draw: the interval is over draws.
    """
    head, cells = Head(*head), Cells((query,), (key,))
    cells.check(tokens.shape[1])
    runs = cell_runs(model, head, tokens, seed, part(progress, 0, 0.5))
    return _reasons(runs, head, cells, part(progress, 0.5, 1))


def cell_runs(
    model: HookedTransformer, head: Head, tokens: Int[Tensor, "1 pos"], seed: int = 0, progress: Progress = silent
) -> Runs:
    """One text beside ``DRAWS`` of random tokens, which stand for it in queries and in keys."""
    progress(0, f"reading the text up to layer {head.layer}")
    base = recorded(model, head, tokens.to(model.device))
    progress(0.1, f"reading {DRAWS} texts of random tokens up to layer {head.layer}")
    other = recorded(model, head, random_texts(model, tokens, seed).to(model.device))
    return Runs(_rows(base, DRAWS), other, other, tokens.expand(DRAWS, -1))


def random_texts(model: HookedTransformer, tokens: Int[Tensor, "1 pos"], seed: int = 0) -> Int[Tensor, "draw pos"]:
    """``DRAWS`` texts as long as ``tokens`` that begin like it and go on with random tokens."""
    ids, generator = sampling_set(model).ids, torch.Generator().manual_seed(seed)
    drawn = ids[torch.randint(len(ids), (DRAWS, tokens.shape[1]), generator=generator)]
    drawn[:, 0] = tokens[0, 0].cpu()
    return drawn


@torch.no_grad()
def stripe_pair(
    model: HookedTransformer,
    head: Head | tuple[int, int],
    repeated: RepeatedTokens,
    asks: Write,
    answers: Write,
    progress: Progress = silent,
) -> PairCut:
    """The cut of one pair of writes for the induction stripe."""
    head = Head(*head)
    runs = stripe_runs(model, head, repeated, part(progress, 0, 0.7))
    return pair_cut_of(runs, head, induction_cells(repeated), asks, answers, part(progress, 0.7, 1))


@torch.no_grad()
def cell_pair(
    model: HookedTransformer,
    head: Head | tuple[int, int],
    tokens: Int[Tensor, "1 pos"],
    query: int,
    key: int,
    asks: Write,
    answers: Write,
    seed: int = 0,
    progress: Progress = silent,
) -> PairCut:
    """The cut of one pair of writes for one cell of a text."""
    head, cells = Head(*head), Cells((query,), (key,))
    runs = cell_runs(model, head, tokens, seed, part(progress, 0, 0.7))
    return pair_cut_of(runs, head, cells, asks, answers, part(progress, 0.7, 1))


def _reasons(runs: Runs, head: Head, cells: Cells, progress: Progress) -> Reasons:
    progress(0, "splitting the scores by what wrote queries and keys")
    text, control = contrast_of(runs.base, head, cells), contrast_of(runs.for_queries, head, cells)
    queries = cuts_of(runs.base, runs.for_queries, head, cells, "q", part(progress, 0.2, 0.4))
    keys = cuts_of(runs.base, runs.for_keys, head, cells, "k", part(progress, 0.4, 0.6))
    asks, answers = top_pair(text, control)
    pair = pair_cut_of(runs, head, cells, asks, answers, part(progress, 0.6, 1))
    return Reasons(text, control, queries, keys, pair)


def _rows(cache: ActivationCache, n: int) -> ActivationCache:
    """A run of one row as ``n`` equal rows, which share their memory."""
    one = {name: value.expand(n, *value.shape[1:]) if len(value) == 1 else value for name, value in cache.items()}
    return ActivationCache(one, cache.model)
