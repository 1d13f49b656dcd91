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
    sides = {side: Receiver(base, head, side, cells) for side in "qk"}
    resid = base[f"blocks.{layer}.hook_resid_pre"]
    made, same = {side: sides[side].made(resid) for side in "qk"}, []
    cut = {}
    for side, write, other in (("q", asks, runs.for_queries), ("k", answers, runs.for_keys)):
        change = change_of(base, other, layer, write)
        same.append(change is None)
        cut[side] = made[side] if change is None else sides[side].made(resid + change.to(resid))
    attention, losses = [], []
    every = torch.arange(resid.shape[1], device=resid.device)
    for way, changed in zip(WAYS, ("", "q", "k", "qk")):
        progress(len(losses) / len(WAYS), f"the run on from layer {layer}, cut: {way}")
        pattern = sides["q"].pattern(*((cut if side in changed else made)[side] for side in "qk"), every)
        attention.append(pattern[:, list(cells.queries), list(cells.keys)].mean(1))
        losses.append(_loss(base.model, head, resid, pattern, runs.tokens, cells))
    return PairCut(asks, answers, torch.stack(attention).cpu(), torch.stack(losses).cpu(), (same[0], same[1]))


def change_of(
    base: ActivationCache, other: ActivationCache, layer: int, write: Write
) -> Float[Tensor, "batch pos d_model"] | None:
    """What replacing one write by its value in the other run adds to the stream; None for one that is the same."""
    if write.kind in ("positions", "biases", "cut"):
        return None
    for labels, change in changes(base, other, layer):
        if write in labels:
            return change[labels.index(write)]
    raise ValueError(f"There is no write {write} before layer {layer}; choose the embedding, a head or an MLP before.")


def _loss(
    model: HookedTransformer, head: Head, resid: Tensor, pattern: Tensor, tokens: Tensor, cells: Cells
) -> Float[Tensor, " sequence"]:
    """Mean loss of the tokens after the queries, with this pattern in the place of the head's own."""
    places = [query for query in cells.queries if query + 1 < tokens.shape[1]]
    if not places:
        return torch.full((len(tokens),), torch.nan)
    replaced = partial(_replace, head=head.head, pattern=pattern)
    with hooks(model, [(f"blocks.{head.layer}.attn.hook_pattern", replaced)]):
        stream = model(resid, start_at_layer=head.layer, stop_at_layer=model.cfg.n_layers)
    read, target = stream[:, places].flatten(0, 1), tokens[:, [at + 1 for at in places]].flatten().to(stream.device)
    found = []
    for at in chunks(len(read), model.cfg.d_vocab):
        logits = model(read[at, None], start_at_layer=model.cfg.n_layers)[:, 0].float()
        found.append(-logits.log_softmax(-1).gather(-1, target[at, None].to(logits.device))[:, 0])
    loss = torch.cat(found).unflatten(0, (len(tokens), -1))
    require_finite(model, tokens, loss)
    return loss.mean(1)


def _replace(x: Tensor, hook: HookPoint, head: int, pattern: Tensor) -> Tensor:
    x[:, head] = pattern.to(x)
    return x
