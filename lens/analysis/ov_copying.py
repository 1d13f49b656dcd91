"""Would a head write the token it looks at? Eigenvalues of its OV circuit, from weights alone, beside random rotations.

The full circuit of a head, W_E W_V W_O W_U, is a matrix of the whole vocabulary that is never formed. It has the same
non-zero eigenvalues as the small W_O M W_V with M = W_U (I − 11ᵀ/d_vocab) W_E, one [d_model, d_model] for all heads.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Complex, Float, Int
from torch import Tensor

from lens.analysis.circuit_weights import (
    Embedding,
    check_embedding,
    check_head,
    output_weights,
    read_through,
    stream_embedding,
    value_weights,
    vocabulary_rows,
)
from lens.analysis.verdicts import ALPHA
from lens.arrays import as_tensor
from lens.finite import require_finite_weights
from lens.model import Transformer
from lens.progress import Progress, part, silent

DRAWS = 200  # random rotations per head
DEFINITION = (
    "Σλ / Σ|λ| over the eigenvalues λ of the head's OV circuit: +1 when every direction comes back with its own sign "
    "(it copies), −1 when with the opposite sign, about 0 when reading and writing are unrelated."
)
SOURCE = "Elhage et al. 2021, A Mathematical Framework for Transformer Circuits"
CircuitName = Literal["full", "residual"]


class OVCores(NamedTuple):
    """The small matrices whose eigenvalues are those of each head's OV circuit."""

    full: Float[Tensor, "layer head d_head d_head"]  # W_O M W_V, embedding to logits
    residual: Float[Tensor, "layer head d_head d_head"]  # W_O W_V, stream to stream


class Circuit(NamedTuple):
    """Eigenvalues of one circuit of every head, largest absolute value first, and what they say."""

    eigenvalues: Complex[Tensor, "layer head d_head"]
    score: Float[Tensor, "layer head"]  # Σλ / Σ|λ|, −1 … 1; NaN for a head that writes nothing
    positive: Float[Tensor, "layer head"]  # share of Σ|λ| with positive real part, 0 … 1


class OVCopying(NamedTuple):
    """Both circuits of every head."""

    full: Circuit
    residual: Circuit


def ov_copying(
    model: Transformer, embedding: Embedding = "tokens", folded: bool = True, progress: Progress = silent
) -> OVCopying:
    """Copying scores and eigenvalues of all heads, for the full and the residual circuit.

    The full circuit has the gains of the norms in it in any case; ``folded`` says whether the residual one has them.
    ``embedding="first_mlp"``: layers after the first read the embedding plus the first MLP's output of it.
    """
    return copying_of(ov_cores(model, embedding, folded, progress))


@torch.no_grad()
def ov_cores(
    model: Transformer, embedding: Embedding = "tokens", folded: bool = True, progress: Progress = silent
) -> OVCores:
    """W_O M W_V and W_O W_V of every head; M is computed in chunks of the vocabulary."""
    check_embedding(model.cfg, embedding)
    middles, full, residual = {}, [], []
    needed = list(dict.fromkeys(stream_embedding(layer, embedding) for layer in range(model.cfg.n_layers)))
    for place, which in enumerate(needed):
        step = part(progress, place / len(needed), (place + 1) / len(needed))
        middles[which] = vocabulary_product(model, which, step)
    for layer, block in enumerate(model.blocks):
        V, O = value_weights(model, layer), output_weights(model, layer)  # noqa: E741 - W_O is called O everywhere
        full.append(_through(O @ middles[stream_embedding(layer, embedding)], V))
        residual.append(_through(O, V) if folded else _through(block.attn.W_O.float(), block.attn.W_V.float()))
    cores = OVCores(torch.stack(full), torch.stack(residual))
    for circuit in cores:
        require_finite_weights(model, circuit, "OV circuits")
    return cores


def vocabulary_product(
    model: Transformer, embedding: Embedding = "tokens", progress: Progress = silent
) -> Float[Tensor, "d_model d_model"]:
    """M = W_U (I − 11ᵀ/d_vocab) W_E with the final norm folded into W_U: from a direction written to one embedded.

    Centred over the vocabulary, because a constant added to all logits changes no probability; uncentred, that one
    direction would hold half of all singular values.
    """
    W_U = model.unembed.W_U
    mean = W_U.float().mean(1, keepdim=True)
    product = torch.zeros(model.cfg.d_model, model.cfg.d_model, device=model.device)
    for ids, rows in vocabulary_rows(model, embedding, progress):
        product += (W_U[:, ids].float() - mean) @ rows
    return read_through(model.ln_final, product)


def _through(
    writes: Float[Tensor, "head d_head d_model"], reads: Float[Tensor, "kv_head d_model d_head"]
) -> Float[Tensor, "head d_head d_head"]:
    """``writes @ reads`` of each head; the query heads of a group meet their shared reads without a copy of it."""
    writes = rearrange(writes, "(kv_head group) d_head d_model -> kv_head (group d_head) d_model", kv_head=len(reads))
    return rearrange(writes @ reads, "kv_head (group d_in) d_out -> (kv_head group) d_in d_out", d_in=reads.shape[-1])


def copying_of(cores: OVCores) -> OVCopying:
    """Eigenvalues and scores of both circuits."""
    return OVCopying(*(circuit_of(torch.linalg.eigvals(core)) for core in cores))


def circuit_of(eigenvalues: Complex[Tensor, "layer head d_head"]) -> Circuit:
    """The scores of eigenvalues that come in any order."""
    order = eigenvalues.abs().argsort(-1, descending=True)
    return Circuit(eigenvalues.gather(-1, order), copying_score(eigenvalues), positive_share(eigenvalues))


def copying_score(eigenvalues: Complex[Tensor, "*batch d_head"]) -> Float[Tensor, "*batch"]:
    """Σλ / Σ|λ|; NaN where all are 0. Complex ones come in conjugate pairs, so the sum is real."""
    return eigenvalues.real.sum(-1) / eigenvalues.abs().sum(-1)


def positive_share(eigenvalues: Complex[Tensor, "*batch d_head"]) -> Float[Tensor, "*batch"]:
    """Share of Σ|λ| that has a positive real part; NaN where all are 0."""
    size = eigenvalues.abs()
    return (size * (eigenvalues.real > 0)).sum(-1) / size.sum(-1)


def null_scores_of(
    draws: tuple[int, int],
    cores: Float[Tensor, "layer head d_head d_head"],
    seed: int = 0,
    heads: Sequence[tuple[int, int]] | None = None,
) -> Float[Tensor, "draw layer head"]:
    """Copying scores of every head with a random rotation R between its values and its output, W_V R W_O.

    ``draws`` = (first, last + 1) of the ``DRAWS``: blocks are independent, so that they can come in one by one. R is
    Haar distributed and another for each head and draw. What the head can read and write stays, which of it belongs
    together is lost. ``heads``: only these, all by default, under the rotations that they have among all; NaN for the
    others.
    """
    index = torch.arange(cores[..., 0, 0].numel()) if heads is None else torch.tensor([*heads]).reshape(-1, 2).T
    index = index if heads is None else index[0] * cores.shape[1] + index[1]
    chosen = cores.flatten(0, 1)[index.to(cores.device)]

    def scores(draw: int) -> Float[Tensor, "layer head"]:
        generator = torch.Generator().manual_seed(seed * DRAWS + draw)
        R = orthogonal(torch.randn(cores.shape, generator=generator).flatten(0, 1)[index]).to(cores)
        found = cores.new_full((cores.shape[0] * cores.shape[1],), torch.nan)
        found[index.to(cores.device)] = copying_score(torch.linalg.eigvals(R @ chosen))
        return found.reshape(cores.shape[:2])

    # Eigenvalues of one matrix after the other keep one core busy: several rotations at a time keep all that torch may.
    workers = torch.get_num_threads()
    if workers == 1:
        return torch.stack(list(map(scores, range(*draws))))
    with ThreadPoolExecutor(workers) as pool:
        return torch.stack(list(pool.map(scores, range(*draws))))


@torch.no_grad()
def null_eigenvalues(
    core: Float[Tensor, "d_head d_head"], n_draws: int = DRAWS, seed: int = 0
) -> Complex[Tensor, "draw d_head"]:
    """Eigenvalues of one head under ``n_draws`` rotations between values and output."""
    R = haar((n_draws,), core.shape[-1], torch.Generator().manual_seed(seed)).to(core)
    return torch.linalg.eigvals(R @ core)


@torch.no_grad()
def stream_null_eigenvalues(
    model: Transformer,
    head: tuple[int, int],
    embedding: Embedding = "tokens",
    n_draws: int = 20,
    seed: int = 0,
    progress: Progress = silent,
) -> Complex[Tensor, "draw d_head"]:
    """The second null: a Haar rotation of the whole stream between what the head writes and what the rest reads of it.

    Stricter in one way, looser in another: also the subspace that the head writes to is lost.
    """
    check_head(model.cfg, head)
    layer, index = head
    middle = vocabulary_product(model, stream_embedding(layer, embedding), part(progress, 0, 0.3))
    reads = value_weights(model, layer)[index // model.cfg.group_size]
    writes = output_weights(model, layer)[index]
    generator, found = torch.Generator().manual_seed(seed), []
    for draw in range(n_draws):
        Q = haar((), model.cfg.d_model, generator).to(middle)
        found.append(torch.linalg.eigvals(writes @ Q @ middle @ reads))
        progress(0.3 + 0.7 * (draw + 1) / n_draws, f"rotation {draw + 1} of {n_draws}")
    return torch.stack(found)


@torch.no_grad()
def gaussian_eigenvalues(
    model: Transformer,
    layer: int,
    circuit: CircuitName = "full",
    embedding: Embedding = "tokens",
    seed: int = 0,
    progress: Progress = silent,
) -> Complex[Tensor, "draw d_head"]:
    """A reference for teaching, no null: eigenvalues with W_V and W_O of independent normal entries, ``DRAWS`` times.

    Nothing of the head is in it but its shape, so every head of a layer has the same: too narrow a band for a head
    whose eigenvalues are few and large, too wide for an even one. M stands in between in the full circuit.
    """
    generator, cfg, found = torch.Generator().manual_seed(seed), model.cfg, []
    middle = torch.eye(cfg.d_model, device=model.device)
    if circuit == "full":
        middle = vocabulary_product(model, stream_embedding(layer, embedding), part(progress, 0, 0.5))
    for draw in range(DRAWS):
        writes, reads = torch.randn(2, cfg.d_head, cfg.d_model, generator=generator).to(middle)
        found.append(torch.linalg.eigvals(writes @ middle @ reads.T))
        progress(0.5 + 0.5 * (draw + 1) / DRAWS, f"Gaussian head {draw + 1} of {DRAWS}")
    return torch.stack(found)


def haar(batch: tuple[int, ...], size: int, generator: torch.Generator) -> Float[Tensor, "*batch size size"]:
    """Orthogonal matrices drawn uniformly. Source: Mezzadri 2007, "How to generate random matrices"."""
    return orthogonal(torch.randn(*batch, size, size, generator=generator))


def orthogonal(normal: Float[Tensor, "*batch size size"]) -> Float[Tensor, "*batch size size"]:
    """The Haar rotations that matrices of independent normal entries give."""
    # NumPy's: torch's, of many small matrices, keeps every core busy with waiting and takes twenty times as long.
    Q, R = np.linalg.qr(normal.numpy())
    return torch.from_numpy(Q * np.sign(R.diagonal(axis1=-2, axis2=-1))[..., None, :])


def share_outside(n_draws: np.ndarray | int) -> np.ndarray:
    """How often one more draw lies outside the interpolated 2.5th and 97.5th percentiles of ``n_draws`` like it.

    Each of the n + 1 gaps between draws that can be exchanged holds it equally often.
    """
    n = np.asarray(n_draws)
    return 2 * (1 + 0.025 * (n - 1)) / (n + 1)


class NullBand(NamedTuple):
    """What chance gives each head by itself, and all heads together. Heads that write nothing are NaN."""

    low: Float[Tensor, "layer head"]  # 2.5th percentile of the draws
    high: Float[Tensor, "layer head"]  # 97.5th percentile
    family_low: Float[Tensor, "layer head"]  # no head at all falls below its own in 95% of draws, nor rises
    family_high: Float[Tensor, "layer head"]  # above this one
    reach: float  # how many standard deviations of its draws that is, the same for every head
    n: int  # draws of all heads, on which ``reach`` rests
    more: Int[Tensor, "layer head"] | int = 0  # draws of a head beyond these

    def n_of(self, head: tuple[int, int]) -> int:
        """The draws that everything about this head but ``reach`` rests on."""
        return self.n + int(np.broadcast_to(np.asarray(self.more), np.shape(self.low))[tuple(head)])

    @property
    def most(self) -> int:
        """The draws of the head that has most."""
        return self.n + int(np.max(np.asarray(self.more)))


def null_band(scores: Float[Tensor, "draw layer head"]) -> NullBand:
    """The central 95% of the draws of each head, and the band that no head of all leaves in 95% of draws.

    Heads differ in how far rotations move their score, so each is counted in standard deviations of its own draws
    before the largest is taken; unstandardised, the head with the widest null would set the bar for all. A head may
    have fewer draws than others, then NaN: the largest is taken over those that all heads have. With fewer than
    ``DRAWS`` of some head each draw is counted as the score is, by the other draws: a draw that is among the few that
    it is measured by looks nearer than it is, and the bar would be too low.
    """
    exact = scores.double()
    low, high = exact.nanquantile(torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0).float()
    drawn, (centre, spread) = exact.isfinite(), centre_and_spread(exact)
    n = int(drawn[:, drawn.any(0)].all(1).sum())
    distance, each = ((exact[:n] - centre) / spread).abs(), drawn.sum(0)
    if n < DRAWS:
        distance = _by_the_others(distance, each)
    largest = distance.nan_to_num(0, posinf=math.inf).flatten(1).amax(1)
    reach = _allowed(largest)
    ends = ((centre + side * reach * spread).float() for side in (-1, 1))
    return NullBand(low, high, *ends, reach, n, (each - n).clamp(min=0))


def with_own(band: NullBand, head: tuple[int, int], scores: Float[Tensor, " draw"]) -> NullBand:
    """``band`` with what more draws of one ``head`` say of it; the reach of all heads stays."""
    centre, spread = (float(x) for x in centre_and_spread(scores.double()))
    low, high = scores.double().quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    ends = (low, high, centre - band.reach * spread, centre + band.reach * spread)
    more = as_tensor(band.more).expand(band.low.shape).clone()
    more[tuple(head)] = len(scores) - band.n
    arrays = [values.clone() for values in band[:4]]
    for values, end in zip(arrays, ends, strict=True):
        values[tuple(head)] = end
    return band._replace(low=arrays[0], high=arrays[1], family_low=arrays[2], family_high=arrays[3], more=more)


def centre_and_spread(
    scores: Float[Tensor, "draw *head"],
) -> tuple[Float[Tensor, "*head"], Float[Tensor, "*head"]]:
    """Mean and standard deviation (n − 1) of the draws that each head has; NaN for one that has none."""
    centre, n = scores.nanmean(0), scores.isfinite().sum(0)
    return centre, ((scores - centre).square().nansum(0) / (n - 1)).sqrt()


def _by_the_others(
    distance: Float[Tensor, "draw layer head"], n: Int[Tensor, "layer head"]
) -> Float[Tensor, "draw layer head"]:
    """Distances from the mean of n draws in their standard deviations, as the n − 1 others have it."""
    left = (n - 1) - distance.square() * n / (n - 1)  # (n − 2) variances of the others, in that of all
    return distance * n / (n - 1) * ((n - 2) / left.clamp(min=0)).sqrt()


def _allowed(largest: Float[Tensor, " draw"], level: float = ALPHA) -> float:
    """What one more draw exceeds in at most ``level`` of cases: an order statistic, on the safe side.

    Infinity where there are too few draws for that, fewer than 1/level − 1.
    """
    place = math.ceil((1 - level) * (len(largest) + 1))  # counted from 1
    return float(largest.sort().values[place - 1]) if place <= len(largest) else math.inf
