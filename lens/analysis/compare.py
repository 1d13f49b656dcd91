"""What of two models or two texts stands for the same: layers by relative depth, tokens by the text they cover.

Two lists are matched item by item; what has no counterpart is left out and counted. Matching a list with itself is the
identity, and swapping the two swaps the match, so that a difference of matched numbers changes its sign and no more.
"""

import re
from collections.abc import Hashable, Sequence
from difflib import SequenceMatcher
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.crossed import Crossed, sampled, shortage, unit_note
from lens.analysis.least import MIN_SAMPLES
from lens.analysis.stats import LEVEL, Estimate, bootstrap_interval
from lens.hooked import HookedTransformer
from lens.pieces import Pieces

ATOM = re.compile(r"\w+|\s+|[^\w\s]|_")  # of two different texts: what is alike or not, word by word
ROUND = 9  # decimals of a relative depth: 1/3 and 2/6 are the same one


class Match(NamedTuple):
    """Item ``first[i]`` of the first list and item ``second[i]`` of the second stand for the same."""

    first: Int[np.ndarray, " pair"]
    second: Int[np.ndarray, " pair"]
    n_first: int  # items of the whole list
    n_second: int

    @property
    def left_out(self) -> tuple[int, int]:
        """How many items of the first and of the second list have no counterpart."""
        return self.n_first - len(set(self.first.tolist())), self.n_second - len(set(self.second.tolist()))

    @property
    def is_identity(self) -> bool:
        """Whether both lists have as many items, and each stands for the one of its own place."""
        every = np.arange(self.n_first)
        return self.n_first == self.n_second and all(np.array_equal(of, every) for of in (self.first, self.second))

    def counterpart(self, place: int) -> int | None:
        """The item of the second list that stands for item ``place`` of the first; None where there is none."""
        at = np.flatnonzero(self.first == place)
        return int(self.second[at[0]]) if len(at) else None

    def head(self, n: int) -> "Match":
        """The first ``n`` pairs alone."""
        return self._replace(first=self.first[:n], second=self.second[:n])

    def largest(self, first: np.ndarray | Tensor, second: np.ndarray | Tensor, n: int) -> "Match":
        """The ``n`` pairs whose number is largest in size in either of the two lists of numbers, in their order."""
        sizes = [np.abs(np.asarray(of, np.float64)) for of in (first, second)]
        either = np.fmax(sizes[0][self.first], sizes[1][self.second])
        kept = np.sort(np.argsort(-np.nan_to_num(either), kind="stable")[:n])
        return self._replace(first=self.first[kept], second=self.second[kept])

    def swapped(self) -> "Match":
        """The same seen from the second list."""
        return Match(self.second, self.first, self.n_second, self.n_first)


def alike(n: int) -> Match:
    """Each of ``n`` items stands for the one of its own place."""
    return Match(np.arange(n), np.arange(n), n, n)


def layer_depths(n_layers: int) -> Float[np.ndarray, " layer"]:
    """The middle of each layer, as a share of all layers: 0 is the embedding, 1 the output."""
    return (np.arange(n_layers) + 0.5) / n_layers


def by_depth(first: Sequence[float], second: Sequence[float]) -> Match:
    """Each item of the longer list with the one of the other that lies nearest in depth, of two the earlier.

    So nothing of the deeper model is left out, and a layer of the other stands beside several of it. Lists of one
    length are matched place by place.
    """
    if len(first) == len(second):
        return alike(len(first))
    if len(first) < len(second):
        return by_depth(second, first).swapped()
    far = np.abs(np.subtract.outer(np.asarray(first, float), np.asarray(second, float))).round(ROUND)
    return Match(np.arange(len(first)), far.argmin(1), len(first), len(second))


def by_name(first: Sequence[Hashable], second: Sequence[Hashable]) -> Match:
    """Items of one name; of a name that comes again, the first with the first, the second with the second."""
    places = {key: place for place, key in enumerate(_counted(second))}
    pairs = [(place, places[key]) for place, key in enumerate(_counted(first)) if key in places]
    return _match(pairs, len(first), len(second))


def token_pieces(model: HookedTransformer, tokens: Int[Tensor, " pos"]) -> list[bytes]:
    """The bytes of text that each token covers: none for BOS, the id in words where there is no tokenizer."""
    ids = [int(token) for token in tokens]
    if model.tokenizer is None:
        return [f"⟨{i}⟩".encode() for i in ids]
    pieces, start = Pieces(model.tokenizer), int(bool(ids) and ids[0] == model.bos.id)
    return [b""] * start + [pieces.bytes_of(i) for i in ids[start:]]


def by_text(first: Sequence[bytes], second: Sequence[bytes]) -> Match:
    """Tokens that cover exactly the same text in the same place, of one text or of what two texts have in common.

    What two texts have in common is found word by word, in their order. A word that one tokenizer cuts and the other
    does not has no counterpart. An empty first piece is BOS, which stands for BOS.
    """
    if list(first) == list(second):
        return alike(len(first))
    if list(second) < list(first):  # of two ways to match, the same one in both orders
        return by_text(second, first).swapped()
    blocks = _common(b"".join(first), b"".join(second))
    places = {span: place for place, span in enumerate(_spans(second)) if span[0] < span[1]}
    pairs = [(0, 0)] if first and second and first[0] == second[0] == b"" else []
    for place, (start, stop) in enumerate(_spans(first)):
        moved = [to - at for at, to, n in blocks if start < stop and at <= start and stop <= at + n]
        if moved and (start + moved[0], stop + moved[0]) in places:
            pairs.append((place, places[start + moved[0], stop + moved[0]]))
    return _match(pairs, len(first), len(second))


class Aligned(NamedTuple):
    """Two arrays of one shape: what stands in the same cell stands for the same."""

    first: np.ndarray
    second: np.ndarray

    @property
    def difference(self) -> np.ndarray:
        """The second minus the first."""
        return self.second - self.first


def aligned(first: np.ndarray | Tensor, second: np.ndarray | Tensor, matches: Sequence[Match]) -> Aligned:
    """The cells that have a counterpart; ``matches``: of each axis."""
    first, second = (np.asarray(of, np.float64) for of in (first, second))
    wanted = [tuple(getattr(match, name) for match in matches) for name in ("n_first", "n_second")]
    if [first.shape, second.shape] != wanted:
        raise ValueError(
            f"aligned: arrays of shape {first.shape} and {second.shape}, matches of {wanted[0]} and {wanted[1]} items; "
            "give one match for each axis."
        )
    return Aligned(first[np.ix_(*(of.first for of in matches))], second[np.ix_(*(of.second for of in matches))])


def per_layer(values: Float[np.ndarray, "layer head"] | Tensor) -> Float[np.ndarray, "layer 2"]:
    """The largest and the mean number of each layer's heads, those without a number left out: NaN where none has one.

    For models whose heads have no counterpart.
    """
    values = np.asarray(values, np.float64)
    known = ~np.isnan(values)
    n = known.sum(1)
    largest = np.where(known, values, -np.inf).max(1)
    mean = np.where(known, values, 0).sum(1) / np.maximum(n, 1)
    return np.where(n[:, None] > 0, np.stack([largest, mean], 1), np.nan)


def between_layers(
    values: Float[np.ndarray, "layer head later later_head"] | Tensor,
) -> Float[np.ndarray, "layer later"]:
    """The largest number of all pairs of heads of two layers: NaN where no pair has one."""
    values = np.asarray(values, np.float64)
    largest = np.where(np.isnan(values), -np.inf, values).max((1, 3))
    return np.where(np.isneginf(largest), np.nan, largest)


def log_rank(rank: Int[np.ndarray, "*places"] | Tensor) -> Float[np.ndarray, "*places"]:
    """log₁₀ of a rank from 1, of zero-based ranks: what differences of ranks are taken of. NaN where it is −1: none."""
    rank = np.asarray(rank)
    return np.log10(np.where(rank < 0, np.nan, rank + 1.0))


def largest(difference: np.ndarray) -> tuple[int, ...] | None:
    """The cell that differs most; None where no cell has a difference other than 0."""
    size = np.nan_to_num(np.abs(difference))
    return tuple(map(int, np.unravel_index(size.argmax(), size.shape))) if size.any() else None


def paired_difference(
    first: Float[Tensor, "sample *rest"], second: Float[Tensor, "sample *rest"], unit: str = "sequences"
) -> Estimate:
    """Second minus first on the same samples, with intervals that hold all cells at once in 95% of cases (Bonferroni).

    Below 16 samples there is no interval.
    """
    if first.shape != second.shape:
        raise ValueError(
            f"paired_difference: samples of shape {list(first.shape)} and {list(second.shape)}; "
            "give the same samples of both."
        )
    samples = (second - first).double()
    n, cells = len(samples), max(1, samples[0].numel())
    mean = samples.mean(0)
    if n < MIN_SAMPLES:
        return Estimate(mean, None, None, n, f"no interval: {n} {unit}, at least {MIN_SAMPLES} are needed")
    low, high = bootstrap_interval(samples, level=1 - (1 - LEVEL) / cells)
    note = f"{LEVEL:.0%} interval of the paired difference over {n} {unit}, of all {cells} numbers at once (Bonferroni)"
    return Estimate(mean, low, high, n, note)


def difference_over_pairs(
    first: Float[Tensor, "*rest pair"], second: Float[Tensor, "*rest pair"], pairs: Crossed, seed: int = 0
) -> Estimate:
    """The same of pairs of prompts, along the last axis, which need not be independent: frames and names are drawn.

    The intervals hold all cells at once in 95% of cases. None where the pairs carry none.
    """
    if first.shape != second.shape or first.shape[-1] != len(pairs):
        raise ValueError(
            f"difference_over_pairs: numbers of shape {list(first.shape)} and {list(second.shape)} for {len(pairs)} "
            "pairs; give the same pairs of both, along the last axis."
        )
    found = sampled((second - first).double(), pairs, seed)
    if shortage(pairs):
        return Estimate(found.value, None, None, len(pairs), unit_note(pairs, seed))
    note = f"intervals of the paired difference, which hold all {found.value.numel()} numbers at once"
    reach = found.reach()
    return Estimate(
        found.value, found.value - reach, found.value + reach, len(pairs), f"{note}: {unit_note(pairs, seed)}"
    )


def _counted(names: Sequence[Hashable]) -> list[tuple[Hashable, int]]:
    seen: dict[Hashable, int] = {}
    counted = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        counted.append((name, seen[name]))
    return counted


def _match(pairs: Sequence[tuple[int, int]], n_first: int, n_second: int) -> Match:
    places = np.array(pairs, int).reshape(-1, 2)
    return Match(places[:, 0], places[:, 1], n_first, n_second)


def _spans(pieces: Sequence[bytes]) -> list[tuple[int, int]]:
    ends = np.cumsum([0, *map(len, pieces)]).tolist()
    return list(pairwise(ends))


def _common(first: bytes, second: bytes) -> list[tuple[int, int, int]]:
    """(start in the first, start in the second, length) of the stretches that both texts have, in bytes."""
    if first == second:
        return [(0, 0, len(first))]
    texts = [text.decode("utf-8", "surrogateescape") for text in (first, second)]
    atoms = [ATOM.findall(text) for text in texts]
    starts = [np.cumsum([0, *(len(atom.encode("utf-8", "surrogateescape")) for atom in of)]).tolist() for of in atoms]
    blocks = SequenceMatcher(None, *atoms, autojunk=False).get_matching_blocks()
    return [(starts[0][at], starts[1][to], starts[0][at + n] - starts[0][at]) for at, to, n in blocks if n]
