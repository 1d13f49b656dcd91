"""What one pair of writes does for a head: cut out of its queries, out of its keys, and out of both.

Each way the head's whole pattern is made anew and the run goes on from its layer with that pattern alone changed: its
values, and every other head of its layer, are what they were. What changes is what this head's looking is good for.
"""

from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.answer.feeder_cuts import Receiver, changes
from lens.analysis.answer.head_inputs import Write
from lens.analysis.answer.qk_attribution import Cells
from lens.analysis.loss import chunks
from lens.analysis.names import Head
from lens.attention import KeyValues
from lens.cache import ActivationCache
from lens.finite import require_finite
from lens.hooked import HookedTransformer
from lens.hooks import HookPoint, hooks
from lens.progress import Progress, silent

# "both" is no cut twice: queries and keys of an induction head that read the same other tokens match again.
WAYS = ("uncut", "queries", "keys", "both")
DEFINITION = (
    "Attention on the cells and loss of the tokens after their queries, with a write replaced by its value in the "
    "control run in what this head's queries, its keys, or both are made from; everything else of its layer unchanged."
)


class Runs(NamedTuple):
    """Runs up to the layer of a head: of the text, and of what stands in its place in queries and in keys."""

    base: ActivationCache
    for_queries: ActivationCache
    for_keys: ActivationCache
    tokens: Int[Tensor, "sequence pos"]


class PairCut(NamedTuple):
    """The head's attention and the loss with a pair of writes cut out of what it reads, in each of ``WAYS``."""

    asks: Write  # read by the queries
    answers: Write  # read by the keys
    attention: Float[Tensor, "way sequence"]  # probability, mean over cells
    loss: Float[Tensor, "way sequence"]  # nats, mean over the predictions at the queries; NaN where there is none
    same: tuple[bool, bool]  # whether either is the same in the control run, as positions are: then nothing is cut


@torch.no_grad()
def pair_cut_of(
    runs: Runs, head: Head, cells: Cells, asks: Write, answers: Write, progress: Progress = silent
) -> PairCut:
    """Both cuts of one pair. ValueError for a write that does not stand before the head."""
    base, layer = runs.base, head.layer
    resid = base[f"blocks.{layer}.hook_resid_pre"]
    every = torch.arange(resid.shape[1], device=resid.device)
    sides = {side: Receiver(base, head, side, cells, every) for side in "qk"}
    made, same = {side: sides[side].made(resid) for side in "qk"}, []
    cut = {}
    for side, write, other in (("q", asks, runs.for_queries), ("k", answers, runs.for_keys)):
        change = change_of(base, other, layer, write)
        same.append(change is None)
        cut[side] = made[side] if change is None else sides[side].made(resid + change.to(resid))
    attention, losses, onward = [], [], Onward(base.model, head, resid, runs.tokens, cells)
    for way, changed in zip(WAYS, ("", "q", "k", "qk")):
        progress(len(losses) / len(WAYS), f"the run on from layer {layer}, cut: {way}")
        pattern = sides["q"].pattern(*((cut if side in changed else made)[side] for side in "qk"), every)
        attention.append(pattern[:, list(cells.queries), list(cells.keys)].mean(1))
        losses.append(onward.loss(pattern))
    return PairCut(asks, answers, torch.stack(attention).cpu(), torch.stack(losses).cpu(), (same[0], same[1]))


def change_of(
    base: ActivationCache, other: ActivationCache, layer: int, write: Write
) -> Float[Tensor, "batch pos d_model"] | None:
    """What replacing one write by its value in the other run adds to the stream; None for one that is the same."""
    if write.kind in ("positions", "biases", "cut"):
        return None
    for labels, change in changes(base, other, layer, torch.arange(base["hook_embed"].shape[1])):
        if write in labels:
            return change[labels.index(write)]
    raise ValueError(f"There is no write {write} before layer {layer}; choose the embedding, a head or an MLP before.")


class Onward:
    """Runs on from the layer of a head, with one pattern or another in the place of its own."""

    def __init__(self, model: HookedTransformer, head: Head, resid: Tensor, tokens: Tensor, cells: Cells) -> None:
        self.model, self.head, self.resid, self.tokens = model, head, resid, tokens
        self.places = [query for query in cells.queries if query + 1 < tokens.shape[1]]
        self._first: tuple[Tensor, KeyValues, Tensor] | None = None  # of the first run: pattern, keys, stream

    def loss(self, pattern: Float[Tensor, "sequence query key"]) -> Float[Tensor, " sequence"]:
        """Mean loss of the tokens after the queries with this pattern; NaN where there is none.

        Positions before the first query whose pattern is another than in the first run are what they were in it.
        """
        if not self.places:
            return torch.full((len(self.tokens),), torch.nan)
        if self._first is None:
            past = KeyValues()
            self._first = pattern, past, self._stream(pattern, 0, past)
        first, keys, stream = self._first
        differ = (pattern != first).any(-1).any(0).nonzero()
        if len(differ):
            start = min(int(differ[0]), self.places[0])
            stream = self._stream(pattern, start, _until(keys, start))
            return self._loss(stream[:, [at - start for at in self.places]])
        return self._loss(stream[:, self.places])

    def _stream(self, pattern: Tensor, start: int, past: KeyValues) -> Float[Tensor, "sequence pos d_model"]:
        """The final stream from position ``start`` on."""
        layer, n_layers = self.head.layer, self.model.cfg.n_layers
        replaced = partial(_replace, head=self.head.head, pattern=pattern[:, start:])
        with hooks(self.model, [(f"blocks.{layer}.attn.hook_pattern", replaced)]):
            return self.model(self.resid[:, start:], start_at_layer=layer, stop_at_layer=n_layers, past=past)

    def _loss(self, read: Float[Tensor, "sequence query d_model"]) -> Float[Tensor, " sequence"]:
        model, n_layers = self.model, self.model.cfg.n_layers
        target = self.tokens[:, [at + 1 for at in self.places]].flatten().to(read.device)
        found, read = [], read.flatten(0, 1)
        for at in chunks(len(read), model.cfg.d_vocab):
            logits = model(read[at, None], start_at_layer=n_layers)[:, 0].float()
            found.append(logits.logsumexp(-1) - logits.gather(-1, target[at, None].to(logits.device))[:, 0])
        loss = torch.cat(found).unflatten(0, (len(self.tokens), -1))
        require_finite(model, self.tokens, loss)
        return loss.mean(1)


def _until(keys: KeyValues, n_pos: int) -> KeyValues:
    """The first positions alone."""
    some = KeyValues()
    some.layers = {layer: (k[:, :n_pos], v[:, :n_pos]) for layer, (k, v) in keys.layers.items()}
    return some


def _replace(x: Tensor, hook: HookPoint, head: int, pattern: Tensor) -> Tensor:
    x[:, head] = pattern.to(x)
    return x
