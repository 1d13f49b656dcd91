"""Which earlier head feeds which later one, from the weights alone: scores of all pairs against two baselines."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.special import gammaincc  # not scipy.stats, which takes half a second to import
from torch import Tensor

from lens.analysis.circuit_weights import CUT
from lens.analysis.head_weights import Weights, head_weights, rotated, why_not_bilinear
from lens.analysis.names import Head, check_heads
from lens.analysis.verdicts import ALPHA
from lens.composition import few_rows, scores_of_rows, unit
from lens.config import Config
from lens.factored import FactoredMatrix
from lens.finite import require_finite_weights
from lens.model import Transformer
from lens.progress import Progress, silent

Mode = Literal["Q", "K", "V"]
READS = {"Q": "what the later head asks for", "K": "what the later head is found by", "V": "what the later head moves"}
DEFINITION = (
    "Share of what the earlier head writes that the later head reads, ‖W_OV W_{}‖ / (‖W_OV‖ ‖W_{}‖) in Frobenius "
    "norms: 0 is nothing, 1 is all of it. Source: Elhage et al. 2021."
)
FEWEST = 3  # heads of a layer, for a spread among them


@dataclass(frozen=True)
class Composition:
    """Scores of all pairs of heads in one mode. NaN where the sender's layer is not earlier: nothing passes there."""

    mode: Mode
    scores: Float[Tensor, "sender_layer sender_head layer head"]  # 0…1
    null: float  # root mean square of the score when a random rotation stands between sender and receiver, exact
    null_sd: Float[Tensor, "sender_layer sender_head layer head"]  # of the squared score under that rotation, exact
    p: Float[Tensor, "sender_layer sender_head layer head"]  # how often such a rotation gives as much or more
    z: Float[Tensor, "sender_layer sender_head layer head"]  # among the heads of the sender's layer, to this receiver
    offset: int | None  # tokens between query and key; None where no rotation is involved
    weights: Weights
    notes: tuple[str, ...]  # what the scores leave out in this model
    definition: str

    def beyond(self, receiver: tuple[int, int] | None = None) -> Bool[Tensor, "sender_layer sender_head *receiver"]:
        """Which pairs, or which senders to ``receiver``, pass more than the strongest of them all would by chance.

        By chance: a random rotation between sender and receiver. At most one model in twenty has any such pair where
        nothing feeds (Bonferroni over the pairs that were asked for).
        """
        p = self.p if receiver is None else self.p[:, :, receiver[0], receiver[1]]
        return p * (p == p).sum() <= ALPHA  # NaN is no pair

    @property
    def strongest(self) -> "Pair":
        """The pair with the largest score."""
        return strongest_pairs(self.scores, 1)[0]

    @property
    def median(self) -> float:
        """The score that half of the pairs exceed."""
        return float(np.nanmedian(np.asarray(self.scores)))

    @property
    def n_pairs(self) -> int:
        """Pairs whose sender stands in an earlier layer."""
        return int(np.isfinite(np.asarray(self.scores)).sum())

    @property
    def largest_z(self) -> float:
        """The most that ``z`` can be with so few heads in a layer."""
        heads = self.scores.shape[1]
        return (heads - 1) / heads**0.5


class Pair(NamedTuple):
    """An earlier head, a later one, and the number that they have."""

    sender: Head
    receiver: Head
    value: float

    @property
    def place(self) -> tuple[int, int, int, int]:
        """Where the pair stands in an array of all pairs."""
        return *self.sender, *self.receiver


def pair_columns(found: Composition, pairs: Sequence[Pair] | None = None) -> dict[str, list]:
    """A table of pairs, by column; of all, the largest score first, unless some are given."""
    pairs = strongest_pairs(found.scores) if pairs is None else pairs
    places = tuple(np.array([pair.place for pair in pairs]).T)
    numbers = {"score": found.scores, "− null": found.scores - found.null, "p": found.p, "z": found.z}
    columns = {side: [str(getattr(pair, side)) for pair in pairs] for side in ("sender", "receiver")}
    numbers |= {"null sd of score²": found.null_sd}
    return columns | {name: np.asarray(values)[places].tolist() for name, values in numbers.items()}


class FedBy(NamedTuple):
    """Who feeds a head most, and where the earlier head that looks most at the token before stands among its feeders.

    ``rank`` 1: it is the strongest feeder itself.
    """

    feeder: Head
    passed: float  # its score
    beyond: bool  # more than the best of all earlier heads would pass by chance
    previous: float  # its own previous-token score
    n: int  # earlier heads
    looking: Head  # the earlier head with the largest previous-token score
    looking_previous: float
    looking_passed: float
    rank: int


class Busiest(NamedTuple):
    """Which heads send and receive most of some pairs, and how many of them."""

    sender: Head
    sent: int
    receiver: Head
    received: int


def strongest_pairs(
    values: Float[Tensor, "sender_layer sender_head layer head"], count: int | None = None
) -> list[Pair]:
    """The ``count`` pairs with the largest values, the largest first; all by default. NaN is no pair."""
    values = np.asarray(values)
    known = np.isfinite(values)
    order = np.argsort(-np.where(known, values, -np.inf), axis=None, kind="stable")[: int(known.sum())][:count]
    places = np.stack(np.unravel_index(order, values.shape), axis=1).tolist()
    return [Pair(Head(a, b), Head(c, d), float(values[a, b, c, d])) for a, b, c, d in places]


def feeders(found: Composition, receiver: tuple[int, int]) -> list[Head]:
    """Every head before ``receiver``, the largest score first."""
    into = np.asarray(found.scores)[:, :, receiver[0], receiver[1]]
    order = np.argsort(-np.where(np.isnan(into), -np.inf, into), axis=None, kind="stable")
    return [Head(*divmod(int(i), into.shape[1])) for i in order[: int((~np.isnan(into)).sum())]]


def fed_by(found: Composition, receiver: tuple[int, int], previous: Float[Tensor, "layer head"]) -> FedBy:
    """Weights beside activations: does the strongest feeder look at the token before? ``receiver``: not of layer 0.

    ``previous``: the previous-token scores of all heads.
    """
    rows = feeders(found, receiver)
    if not rows:
        raise ValueError(f"fed_by: head {Head(*receiver)} has no earlier head. Ask for one of a later layer.")
    looks = [float(previous[row]) for row in rows]
    best = int(np.argmax(looks))
    passed = [float(found.scores[(*row, *receiver)]) for row in (rows[0], rows[best])]
    beyond = bool(found.beyond(receiver)[rows[0]])
    return FedBy(rows[0], passed[0], beyond, looks[0], len(rows), rows[best], looks[best], passed[1], best + 1)


def busiest(pairs: Sequence[Pair]) -> Busiest:
    """Of equals, the head of the stronger pair."""
    (sender, sent), (receiver, received) = (
        Counter(ends).most_common(1)[0] for ends in zip(*((one.sender, one.receiver) for one in pairs))
    )
    return Busiest(sender, sent, receiver, received)


@torch.no_grad()
def composition(
    model: Transformer,
    mode: Mode,
    offset: int = 0,
    weights: Weights = "folded",
    progress: Progress = silent,
    receiver: tuple[int, int] | None = None,
) -> Composition:
    """How strongly each head feeds each head of a later layer through its queries, keys or values.

    The first baseline is exact: with a Haar-random rotation between the two, E[C²] = 1/d_model, and Var[C²] =
    2 (tr A² − 1/d)(tr B² − 1/d) / ((d − 1)(d + 2)), A and B the Gram matrices of the two with trace 1. The second is z.
    ``offset``: the distance of query and key, for rotary positions; 0 leaves the rotation out. ``receiver``: only what
    feeds this head, a hundredth of the work; the other pairs are NaN.
    Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits".
    """
    cfg = model.cfg
    check_composes(cfg, mode)
    layer = torch.arange(cfg.n_layers, device=model.device).repeat_interleave(cfg.n_heads)
    earlier = layer[:, None] < layer
    if receiver is None:
        writes, reads = _write_rows(model, weights), _read_rows(model, mode, offset, weights)
    else:
        writes = _write_rows(model, weights, receiver[0])
        reads = unit(few_rows(_read(model, receiver[0], mode, offset, weights).T))[receiver[1], None]
    for rows in (writes, reads):
        require_finite_weights(model, rows, "composition scores")
    if receiver is None:
        scores = scores_of_rows(writes, reads, earlier, lambda f: progress(f, f"{mode}-composition"))
    else:
        scores = torch.linalg.matrix_norm(writes @ reads[0].mT)[:, None]
    powers = [_power_traces(rows) for rows in (writes, reads)]
    spread = _variance(*(square for square, _ in powers), cfg.d_model)
    found = scores, spread.sqrt(), _tail(scores, *powers, _width(cfg, weights))
    shape = (cfg.n_layers, cfg.n_heads) * 2
    if receiver is not None:
        found = [_column(values, earlier, receiver[0] * cfg.n_heads + receiver[1]) for values in found]
    scores, null_sd, p = (x.masked_fill(~earlier, torch.nan).reshape(shape) for x in found)
    turns = cfg.positions == "rotary" and mode != "V"
    names = {"Q": ("QK", "QK"), "K": ("QKᵀ", "QK"), "V": ("OV", "OV")}[mode]
    return Composition(
        mode,
        scores,
        cfg.d_model**-0.5,
        null_sd,
        p,
        among_layer(scores),
        offset if turns else None,
        weights,
        notes(cfg, mode, offset, weights),
        DEFINITION.format(*names),
    )


def check_composes(cfg: Config, mode: str) -> None:
    """ValueError for a mode that does not exist, a model of one layer, and queries and keys that are normalised."""
    if mode not in READS:
        raise ValueError(f"composition: mode={mode!r}; it must be 'Q', 'K' or 'V'.")
    if cfg.n_layers < 2:
        raise ValueError(
            "Composition needs a head in an earlier layer: this model has one layer, so no head feeds another. "
            "Open a model of two layers or more."
        )
    reason = why_not_bilinear(cfg)
    if mode != "V" and reason is not None:
        raise ValueError(f"{mode}-composition is not computed because {reason}. V-composition is not affected.")


def among_layer(
    scores: Float[Tensor, "sender_layer sender_head layer head"],
) -> Float[Tensor, "sender_layer sender_head layer head"]:
    """Each score minus the mean of the sender's layer to the same receiver, over their standard deviation (n − 1).

    Cannot exceed (n − 1)/√n with n heads a layer. NaN with fewer than 3 heads, or where all are equal.
    """
    if scores.shape[1] < FEWEST:
        return torch.full_like(scores, torch.nan)
    spread = scores.std(1, keepdim=True)
    return (scores - scores.mean(1, keepdim=True)) / torch.where(spread > 0, spread, torch.nan)


def notes(cfg: Config, mode: Mode, offset: int, weights: Weights) -> tuple[str, ...]:
    """What the products of weights leave out in such a model, one sentence each."""
    windows = [width for width in cfg.windows or () if width is not None]
    through_scores = mode != "V"
    said = {
        f"Groups of {cfg.group_size} query heads share keys and values, so their "
        f"{'W_OV as senders' if mode == 'Q' else 'entries'} are not independent.": cfg.group_size > 1,
        "A norm after each layer divides what all its heads write together; its gain is in W_OV, the division is one "
        "factor per position and drops out of a score.": cfg.post_norm and weights == "folded",
        "The gain of the norm after each layer is left out of these raw weights.": cfg.post_norm and weights == "raw",
        CUT.format(cfg.clip_qkv): cfg.clip_qkv is not None,
        "Rotation ignored (δ = 0): real queries and keys stand apart and are turned.": through_scores
        and cfg.positions == "rotary"
        and offset == 0,
        f"Layers with a window see fewer than {offset + 1} tokens, so their heads never look δ = {offset} back.": (
            through_scores and any(width <= offset for width in windows)
        ),
        "Positions act on scores only, not on what one head passes to another: δ changes nothing.": through_scores
        and cfg.positions != "rotary"
        and offset > 0,
    }
    return tuple(sentence for sentence, holds in said.items() if holds)


@torch.no_grad()
def virtual_weights(
    model: Transformer, sender: Head, receiver: Head, mode: Mode, offset: int = 0, weights: Weights = "folded"
) -> FactoredMatrix:
    """The one matrix [d_model, d_model] through which ``sender`` acts on ``receiver``: W_OV times what the other reads.

    Rows are streams that the sender attends to. Columns: Q, the keys that are then looked for; K, the queries by which
    the place is then found; V, what arrives where the receiver looks. ValueError unless the sender is in an earlier
    layer.
    """
    check_composes(model.cfg, mode)
    check_heads([sender, receiver], model.cfg)
    sender, receiver = Head(*sender), Head(*receiver)
    if sender.layer >= receiver.layer:
        raise ValueError(f"Head {sender} does not feed head {receiver}: only heads of earlier layers do.")
    write = head_weights(model, sender.layer, weights).OV[sender.head]
    return write @ _read(model, receiver.layer, mode, offset, weights)[receiver.head]


def _read(model: Transformer, layer: int, mode: Mode, offset: int, weights: Weights) -> FactoredMatrix:
    """What the heads of a layer do to a stream that they read: W_QK, its transpose, or W_OV."""
    found = head_weights(model, layer, weights)
    if mode == "V":
        return found.OV
    QK = rotated(model, layer, found, offset).QK
    return QK if mode == "Q" else QK.T


def _column(
    values: Float[Tensor, "sender 1"], pairs: Bool[Tensor, "sender receiver"], receiver: int
) -> Float[Tensor, "sender receiver"]:
    """The numbers of one receiver and the first senders among those of all pairs; NaN for the others."""
    whole = values.new_full(pairs.shape, torch.nan)
    whole[: len(values), receiver] = values[:, 0]
    return whole


def _write_rows(
    model: Transformer, weights: Weights, n_layers: int | None = None
) -> Float[Tensor, "sender few d_model"]:
    """Of every head (of the first layers), few rows with the same norms as W_OV, over its norm."""
    return _rows(n_layers or model.cfg.n_layers, lambda layer: head_weights(model, layer, weights).OV)


def _read_rows(model: Transformer, mode: Mode, offset: int, weights: Weights) -> Float[Tensor, "receiver few d_model"]:
    return _rows(model.cfg.n_layers, lambda layer: _read(model, layer, mode, offset, weights).T)


def _rows(n_layers: int, side: Callable[[int], FactoredMatrix]) -> Float[Tensor, "n few d_model"]:
    """Layer by layer into one tensor, so that never more than one layer's matrices are held beside it."""
    first = unit(few_rows(side(0)))
    rows = first.new_empty(n_layers, *first.shape)
    rows[0] = first
    for layer in range(1, n_layers):
        rows[layer] = unit(few_rows(side(layer)))
    return rows.flatten(0, 1)


def _power_traces(rows: Float[Tensor, "n few d"]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """tr (PᵀP)² and tr (PᵀP)³: 1/rank and 1/rank² for a flat spectrum, 1 for a single direction."""
    gram = rows @ rows.mT
    square = gram @ gram
    return square.diagonal(dim1=-2, dim2=-1).sum(-1), (square * gram).sum((-2, -1))


def _variance(
    writes: Float[Tensor, " sender"], reads: Float[Tensor, " receiver"], width: int
) -> Float[Tensor, "sender receiver"]:
    """Of C² under a Haar rotation of ``width`` dimensions, exact; from tr (PᵀP)² of both sides."""
    uneven = [(side - 1 / width).clamp(min=0) for side in (writes, reads)]
    return 2 * uneven[0][:, None] * uneven[1] / ((width - 1) * (width + 2))


def _width(cfg: Config, weights: Weights) -> int:
    """Dimensions in which sender and receiver meet: without the mean of the stream, one less."""
    return cfg.d_model - (weights == "folded" and cfg.norm == "LN" and cfg.pre_norm)


def _tail(
    scores: Float[Tensor, "sender receiver"], writes: tuple[Tensor, Tensor], reads: tuple[Tensor, Tensor], width: int
) -> Float[Tensor, "sender receiver"]:
    """How often a random rotation gives a score as large, from mean, variance and skewness of C² (Pearson III).

    Mean and variance are exact. The skewness is that of Σ aᵢ bⱼ gᵢⱼ² with independent normal g, what entries of a
    rotation become in many dimensions. Source: Hall 1983, Buckley and Eagleson 1988, sums of weighted χ².
    """
    spread = _variance(writes[0], reads[0], width).sqrt().cpu().double()
    shape = (writes[0][:, None] * reads[0]).cpu().double(), (writes[1][:, None] * reads[1]).cpu().double()
    skewness = math.sqrt(8) * shape[1] / shape[0].pow(1.5)
    moves = spread > torch.finfo(scores.dtype).eps  # else every rotation gives the same, or there is nothing to turn
    square, spread = scores.square().cpu().double(), spread.where(moves, 1.0)
    tail = pearson3_tail((square - 1 / width) / spread, skewness.where(moves, 1.0))
    return tail.where(moves, 1.0).to(scores)


def pearson3_tail(values: Float[Tensor, "*shape"], skewness: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The share above standardised ``values`` of a Pearson III distribution of positive ``skewness``: a shifted gamma.

    What ``scipy.stats.pearson3.sf`` gives, without the half second that importing ``scipy.stats`` takes.
    """
    half = skewness / 2
    at = ((1 + half * values) / half**2).clamp(min=0)
    return torch.from_numpy(gammaincc((half**-2).numpy(), at.numpy()))
