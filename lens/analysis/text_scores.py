"""Scores of all heads on somebody's own texts, padded or not, and only where the texts have something to score."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.analysis.pattern_scores import BACK, PREVIOUS_NULL, row_entropy
from lens.analysis.score_results import HeadScores, Kind, Samples, head_score
from lens.analysis.streaming import batches, stream_patterns
from lens.model import Transformer
from lens.progress import Progress, silent

OTHERS = "as many other earlier tokens of the same query, position 0 left out"
KINDS = (
    Kind(
        "induction",
        "probability",
        "Attention to all tokens that follow an earlier occurrence of the query's token, "
        "mean over the queries that have one.",
        OTHERS,
        True,
    ),
    Kind(
        "duplicate",
        "probability",
        "Attention to all earlier occurrences of the query's token (position 0 left out), "
        "mean over the queries that have one.",
        OTHERS,
        True,
    ),
    Kind(
        "previous",
        "probability",
        "Attention to the token before, A[q, q−1], mean over q ≥ 6 (of a text of fewer than 7 tokens, the last q).",
        PREVIOUS_NULL,
        True,
    ),
    Kind("first", "probability", "Attention to the first token, A[q, 0], mean over q ≥ 1.", "none", False),
    Kind("entropy", "nats", "Entropy of the attention of a query, −Σ A ln A, mean over q ≥ 1.", "none", False),
    Kind(
        "entropy_normalised",
        "share of ln(q+1)",
        "Entropy of a query's attention over its largest possible value ln(q+1), mean over q ≥ 1: 1 is uniform.",
        "none",
        False,
    ),
)
REASONS = {
    "induction": "not computed because no token repeats",
    "duplicate": "not computed because no token repeats",
    "previous": "not computed because no text has four tokens",
}


class Weights(NamedTuple):
    """How much each entry of a pattern counts towards a score, and towards its null: the largest of weighted sums."""

    score: Float[Tensor, "batch query key"]
    nulls: Float[Tensor, "null batch query key"]
    n_queries: Int[Tensor, " batch"]


def text_weights(tokens: Int[Tensor, "batch pos"], mask: Bool[Tensor, "batch pos"]) -> dict[str, Weights]:
    """Weights of the scores that read single entries of a pattern. Rows of a text without a query are zero.

    Real tokens must stand together; pads may be on either side. Positions are those of the real tokens.
    """
    place = mask.cumsum(-1) - 1
    distance = place[:, :, None] - place[:, None, :]
    allowed = mask[:, :, None] & mask[:, None, :] & (distance >= 0)
    inner = allowed & (place[:, None, :] >= 1)
    earlier = inner & (distance >= 1)
    before = tokens.roll(1, dims=-1)
    follows = earlier & (before[:, None, :] == tokens[:, :, None])
    repeats = earlier & (tokens[:, None, :] == tokens[:, :, None])
    first = allowed & (place[:, None, :] == 0) & (distance >= 1)
    lengths = mask.sum(-1)
    start = (lengths - 1).clamp(max=BACK[-1] + 1)  # the first query of the previous-token score: see first_query
    late = inner & (place >= start[:, None])[:, :, None] & (lengths > BACK[0] + 1)[:, None, None]
    return {
        "induction": _against_others(follows, earlier),
        "duplicate": _against_others(repeats, earlier),
        "previous": _weights(late & (distance == 1), *(_mean_over_queries(late & (distance == j)) for j in BACK)),
        "first": _weights(first, torch.zeros_like(first, dtype=torch.float)),
    }


def _against_others(targets: Bool[Tensor, "batch query key"], earlier: Bool[Tensor, "batch query key"]) -> Weights:
    """``targets``, against an equal number of the other ``earlier`` keys of the same query."""
    others = earlier & ~targets
    counted = targets.any(-1, keepdim=True) & others.any(-1, keepdim=True)
    n_targets, n_others = targets.sum(-1, keepdim=True), others.sum(-1, keepdim=True).clamp(min=1)
    return _weights(targets & counted, _mean_over_queries((others & counted) * (n_targets / n_others)))


def _weights(targets: Bool[Tensor, "batch query key"], *nulls: Float[Tensor, "batch query key"]) -> Weights:
    return Weights(_mean_over_queries(targets), torch.stack(nulls), targets.any(-1).sum(-1))


def _mean_over_queries(entries: Tensor) -> Float[Tensor, "batch query key"]:
    return entries.float() / (entries > 0).any(-1).sum(-1).clamp(min=1)[:, None, None]


def _entropies(pattern: Tensor, place: Tensor, counted: Tensor) -> Float[Tensor, "2 batch head"]:
    """Mean entropy of the counted queries, in nats and as a share of ln(q+1)."""
    entropy = row_entropy(pattern)
    weight = counted.float() / counted.sum(-1, keepdim=True).clamp(min=1)
    largest = (place.clamp(min=1) + 1.0).log()
    return torch.stack([(entropy * w[:, None]).sum(-1) for w in (weight, weight / largest)])


def _uniform(weights: dict[str, Weights], place: Tensor, counted: Tensor) -> Float[Tensor, "score batch"]:
    """Each score per text for a head that looks at all keys alike."""
    even = [(w.score.sum(-1) / (place.clamp(min=0) + 1)).sum(-1) for w in weights.values()]
    n = counted.sum(-1)
    entropy = ((place.clamp(min=0) + 1.0).log() * counted).sum(-1) / n.clamp(min=1)
    return torch.stack([*even, entropy, (n > 0).float()])


class _Found(NamedTuple):
    """Scores in the order of ``KINDS``."""

    scores: Float[Tensor, "score text layer head"]
    nulls: Float[Tensor, "score text layer head"]
    uniform: Float[Tensor, "score text"]
    n_queries: Int[Tensor, "score text"]


def _score_rows(model: Transformer, tokens: Tensor, mask: Tensor, progress: Progress) -> _Found:
    """All scores of texts that are read in one forward pass."""
    weights = text_weights(tokens, mask)
    entries = torch.cat([torch.stack([w.score for w in weights.values()]), *(w.nulls for w in weights.values())])
    place = mask.cumsum(-1) - 1
    counted = mask & (place >= 1)
    shape = (len(entries) + 2, len(tokens), model.cfg.n_layers, model.cfg.n_heads)
    found = torch.empty(shape, device=model.device)

    def visit(layer: int, rows: slice, pattern: Float[Tensor, "batch head query key"]) -> None:
        pattern = pattern.float()
        found[:-2, rows, layer] = torch.einsum("bhqk,sbqk->sbh", pattern, entries[:, rows])
        found[-2:, rows, layer] = _entropies(pattern, place[rows], counted[rows])

    stream_patterns(model, tokens, visit, mask, progress=progress)
    scores, *sums, entropies = found.split([len(weights), *(len(w.nulls) for w in weights.values()), 2])
    nulls = torch.stack([each.amax(0) for each in sums])
    n_queries = torch.stack([w.n_queries for w in weights.values()] + [counted.sum(-1)] * 2)
    parts = torch.cat([scores, entropies]), nulls, _uniform(weights, place, counted), n_queries
    return _Found(*(part.cpu() for part in parts))


@torch.no_grad()
def text_scores(
    model: Transformer, tokens: Int[Tensor, "batch pos"], mask: Bool[Tensor, "batch pos"], progress: Progress = silent
) -> HeadScores:
    """Previous-, first-token and entropy scores of all heads on texts; induction and duplicate where tokens repeat.

    The unit is the text: a score averages over the texts that have queries for it, and 16 of them give an interval.
    ``mask`` is True at real tokens. A score without any query is in ``missing``, with the reason.
    """
    _check(tokens, mask)
    tokens, mask = tokens.to(model.device), mask.to(model.device).bool()
    parts = list(batches(len(tokens), tokens.shape[1], model.cfg.n_heads))
    rows = [
        _score_rows(
            model,
            tokens[part],
            mask[part],
            lambda f, stage, i=i: progress((i + f) / len(parts), f"part {i + 1}: {stage}"),
        )
        for i, part in enumerate(parts)
    ]
    found = _Found(*(torch.cat(column, dim=1) for column in zip(*rows, strict=True)))
    scores, missing = {}, {}
    for index, kind in enumerate(KINDS):
        used = found.n_queries[index] > 0
        if not used.any():
            missing[kind.name] = REASONS.get(kind.name, "not computed because no text has two tokens")
            continue
        null = found.nulls[index, used] if kind.tested else None
        uniform = float(found.uniform[index, used].mean())
        samples = Samples(found.scores[index, used], null, uniform, int(found.n_queries[index].sum()))
        scores[kind.name] = head_score(kind, samples, "texts")
    return HeadScores(scores, missing, f"{len(tokens)} texts, {int(mask.sum())} tokens", None)


def _check(tokens: Tensor, mask: Tensor) -> None:
    if tokens.shape != mask.shape:
        raise ValueError(
            f"text_scores: mask has shape {list(mask.shape)}; wanted that of tokens, {list(tokens.shape)}."
        )
    starts = (mask.int().diff(dim=-1) == 1).sum(-1) + mask[:, 0].int()
    if (starts > 1).any():
        raise ValueError(
            f"text_scores: the real tokens of text {int(starts.argmax())} do not stand together; pad only at the ends."
        )
