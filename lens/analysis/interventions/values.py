"""The values that are put in place: another run's, a mean, zero, or the old value and a vector."""

from collections.abc import Callable
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.interventions.intervention import Intervention
from lens.analysis.interventions.recording import Run
from lens.analysis.interventions.rows import Rows, cut_positions
from lens.analysis.interventions.sites import find_site
from lens.config import Config


class Values(Protocol):
    """New values for some rows at one layer, in the shape of the old ones."""

    def __call__(self, layer: int, name: str, old: Tensor, rows: Rows) -> Tensor: ...


def values_of(intervention: Intervention, other: Run, cfg: Config) -> Values:
    """Where the new values of an intervention come from."""
    makers: dict[str, Callable[[], Values]] = {
        "other": lambda: _from_run(other),
        "mean": lambda: _from_mean(other),
        "mean_last": lambda: _from_last(other),
        "zero": lambda: _zero,
        "add": lambda: _add(intervention, cfg),
    }
    return makers[intervention.put]()


def _from_run(run: Run) -> Values:
    def new(layer: int, name: str, old: Tensor, rows: Rows) -> Tensor:
        return cut_positions(run.kept[name][rows.pair], rows, name)

    return new


def _from_mean(run: Run) -> Values:
    means: dict[str, Tensor] = {}

    def new(layer: int, name: str, old: Tensor, rows: Rows) -> Tensor:
        if name not in means:
            means[name] = mean_over_prompts(run.kept[name], run.mask, name)
        return cut_positions(means[name], rows, name).expand_as(old)

    return new


def _from_last(run: Run) -> Values:
    means: dict[str, Tensor] = {}

    def new(layer: int, name: str, old: Tensor, rows: Rows) -> Tensor:
        if name not in means:
            means[name] = mean_of_others(last_tokens(run.kept[name], run.mask))
        return means[name][rows.pair][:, None].expand_as(old)

    return new


def last_tokens(x: Float[Tensor, "pair pos *axes"], mask: Tensor) -> Float[Tensor, "pair *axes"]:
    """An activation at the last token of every prompt."""
    return x[torch.arange(len(x), device=x.device), mask.sum(1) - 1]


def mean_of_others(x: Float[Tensor, "pair *axes"]) -> Float[Tensor, "pair *axes"]:
    """For every pair the mean over all others: what it shares with them, without what is its own."""
    if len(x) < 2:
        raise ValueError(f"put='mean_last': {len(x)} pair; a mean over the others needs at least 2.")
    return (x.sum(0) - x) / (len(x) - 1)


def mean_over_prompts(x: Float[Tensor, "pair *axes"], mask: Tensor, name: str) -> Float[Tensor, "1 *axes"]:
    """Mean over the prompts that have a token there, position by position; of a pattern, query by query."""
    real = mask.to(x.dtype)
    weight = real[:, None, :, None] if name.endswith("hook_pattern") else real.reshape(*real.shape, *[1] * (x.ndim - 2))
    return (x * weight).sum(0, keepdim=True) / weight.sum(0, keepdim=True)


def _zero(layer: int, name: str, old: Tensor, rows: Rows) -> Tensor:
    return torch.zeros_like(old)


def _add(intervention: Intervention, cfg: Config) -> Values:
    vector = torch.tensor(intervention.vector) * intervention.coefficient
    site = find_site(intervention.site, cfg)
    wanted = cfg.d_head if site.name in ("q", "k", "v", "z") else cfg.d_model
    if site.name in ("pattern", "neurons") or site.name.endswith("_scale") or len(vector) != wanted:
        raise ValueError(
            f"put='add' at {site.name} with a vector of {len(vector)} numbers; use a site of the stream "
            f"({cfg.d_model} numbers) or of heads ({cfg.d_head})."
        )

    def new(layer: int, name: str, old: Tensor, rows: Rows) -> Tensor:
        return old + vector.to(old)

    return new
