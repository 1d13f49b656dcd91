"""One head on a corpus: how far it looks, single looks with their text, and the tokens it asks from and looks at."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.answer.neurons import DECILES, Context, decile_contexts, top_contexts
from lens.analysis.corpus.distances import DistanceBin, distance_bins
from lens.analysis.corpus.reading import Corpus, TokenSums, text_instruments
from lens.analysis.instruments.patterns import Readings, summarise_texts
from lens.analysis.instruments.sample import Sample
from lens.analysis.names import Head
from lens.analysis.score_results import HeadScore, HeadScores
from lens.analysis.stats import Estimate, estimate, means_within, within
from lens.arrays import as_tensor

TOP, PER_TENTH = 10, 2  # looks
FEWEST = 5  # times that a token must occur: the lift of a rarer one says little, and that of others is not tested


class Look(NamedTuple):
    """The key that one query attends to most, the first token aside."""

    document: int
    query: int
    key: int
    value: float  # attention, 0 … 1


class TokenLift(NamedTuple):
    """How much more than an even pattern a head has of one token."""

    id: int
    lift: float  # share of the attention off the first token, over the same share of a head that looks at all alike
    n: int  # occurrences


class Selectivity(NamedTuple):
    """How much more one of the marked keys gets than another key that its query may see, on text."""

    target: float  # attention to all marked keys of a query, mean
    others: float  # the same to as many other earlier keys: all of them are averaged, key 0 aside
    ratio: float | None  # None unless the interval of ``others``, over 16 documents or more, lies above 0


class HeadOnText(NamedTuple):
    """What one head does on documents, the first token apart."""

    bins: tuple[DistanceBin, ...]
    shares: Estimate  # of a query's attention, mean over documents: [first token, bin …], which sum to 1
    even_shares: Float[np.ndarray, " share"]  # of a head that looks at all keys alike
    n_queries: int  # of all documents
    top: list[Look]  # the largest attention, exactly; the largest first
    tenths: list[list[Look]]  # drawn from each tenth of all queries by their largest attention, the lowest first
    edges: Float[np.ndarray, " edge"]  # of the tenths, 11 of them
    from_tokens: list[TokenLift]  # query tokens, the largest lift first
    to_tokens: list[TokenLift]  # key tokens


def head_on_text(
    of: Corpus, unit: str = "documents", seed: int = 0, documents: Sequence[int] | None = None
) -> HeadOnText:
    """The numbers of one head (:func:`lens.analysis.corpus.reading.of_head`); ``unit``: what is independent, plural.

    ``seed`` draws the looks of the tenths. ``documents``: the number of the document of each text, where several are
    pieces of one (``Sample.documents``): their shares are averaged first, as they are not independent.
    """
    look, key = np.asarray(of.look), np.asarray(of.key)
    counted = np.isfinite(look)
    edges = np.quantile(look[counted].astype(np.float64), np.linspace(0, 1, DECILES + 1))
    tenths = decile_contexts(look, counted, PER_TENTH, seed)
    numbers = torch.arange(len(look)) if documents is None else torch.tensor(documents[: len(look)])
    each, even = (means_within(with_first(as_tensor(one)), numbers) for one in (of.shares, of.even_shares))
    shares = within(estimate(each, unit, seed), 0.0, 1.0)
    return HeadOnText(
        distance_bins(look.shape[-1]),
        shares,
        np.asarray(even.mean(0)),
        int(counted.sum()),
        _with_keys(top_contexts(look, counted, TOP), key),
        [_with_keys(tenth, key) for tenth in tenths],
        edges,
        token_lifts(of.tokens, of.tokens.gave, of.tokens.even_gave),
        token_lifts(of.tokens, of.tokens.got, of.tokens.even_got),
    )


def with_first(shares: Float[Tensor, "*batch bin"]) -> Float[Tensor, "*batch share"]:
    """The share of the first token before those of the bins: what they leave."""
    return torch.cat([1 - shares.sum(-1, keepdim=True), shares], -1)


def _with_keys(contexts: Sequence[Context], key: Int[np.ndarray, "document query"]) -> list[Look]:
    return [Look(one.chapter, one.pos, int(key[one.chapter, one.pos]), one.value) for one in contexts]


def token_lifts(
    tokens: TokenSums, sums: Float[Tensor, " token"], even: Float[Tensor, " token"], fewest: int = FEWEST
) -> list[TokenLift]:
    """Tokens that occur at least ``fewest`` times, the largest lift first; none where all attention is on key 0."""
    total = float(sums.sum())
    if total <= 0:
        return []
    lift = sums.double() / total / (even.double() / float(even.sum()))
    often = tokens.n_queries >= fewest
    order = torch.where(often, lift, -torch.inf).argsort(descending=True, stable=True)[: int(often.sum())]
    return [TokenLift(int(tokens.ids[at]), float(lift[at]), int(tokens.n_queries[at])) for at in order]


def scores_on_text(readings: Readings, sample: Sample) -> HeadScores:
    """The instruments of patterns on all heads, as on any text: with their nulls, verdicts and intervals."""
    return summarise_texts(readings, text_instruments(), sample)


def selectivity(score: HeadScore, head: Head) -> Selectivity:
    """Of an instrument whose null on text is other keys of the same query (induction, duplicate token).

    The ratio is one of means over documents. ValueError for a score that has no such null.
    """
    if score.null_per_sequence is None:
        raise ValueError(f"selectivity: {score.kind.name} has no null here; give induction or duplicate on text.")
    target = float(score.score.mean[head])
    null = estimate(as_tensor(score.null_per_sequence)[:, *head], "documents")
    others = float(null.mean)
    return Selectivity(target, others, target / others if null.low is not None and float(null.low) > 0 else None)
