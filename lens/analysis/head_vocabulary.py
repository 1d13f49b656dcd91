"""One head's full OV circuit, token by token: what it would copy, suppress, and write for a token it attends to."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.analysis.circuit_weights import (
    Embedding,
    check_embedding,
    check_head,
    output_weights,
    source_rows,
    stream_embedding,
    value_weights,
    vocabulary_rows,
    write_through,
)
from lens.analysis.large_products import Ends, diagonal, ends, midrank, own_ranks
from lens.analysis.random_tokens import sampling_set
from lens.analysis.stats import LEVEL, MIN_SAMPLES
from lens.analysis.verdicts import ALPHA, too_few
from lens.config import Config
from lens.factored import FactoredMatrix
from lens.finite import require_finite_weights
from lens.hooked import HookedTransformer
from lens.model import Transformer
from lens.progress import Progress, part, silent

TOP_SHARE = 0.1  # of the vocabulary: the largest k of a top k
UNIT = "logits × scale"  # a row is divided by the scales of two norms, which only a text gives
ENTRY = (
    "Entry (X, Y) of W_E W_V W_O W_U, norms folded in and the mean over Y taken out: how far attending to X moves the "
    "logit of Y against the average token, up to a positive factor that a text gives (the scales of the two norms)."
)


class Written(NamedTuple):
    """The row of one token: which logits the head would raise and lower by attending to it."""

    ends: Ends
    own: float  # the token's own entry
    own_rank: float  # tokens raised more than the token itself, and half of those raised as much; 0: it is raised most


class Copied(NamedTuple):
    """The tokens whose own logit the head would raise and lower most, and how well each does in its own row."""

    ends: Ends  # of the diagonal
    high_rank: Float[Tensor, " k"]  # tokens it would raise more than the token itself, and half of those as much
    low_rank: Float[Tensor, " k"]
    positive: float  # share of the vocabulary whose own entry is positive
    trace: float  # sum of the diagonal, which is the sum of the eigenvalues


class OwnRanks(NamedTuple):
    """Where tokens stand in their own rows, over tokens drawn from the vocabulary without replacement."""

    ids: Int[Tensor, " token"]
    rank: Float[Tensor, "head token"]  # 0: the head would raise the token itself most; equal ones share their place
    d_vocab: int
    seed: int
    description: str  # of the set the tokens were drawn from

    @property
    def tied(self) -> bool:
        """Whether every rank is a tie of all tokens: the heads raise all alike."""
        rank = np.asarray(self.rank)
        return bool((rank == (self.d_vocab - 1) / 2).all())

    @property
    def median(self) -> Float[np.ndarray, " head"]:
        """The median rank of the drawn tokens, for each head."""
        return np.median(np.asarray(self.rank), axis=1)


@torch.no_grad()
def full_ov(
    model: Transformer, head: tuple[int, int], embedding: Embedding = "tokens", progress: Progress = silent
) -> FactoredMatrix:
    """W_E W_V W_O W_U of one head, [d_vocab, d_vocab], its columns centred over the vocabulary; held as two factors."""
    check_embedding(model.cfg, embedding)
    check_head(model.cfg, head)
    layer, index = head
    V = value_weights(model, layer)[index // model.cfg.group_size]
    reads = torch.empty(model.cfg.d_vocab, V.shape[-1], device=model.device)
    for ids, rows in vocabulary_rows(model, stream_embedding(layer, embedding), progress):
        reads[ids] = rows @ V
    writes = logits_of(model, output_weights(model, layer)[index])
    for factor in (reads, writes):
        require_finite_weights(model, factor, "OV circuit over the vocabulary")
    return FactoredMatrix(reads, writes)


def logits_of(model: Transformer, writes: Float[Tensor, "*n d_model"]) -> Float[Tensor, "*n d_vocab"]:
    """Logits of directions of the stream, the mean over the vocabulary taken out; W_U is not copied."""
    # What the final norm does to a reader of the stream can be done to what is written instead, which is smaller.
    logits = write_through(model.ln_final, writes) @ model.unembed.W_U.float()
    return logits - logits.mean(-1, keepdim=True)


@torch.no_grad()
def copied_tokens(
    model: Transformer, head: tuple[int, int], embedding: Embedding = "tokens", k: int = 12, progress: Progress = silent
) -> Copied:
    """The ends of the diagonal of the full OV circuit, over the whole vocabulary."""
    matrix = full_ov(model, head, embedding, part(progress, 0, 0.9))
    own = diagonal(matrix)
    found = ends(own, k)
    ranks = own_ranks(matrix, torch.cat([found.high, found.low]), part(progress, 0.9, 1))
    positive, trace = float((own > 0).float().mean()), float(own.double().sum())
    return Copied(found, *ranks.split(len(found.high)), positive, trace)


@torch.no_grad()
def written_for(
    model: Transformer, head: tuple[int, int], token: int, embedding: Embedding = "tokens", k: int = 12
) -> Written:
    """What the head would write if it attended to ``token`` alone. ValueError if the vocabulary has no such id."""
    check_embedding(model.cfg, embedding)
    check_head(model.cfg, head)
    layer, index = head
    if not 0 <= token < model.cfg.d_vocab:
        raise ValueError(f"written_for: token {token}; this vocabulary has ids 0 … {model.cfg.d_vocab - 1}.")
    row = source_rows(model, torch.tensor([token]), stream_embedding(layer, embedding))
    V = value_weights(model, layer)[index // model.cfg.group_size]
    logits = logits_of(model, row @ V @ output_weights(model, layer)[index])[0]
    return Written(ends(logits, k), float(logits[token]), float(midrank(logits, logits[token, None])))


@torch.no_grad()
def own_ranks_of(
    layer: int,
    model: HookedTransformer,
    embedding: Embedding = "tokens",
    n_tokens: int = 64,
    seed: int = 0,
    heads: tuple[int, ...] | None = None,
) -> OwnRanks:
    """For tokens drawn from the vocabulary, the rank of each in its own row, for all ``heads`` of one layer.

    ``n_tokens`` are drawn from the model's sampling set (all of it, if it has no more); the rank is among all tokens.
    """
    check_embedding(model.cfg, embedding)
    heads = tuple(range(model.cfg.n_heads)) if heads is None else heads
    for head in heads:
        check_head(model.cfg, (layer, head))
    sampling = sampling_set(model)
    drawn = torch.randperm(len(sampling.ids), generator=torch.Generator().manual_seed(seed))[:n_tokens]
    ids = sampling.ids[drawn].sort().values
    rows = source_rows(model, ids, stream_embedding(layer, embedding))
    V, writes = value_weights(model, layer), output_weights(model, layer)
    found = []
    for head in heads:
        reads = rows @ V[head // model.cfg.group_size]
        matrix = FactoredMatrix(reads, logits_of(model, writes[head]))
        values = matrix.AB
        found.append(midrank(values, values.gather(1, ids[:, None].to(values.device))).cpu())
    return OwnRanks(ids, torch.stack(found), model.cfg.d_vocab, seed, sampling.description)


class Accuracy(NamedTuple):
    """Of every head, the share of drawn tokens that stand in the top k of their own row, beside chance."""

    share: Float[Tensor, " head"]
    low: Float[Tensor, " head"] | None  # exact binomial interval, 95%; None below 16 tokens
    high: Float[Tensor, " head"] | None
    p: Float[Tensor, " head"]  # how often k/d_vocab gives as many or more
    chance: float
    k: int
    n: int  # tokens


def most_top(d_vocab: int) -> int:
    """The largest k that still says something: a tenth of the vocabulary."""
    return max(1, int(d_vocab * TOP_SHARE))


def beyond_chance(p: Float[np.ndarray, "*head"]) -> Bool[np.ndarray, "*head"]:
    """Heads that copy more often than the best of all would by chance, from ``Accuracy.p`` of all; NaN: not computed.

    Bonferroni over the heads that are computed.
    """
    p = np.asarray(p)
    return p * np.isfinite(p).sum() <= ALPHA


def copying_accuracy(ranks: OwnRanks, k: int) -> Accuracy:
    """Share of tokens that a head would raise more than all but ``k − 1`` others; by chance k/d_vocab.

    A token that ties with others is in only if their mean place is, so a head that writes nothing has 0. ValueError for
    a ``k`` beyond a tenth of the vocabulary, where chance alone looks like copying. Source: Clopper and Pearson 1934.
    """
    from scipy.stats import binomtest  # here: it takes half a second, and first charts do without it

    if not 1 <= k <= most_top(ranks.d_vocab):
        raise ValueError(
            f"copying_accuracy: k={k}; of a vocabulary of {ranks.d_vocab} at most a tenth says something: "
            f"1 … {most_top(ranks.d_vocab)}."
        )
    n, chance = ranks.rank.shape[1], k / ranks.d_vocab
    counts = (ranks.rank <= k - 1).sum(1).tolist()
    tests = [binomtest(count, n, chance, "greater") for count in counts]
    low = high = None
    if n >= MIN_SAMPLES:
        ends = [binomtest(count, n).proportion_ci(LEVEL) for count in counts]
        low, high = (torch.tensor([getattr(one, end) for one in ends]) for end in ("low", "high"))
    p = torch.tensor([test.pvalue for test in tests])
    return Accuracy(torch.tensor(counts) / n, low, high, p, chance, k, n)


class TopShares(NamedTuple):
    """Of every head, the share of drawn tokens that stand in the top k of their own row; NaN where not computed."""

    share: Float[np.ndarray, "layer head"]
    beyond: Bool[np.ndarray, "layer head"]  # more often than the best of all these heads would by chance
    few: str  # why there is no verdict; "" if there is one
    k: int
    n: int  # tokens
    seed: int
    description: str  # of the set they were drawn from


def top_shares(layers: Mapping[int, Accuracy], drawn: OwnRanks, cfg: Config) -> TopShares:
    """The accuracy of the ``layers`` that are computed, joined; ``drawn``: the ranks of one of them."""
    share, p = (np.full((cfg.n_layers, cfg.n_heads), np.nan, np.float32) for _ in range(2))
    for layer, accuracy in layers.items():
        share[layer], p[layer] = accuracy.share, accuracy.p
    few = too_few(accuracy.n, "tokens")
    return TopShares(share, beyond_chance(p), few, accuracy.k, accuracy.n, drawn.seed, drawn.description)


def share_by_chance(found: Accuracy, family: int) -> float:
    """The share that the best of ``family`` heads exceeds in at most 5% of cases where k/d_vocab is all there is.

    Exact binomial tail, Bonferroni over the heads.
    """
    from scipy.stats import binom  # here: it takes half a second, and first charts do without it

    counts = range(found.n + 1)
    return max(count for count in counts if binom.sf(count - 1, found.n, found.chance) * family > ALPHA) / found.n
