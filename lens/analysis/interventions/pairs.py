"""Pairs of prompts, token by token alike except where the information of interest differs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.arrays import as_tensor
from lens.tokens import padded

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Noise:
    """Gaussian noise on the embeddings of some positions, as in causal tracing.

    ``scale`` is in standard deviations of all entries of W_E (Source: Meng et al. 2022, who take 3). Draw i of a
    seed does not depend on the other prompts.
    """

    positions: tuple[int, ...]
    scale: float = 3.0
    seed: int = 0


class Tokens(NamedTuple):
    """One side of all pairs, padded on the right."""

    tokens: Int[Tensor, "pair pos"]
    lengths: Int[Tensor, " pair"]

    @property
    def mask(self) -> Tensor:
        """True at real tokens."""
        return torch.arange(self.tokens.shape[1], device=self.tokens.device) < self.lengths[:, None]


@dataclass(frozen=True)
class Pairs:
    """Clean and corrupted prompts, with the ids of right and wrong answers of the *clean* prompt.

    The two prompts of a pair have one length; different pairs may differ. ``frames`` and ``names`` number the sentence
    and the filling of each pair: where both are given, intervals resample them separately. With ``noise`` the
    corrupted run reads the clean prompt with noise on its embeddings.
    """

    clean: tuple[Ids, ...]
    corrupted: tuple[Ids, ...]
    answers: tuple[Ids, ...] = ()
    wrong: tuple[Ids, ...] = ()
    frames: Ids = ()
    names: Ids = ()
    noise: Noise | None = None

    def __post_init__(self) -> None:
        n = len(self.clean)
        if n == 0 or len(self.corrupted) != n:
            raise ValueError(
                f"Pairs: {n} clean and {len(self.corrupted)} corrupted prompts; wanted at least one of both."
            )
        for i, (clean, corrupted) in enumerate(zip(self.clean, self.corrupted)):
            if len(clean) != len(corrupted) or not clean:
                raise ValueError(
                    f"Pair {i}: {len(clean)} clean and {len(corrupted)} corrupted tokens. Patching needs position to "
                    "match position: reword one prompt so that both have the same number of tokens."
                )
        for name in ("answers", "wrong", "frames", "names"):
            if len(getattr(self, name)) not in (0, n):
                raise ValueError(f"Pairs: {len(getattr(self, name))} {name} for {n} pairs; give one for each, or none.")
        if self.noise is not None and min(map(len, self.clean)) <= max(self.noise.positions, default=-1):
            raise ValueError(f"Pairs: noise at positions {self.noise.positions}, beyond the end of a prompt.")

    @classmethod
    def of(cls, clean: Tensor, corrupted: Tensor, answers: Sequence = (), wrong: Sequence = ()) -> Self:
        """Pairs of unpadded token ids [pair, pos]; each answer an id or several."""
        rows = [tuple(map(tuple, torch.atleast_2d(as_tensor(x)).tolist())) for x in (clean, corrupted)]
        return cls(*rows, *(tuple(map(as_ids, ids)) for ids in (answers, wrong)))

    def __len__(self) -> int:
        return len(self.clean)

    def side(self, name: str, device: torch.device | str = "cpu") -> Tokens:
        """The "clean" or "corrupted" prompts, padded on the right."""
        batch = padded(getattr(self, name), 0)
        return Tokens(batch.tokens.to(device), batch.lengths.to(device))

    @property
    def n_pos(self) -> int:
        """Length of the longest prompt."""
        return max(map(len, self.clean))

    def first_difference(self) -> list[int]:
        """For each pair the first position at which the runs can differ; its length if they are equal."""
        if self.noise is not None:
            return [min(self.noise.positions, default=len(clean)) for clean in self.clean]
        return [
            next((i for i, (a, b) in enumerate(zip(clean, corrupted)) if a != b), len(clean))
            for clean, corrupted in zip(self.clean, self.corrupted)
        ]

    def take(self, chosen: Sequence[int]) -> Self:
        """Some of the pairs."""
        fields = ("clean", "corrupted", "answers", "wrong", "frames", "names")
        return replace(
            self, **{name: tuple(all_[i] for i in chosen) for name in fields if (all_ := getattr(self, name))}
        )

    def swapped(self) -> Self:
        """Clean and corrupted, right and wrong exchanged."""
        if self.noise is not None:
            raise ValueError("Pairs with noise cannot be swapped: the noisy run is no prompt.")
        return replace(self, clean=self.corrupted, corrupted=self.clean, answers=self.wrong, wrong=self.answers)


def as_ids(ids: int | Sequence[int]) -> Ids:
    """One id or several, as a tuple."""
    return (
        (int(ids),) if not isinstance(ids, (Sequence, Tensor)) or getattr(ids, "ndim", 1) == 0 else tuple(map(int, ids))
    )


def with_noise(pairs: Pairs, noise: Noise, draws: int = 1) -> Pairs:
    """Causal tracing: each clean prompt ``draws`` times, its other run being itself with noise on the embeddings."""
    times = tuple(i for i in range(len(pairs)) for _ in range(draws))
    repeated = pairs.take(times)
    return replace(repeated, corrupted=repeated.clean, noise=noise)


def noise_of(
    pairs: Pairs, W_E: Float[Tensor, "d_vocab d_model"], n_pos: int, embed_scale: float = 1.0
) -> Float[Tensor, "pair pos d_model"]:
    """What is added to the embeddings; zero where there is none."""
    out = torch.zeros(len(pairs), n_pos, W_E.shape[1])
    if pairs.noise is not None:
        std = float(W_E.detach().float().std()) * embed_scale * pairs.noise.scale
        for row in range(len(pairs)):
            generator = torch.Generator().manual_seed(pairs.noise.seed + row)
            for pos in pairs.noise.positions:
                out[row, pos] = torch.randn(W_E.shape[1], generator=generator) * std
    return out.to(W_E)
