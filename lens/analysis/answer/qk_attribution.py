"""Why a head looks where it looks: which writes, read by its queries and by its keys, raise the score of a cell.

A constant per query changes no attention, so everything is read as a contrast: the score of the cell in question minus
the mean of the query's other keys, the first token (a resting place) left out. The contrast is a sum over pairs of
writes, one that the query reads and one that the key reads.
"""

from typing import NamedTuple

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.analysis.answer.head_inputs import Write, head_inputs, recorded, writes_before
from lens.analysis.names import Head
from lens.analysis.random_tokens import RepeatedTokens
from lens.analysis.stats import Estimate, estimate
from lens.arrays import as_tensor
from lens.batching import at_once
from lens.cache import ActivationCache
from lens.hooked import HookedTransformer
from lens.progress import Progress, part, silent

BYTES = 64_000_000  # of the writes that queries or keys read, held at once
DEFINITION = (
    "Score before the softmax of the cells in question minus the mean score of the query's other keys, the first token "
    "left out; mean over queries, as a sum over pairs of writes: one that the query reads, one that the key reads."
)
NULL = "the same cells in the paired control, where the block is not repeated; subtracted sequence by sequence"
SOURCE = "Elhage et al. 2021, a mathematical framework for transformer circuits (the QK circuit as a sum over paths)"


class Cells(NamedTuple):
    """Cells of a pattern: each query with the key that is asked about; zero-based positions."""

    queries: tuple[int, ...]
    keys: tuple[int, ...]

    def check(self, n_pos: int) -> None:
        """ValueError unless every key is a position that its query may see, and not the first."""
        if len(self.queries) != len(self.keys) or not self.queries:
            raise ValueError(f"Cells: {len(self.queries)} queries and {len(self.keys)} keys; wanted one key per query.")
        for query, key in zip(self.queries, self.keys):
            if not 0 < key <= query < n_pos:
                raise ValueError(
                    f"Cells: query {query} with key {key}; wanted 0 < key ≤ query < {n_pos}. The first token is a "
                    "resting place and stands on neither side of a contrast."
                )


def induction_cells(repeated: RepeatedTokens) -> Cells:
    """The induction stripe: every query of the second copy with the place after its own token in the first."""
    return Cells(tuple(repeated.queries), tuple(query - repeated.n + 1 for query in repeated.queries))


class QKAttribution(NamedTuple):
    """The contrast of some cells as a sum over pairs of writes; ``control`` is subtracted where there is one."""

    head: Head
    writes: tuple[Write, ...]
    pairs: Float[Tensor, "query_write key_write"]  # scores (nats of log-odds between two keys); mean over sequences
    query_side: Float[Tensor, "sequence write"]  # each write read by the query, with all keys
    key_side: Float[Tensor, "sequence write"]  # each write read by the key, with all queries
    bias: Float[Tensor, " sequence"]  # what a bias of the scores by distance adds
    control: Float[Tensor, " sequence"] | None  # the contrast of the control, which is subtracted everywhere

    @property
    def total(self) -> Float[Tensor, " sequence"]:
        """The contrast itself, before a cap on scores: all pairs and the bias together."""
        return as_tensor(self.query_side).sum(-1) + as_tensor(self.bias)

    def side(self, side: str, seed: int = 0) -> Estimate:
        """Each write's share of the contrast on one side, "q" or "k", with its interval over sequences."""
        return estimate(as_tensor(self.query_side if side == "q" else self.key_side), seed=seed)

    def strongest(self, side: str, count: int = 3) -> list[tuple[Write, float]]:
        """The writes that raise the contrast most on one side, the largest first."""
        mean = as_tensor(self.query_side if side == "q" else self.key_side).mean(0)
        best = mean.topk(min(count, len(mean)))
        return [(self.writes[at], value) for value, at in zip(best.values.tolist(), best.indices.tolist())]

    def strongest_pairs(self, count: int = 3) -> list[tuple[Write, Write, float]]:
        """The pairs (read by the query, read by the key) that raise the contrast most, the largest first."""
        flat = as_tensor(self.pairs).flatten()
        best = flat.topk(min(count, len(flat)))
        n = len(self.writes)
        return [
            (self.writes[at // n], self.writes[at % n], value)
            for value, at in zip(best.values.tolist(), best.indices.tolist())
        ]


def layer_shares(attribution: QKAttribution, side: str) -> dict[str, float]:
    """Shares of the contrast on one side, "q" or "k", summed by where they were written, in this order.

    "biases" (with what a cap on queries and keys takes), "embedding" (with the positions), "layer 0" and so on. They
    sum to what all writes add.
    """
    mean = as_tensor(attribution.query_side if side == "q" else attribution.key_side).mean(0)
    sums = dict.fromkeys(("biases", "embedding", *(f"layer {layer}" for layer in range(attribution.head[0]))), 0.0)
    for write, value in zip(attribution.writes, mean.tolist()):
        outside = "embedding" if write.kind in ("embedding", "positions") else "biases"
        sums[outside if write.layer is None else f"layer {write.layer}"] += value
    return sums


@torch.no_grad()
def qk_attribution(
    model: HookedTransformer,
    head: Head | tuple[int, int],
    tokens: Int[Tensor, "batch pos"],
    cells: Cells,
    control: Int[Tensor, "batch pos"] | None = None,
    progress: Progress = silent,
) -> QKAttribution:
    """Splits the contrast of ``cells`` of one head over the writes before it, exactly, at the scales of the run.

    ``control``: tokens without what the head is thought to look for, a row beside each row of ``tokens``.
    ValueError for a cell that the head cannot see, and where queries and keys are no sum over writes.
    """
    head = Head(*head)
    cells.check(tokens.shape[1])
    if control is not None and control.shape != tokens.shape:
        raise ValueError(
            f"qk_attribution: control {list(control.shape)}; wanted that of the tokens {list(tokens.shape)}."
        )
    contrast = _contrast(model, head, tokens, cells, part(progress, 0, 1 if control is None else 0.5))
    if control is None:
        return contrast
    return minus_control(contrast, _contrast(model, head, control, cells, part(progress, 0.5, 1)))


def minus_control(contrast: QKAttribution, control: QKAttribution) -> QKAttribution:
    """A contrast less that of the same cells in the control, sequence by sequence."""
    return contrast._replace(
        pairs=contrast.pairs - control.pairs,
        query_side=contrast.query_side - control.query_side,
        key_side=contrast.key_side - control.key_side,
        bias=contrast.bias - control.bias,
        control=control.total,
    )


def induction_attribution(
    model: HookedTransformer, head: Head | tuple[int, int], repeated: RepeatedTokens, progress: Progress = silent
) -> QKAttribution:
    """:func:`qk_attribution` of the induction stripe, minus the control that does not repeat."""
    return qk_attribution(model, head, repeated.tokens, induction_cells(repeated), repeated.control, progress)


def _contrast(model: HookedTransformer, head: Head, tokens: Tensor, cells: Cells, progress: Progress) -> QKAttribution:
    progress(0.0, f"reading the text up to layer {head.layer}")
    cache = recorded(model, head, tokens.to(model.device))
    progress(0.6, "splitting queries and keys")
    return contrast_of(cache, head, cells)


@torch.no_grad()
def contrast_of(cache: ActivationCache, head: Head, cells: Cells) -> QKAttribution:
    """:func:`qk_attribution` without a control, from a run that is already :func:`~.head_inputs.recorded`."""
    model, (n_seqs, n_pos, _) = cache.model, cache[f"blocks.{head.layer}.hook_resid_pre"].shape
    device = model.blocks[head.layer].device
    query = torch.tensor(cells.queries, device=device)
    weights = contrast_weights(model, head.layer, cells, n_pos).to(device)
    writes = writes_before(model.cfg, head.layer)
    size = at_once(BYTES // (4 * n_pos * len(writes) * model.cfg.d_head))
    scale, sums = model.blocks[head.layer].attn.scale * len(query), []
    for start in range(0, n_seqs, size):
        some = rows_of(cache, slice(start, start + size))
        keys = head_inputs(some, head, "k", torch.arange(n_pos, device=device))
        queries = head_inputs(some, head, "q", query)
        sums.append(_pair_sums(queries.values / scale, keys.values, weights))
    pairs = sum(one[0] for one in sums) / n_seqs
    query_side, key_side = (torch.cat([one[at] for one in sums]) for at in (1, 2))
    bias = _score_bias(model, head, cache, query, weights).to(pairs).expand(n_seqs)
    return QKAttribution(head, writes, pairs.cpu(), query_side.cpu(), key_side.cpu(), bias.cpu(), None)


def rows_of(cache: ActivationCache, rows: slice) -> ActivationCache:
    """Some rows of a run; what all rows share, such as positions, stays whole."""
    return ActivationCache({name: x[rows] if len(x) > 1 else x for name, x in cache.items()}, cache.model)


def contrast_weights(model: HookedTransformer, layer: int, cells: Cells, n_pos: int) -> Float[Tensor, "query key"]:
    """For each query 1 at its key and −1/n at each of its n other keys but the first: what a contrast is made with."""
    allowed = allowed_keys(model, layer, n_pos)
    weights = torch.zeros(len(cells.queries), n_pos, device=allowed.device)
    for row, (query, key) in enumerate(zip(cells.queries, cells.keys)):
        others = allowed[query].clone()
        if not others[key]:
            raise ValueError(f"Query {query} of layer {layer} does not see key {key}: its window ends before.")
        others[0] = others[key] = False
        if not others.any():
            raise ValueError(f"Query {query} sees no key beside {key} and the first; choose a later query.")
        weights[row, others], weights[row, key] = -1 / int(others.sum()), 1.0
    return weights


def allowed_keys(model: HookedTransformer, layer: int, n_pos: int) -> Bool[Tensor, "query key"]:
    """Which keys each query of a layer may see."""
    places = model.places(torch.zeros(1, n_pos, dtype=torch.long, device=model.device))
    return places.allowed[model.cfg.window(layer)][0, 0]


def _pair_sums(
    queries: Float[Tensor, "sequence query write d_head"],
    keys: Float[Tensor, "sequence key write d_head"],
    weights: Float[Tensor, "query key"],
) -> tuple[Float[Tensor, "asks answers"], Float[Tensor, "sequence asks"], Float[Tensor, "sequence answers"]]:
    """The contrast of each pair of writes, summed over sequences, and both margins of each sequence."""
    n_seqs, n = queries.shape[0], queries.shape[2]
    pairs, (query_side, key_side) = queries.new_zeros(n, n), queries.new_zeros(2, n_seqs, n)
    for row in range(n_seqs):  # one sequence at a time: no write meets all keys of all sequences at once
        answered = einsum(weights.to(keys), keys[row], "query key, key write d_head -> query write d_head")
        own = einsum(queries[row], answered, "query asks d_head, query answers d_head -> asks answers")
        pairs += own
        query_side[row], key_side[row] = own.sum(1), own.sum(0)
    return pairs, query_side, key_side


def _score_bias(
    model: HookedTransformer, head: Head, cache: ActivationCache, query: Tensor, weights: Tensor
) -> Float[Tensor, ""]:
    places = model.places(cache[f"blocks.{head.layer}.hook_resid_pre"]).to(weights.device)
    if places.bias is None:
        return weights.new_zeros(())
    return (weights * places.bias[0, head.head, query]).sum(-1).mean()
