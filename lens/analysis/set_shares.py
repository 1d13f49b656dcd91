"""What a head's OV circuit would do to the words of a set, beside what it does with random rotations inside the head.

For the words of a set only their own rows are formed, and for an order only the set's own columns.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.analysis.circuit_weights import (
    Embedding,
    output_weights,
    source_rows,
    stream_embedding,
    value_weights,
    write_through,
)
from lens.analysis.large_products import ENTRIES, midrank
from lens.analysis.ov_copying import haar
from lens.analysis.score_results import HeadScore, Kind
from lens.analysis.stats import share
from lens.analysis.verdicts import exceeds, too_few
from lens.analysis.word_sets import OrdinalSet
from lens.batching import at_once
from lens.finite import require_finite_weights
from lens.hooked import HookedTransformer
from lens.progress import Progress, silent

ROTATIONS = 20  # of every head: the best of all heads beats all of them by chance in 1 of 21 models
FIRST_COLUMNS = 2048  # of the vocabulary, that rule out most rows
CLOSE = 1e-5  # of a row's largest entry: two entries nearer than that may differ by rounding alone
RULE = (
    f"more than the best of all heads reaches in any of {ROTATIONS} random rotations of W_V R W_O, which happens by "
    f"chance in 1 of {ROTATIONS + 1} models"
)


Read = Callable[[Tensor, Tensor], Tensor]  # rows of a head's values and its W_O → one number a row


class Hits(NamedTuple):
    """Which tokens a head hits; ``null``: shares that the same gives where there is nothing, draw by draw."""

    hits: Bool[Tensor, "token layer head"]
    null: Float[Tensor, "draw layer head"]
    chance: float  # of a row that has nothing to do with its token


def embedding_of(model: HookedTransformer) -> Embedding:
    """What later layers read of a token: with the first MLP's output, where there is one."""
    return "tokens" if model.cfg.attn_only else "first_mlp"


@torch.no_grad()
def own_hits(
    model: HookedTransformer,
    ids: Sequence[int],
    k: int,
    lowered: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> Hits:
    """Whether each token is among the ``k`` that the head would raise (or lower) most by attending to it.

    A row is formed in full only if too few of some columns exceed its own entry to rule the token out: exact, and of
    most heads and nearly all rotations those columns are enough. What all logits share moves no rank, so it is left in.
    """
    chosen, d_vocab, sign = torch.tensor(list(ids)), model.cfg.d_vocab, -1 if lowered else 1
    W_U = model.unembed.W_U
    some = torch.randperm(d_vocab, generator=torch.Generator().manual_seed(seed))[:FIRST_COLUMNS].to(W_U.device)
    first = W_U[:, some].float()

    def hit(reads: Float[Tensor, "row d_head"], W_O: Float[Tensor, "d_head d_model"]) -> Float[Tensor, " row"]:
        writes, own_ids = write_through(model.ln_final, W_O), chosen.repeat(len(reads) // len(chosen)).to(W_U.device)
        values = sign * (reads @ (writes @ first))
        own = sign * ((reads @ writes) * W_U[:, own_ids].T.float()).sum(-1, keepdim=True)
        slack = CLOSE * values.abs().amax(-1, keepdim=True)
        open_rows = (values > own + slack).sum(-1) <= k - 1  # the others are ruled out by these columns alone
        found, step = torch.zeros(len(reads), device=reads.device), max(1, at_once(ENTRIES // d_vocab))
        for rows in open_rows.nonzero()[:, 0].split(step):
            whole = sign * ((reads[rows] @ writes) @ W_U.float())
            found[rows] = (midrank(whole, whole.gather(1, own_ids[rows, None])) <= k - 1).float()
        return found

    found = _every_head(model, chosen, hit, seed, progress)
    return Hits(found[0] > 0, found[1:].mean(1), k / d_vocab)


@torch.no_grad()
def successor_hits(
    model: HookedTransformer, sets: Sequence[OrdinalSet], seed: int = 0, progress: Progress = silent
) -> Hits:
    """Whether the OV of each token that has a successor ranks that first among the tokens of its set.

    Null: rotations of the head, and as many random orders of each set in place of its own.
    """
    generator, hits, null, even = torch.Generator().manual_seed(seed), [], [], []
    for place, one in enumerate(sets):
        ids = torch.tensor(one.ids)
        first, then = torch.tensor(one.pairs).T

        columns = model.unembed.W_U[:, ids.to(model.unembed.W_U.device)].float()

        def largest(
            reads: Float[Tensor, "row d_head"], W_O: Tensor, columns: Tensor = columns, first: Tensor = first
        ) -> Float[Tensor, " row"]:
            logits = write_through(model.ln_final, W_O) @ columns.to(W_O.device)
            return (reads.unflatten(0, (-1, len(columns.T)))[:, first] @ logits).argmax(-1).flatten().float()

        top = _every_head(model, ids, largest, seed, _part(progress, place, len(sets))).long()
        hits.append(top[0] == then[:, None, None])
        orders = torch.stack([torch.randperm(len(ids), generator=generator)[then] for _ in range(ROTATIONS)])
        shuffled = (top[:1] == orders[:, :, None, None]).float()
        null.append(torch.cat([(top[1:] == then[:, None, None]).float(), shuffled]))
        even.append((len(one.pairs), 1 / len(ids)))
    n = sum(count for count, _ in even)
    chance = sum(count * each for count, each in even) / n
    return Hits(torch.cat(hits), torch.cat(null, 1).mean(1), chance)


def _part(progress: Progress, place: int, of: int) -> Progress:
    return lambda fraction, stage: progress((place + fraction) / of, stage)


def _every_head(
    model: HookedTransformer, ids: Int[Tensor, " token"], read: Read, seed: int, progress: Progress
) -> Float[Tensor, "turn token layer head"]:
    """What ``read`` says of every head's rows of the words, and of the same with each of its rotations after them."""
    cfg, generator, layers = model.cfg, torch.Generator().manual_seed(seed), []
    for layer in range(cfg.n_layers):
        rows = source_rows(model, ids, stream_embedding(layer, embedding_of(model)))
        V, W_O = value_weights(model, layer), output_weights(model, layer)
        require_finite_weights(model, rows, "embedding of the words")
        heads = []
        for head in range(cfg.n_heads):
            turns = torch.cat([torch.eye(cfg.d_head)[None], haar((ROTATIONS,), cfg.d_head, generator)]).to(rows)
            reads = (rows @ V[head // cfg.group_size]) @ turns
            heads.append(read(reads.flatten(0, 1), W_O[head]).cpu().unflatten(0, (len(turns), -1)))
        layers.append(torch.stack(heads, -1))
        progress((layer + 1) / cfg.n_layers, f"layer {layer} of {cfg.n_layers}")
    return torch.stack(layers, -2)


def shares_score(kind: Kind, found: Hits, unit: str, rule: str = RULE) -> HeadScore:
    """The share of tokens that each head hits; above chance is more than any draw of any head."""
    mean, few = share(found.hits, unit), too_few(len(found.hits), unit)
    threshold = float(found.null.max())
    return HeadScore(
        kind,
        found.hits.float(),
        mean,
        found.null,
        found.null.mean(0),
        None,
        None if few else threshold,
        None if few else exceeds(mean.mean, threshold),
        few,
        found.chance,
        0,
        rule,
    )
