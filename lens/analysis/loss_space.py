"""Training runs as paths through the losses of many fixed tokens, seen along the two directions of most variance."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

FEWEST = 2000  # tokens, below which a few of them would decide the picture
SAMPLE = "tokens are predicted by every checkpoint of every run"

SPACE_RULE = (
    "Every checkpoint of every run is the vector of its losses on the same tokens. Each token's loss is standardised "
    "over all these checkpoints (mean 0, standard deviation 1), so hard and easy tokens count alike; tokens whose loss "
    "never moves are left out. The two directions of most variance (principal components) are those of all runs "
    "together. A coordinate is in standard deviations of one token, as a root mean square over tokens."
)


class Paths(NamedTuple):
    """Every run as a path, all in one basis."""

    at: dict[str, Float[np.ndarray, "checkpoint 2"]]  # by run
    explained: tuple[float, float]  # share of the variance along each component
    n_tokens: int


Losses = Mapping[str, Float[np.ndarray, "checkpoint token"]]


def why_none(losses: Losses, fewest: int = FEWEST) -> str:
    """Why there are no paths, as half a sentence; "" where there are."""
    n, n_tokens = sum(map(len, losses.values())), int(_moving(losses).sum())
    if n < 3:
        return f"two components need at least 3 checkpoints, and there are {n}"
    return f"{n_tokens:,} {SAMPLE}, and at least {fewest:,} are wanted" if n_tokens < fewest else ""


def paths(losses: Losses, fewest: int = FEWEST) -> Paths:
    """``losses`` of every run on the same tokens, checkpoints ascending; entries that are NaN anywhere are left out.

    A component is positive where the first run ends. ValueError for too few tokens or checkpoints.
    """
    if why := why_none(losses, fewest):
        raise ValueError(f"paths: {why}.")
    rows = np.concatenate([np.asarray(one, np.float64) for one in losses.values()])[:, _moving(losses)]
    rows = (rows - rows.mean(0)) / rows.std(0)
    left, sizes, _ = np.linalg.svd(rows, full_matrices=False)
    lengths = [len(one) for one in losses.values()]
    ends = left[lengths[0] - 1, :2]
    at = left[:, :2] * sizes[:2] * np.where(ends < 0, -1, 1) / np.sqrt(rows.shape[1])
    parts = np.split(at, np.cumsum(lengths)[:-1])
    share = sizes**2 / (sizes**2).sum()
    return Paths(dict(zip(losses, parts)), (float(share[0]), float(share[1])), rows.shape[1])


def _moving(losses: Losses) -> Bool[np.ndarray, " token"]:
    """Tokens that every checkpoint predicts, and whose loss is not the same at all of them."""
    rows = np.concatenate(list(losses.values()))
    return np.isfinite(rows).all(0) & (np.ptp(rows, axis=0) > 0)


def share_of_path(at: Float[np.ndarray, "checkpoint 2"], first: int, last: int) -> float:
    """Which share of a path's length lies between two of its places."""
    steps = np.linalg.norm(np.diff(at, axis=0), axis=1)
    return float(steps[first:last].sum() / steps.sum()) if steps.any() else float("nan")
