"""Path patching: what components tell another directly, with everything between them left as it was.

The sender's output is replaced; no other head or MLP may react, so only the stream at the receiver changes, by the
difference of the sender's writes. What the receiver then reads (its query, key or value, or the final norm) is put into
an otherwise unchanged run. Source: Wang et al. 2022, "Interpretability in the wild"; Goldowsky-Dill et al. 2023.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.interventions.intervention import Intervention, Metric
from lens.analysis.interventions.pairs import Pairs
from lens.analysis.interventions.results import Effect, with_interval
from lens.analysis.names import Head
from lens.analysis.verdicts import rounding_of
from lens.arrays import as_tensor
from lens.config import Config

INPUTS = {"q": "queries", "k": "keys", "v": "values", "final": "the final stream, which the logits are read from"}


@dataclass(frozen=True)
class Path:
    """Which direct paths are patched: from every component to these ``receivers``, through this input of theirs.

    A receiver is (layer, head), kv heads for k and v; none for "final". ``pos``: only what they read there.
    ``frozen_scale``: the final norm divides by what it did before the change (of "final").
    """

    pairs: Pairs
    input: str
    receivers: tuple[tuple[int, int], ...] = ()
    pos: int | None = None
    metric: Metric = field(default_factory=Metric)
    put: str = "other"
    into: str = "clean"
    frozen_scale: bool = False

    def __post_init__(self) -> None:
        if self.input not in INPUTS:
            raise ValueError(f"Path: input={self.input!r}; it must be one of {', '.join(INPUTS)}.")
        if (self.input == "final") == bool(self.receivers):
            raise ValueError("Path: name receivers as (layer, head) for q, k and v; none for 'final'.")
        if self.frozen_scale and self.input != "final":
            raise ValueError(f"Path: frozen_scale=True with input={self.input!r}; only paths into 'final' offer it.")
        if self.put == "add" or self.metric.kind == "kl":
            raise ValueError("Path: put='add' and the metric kl are not offered here; use other, mean or zero.")
        # Plain pairs, whatever was given: the repr stands in the Python that a page exports.
        object.__setattr__(self, "receivers", tuple((layer, head) for layer, head in self.receivers))

    @property
    def intervention(self) -> Intervention:
        """What the second run does."""
        freeze = ("scales",) if self.frozen_scale else ()
        return Intervention("z" if self.input == "final" else self.input, self.put, self.into, freeze)

    def layers(self, cfg: Config) -> tuple[int, ...]:
        """The layers that receive, ascending; the final stream counts as layer n_layers."""
        return (cfg.n_layers,) if self.input == "final" else tuple(sorted({layer for layer, _ in self.receivers}))


class Sender(NamedTuple):
    """A component that writes: "head", "mlp" or "embed" (layer −1); "all" are all of them at once (layer −1)."""

    kind: str
    layer: int
    head: int | None = None

    @property
    def label(self) -> str:
        """In words: "head 1.2", "MLP 0", "embedding"."""
        if self.kind == "head":
            return f"head {self.layer}.{self.head}"
        return f"MLP {self.layer}" if self.kind == "mlp" else {"embed": "embedding", "all": "all senders"}[self.kind]


EMBED, ALL = Sender("embed", -1), Sender("all", -1)


class PathPart(NamedTuple):
    """The metric after patching the direct path from each of some senders, for some of the pairs."""

    senders: tuple[Sender, ...]
    pair: Tensor  # Int [pair]
    value: Float[Tensor, "sender pair"]


class PathSweep(NamedTuple):
    """The metric after patching the direct path from each sender; where there is no path it is the base value.

    ``together``: the paths from all senders at once, the most that direct paths into these receivers can do.
    What is not computed yet is NaN.
    """

    heads: Float[Tensor, "layer head pair"]
    mlps: Float[Tensor, "layer pair"]  # no rows in an attention-only model
    embed: Float[Tensor, " pair"]
    together: Float[Tensor, " pair"]
    base: Float[Tensor, " pair"]
    other: Float[Tensor, " pair"]
    path: Path


def receivers_of(cfg: Config, input: str, heads: Iterable[tuple[int, int]]) -> tuple[Head, ...]:
    """What receives for these query heads: themselves, or (inputs "k", "v") the groups that share keys and values."""
    share = cfg.group_size if input in ("k", "v") else 1
    return tuple(dict.fromkeys(Head(layer, head // share) for layer, head in heads))


def senders_of(cfg: Config, layer: int) -> tuple[Sender, ...]:
    """What writes in one layer, heads first; the embedding, and all senders at once, in layer −1."""
    if layer < 0:
        return EMBED, ALL
    heads = tuple(Sender("head", layer, head) for head in range(cfg.n_heads))
    return heads if cfg.attn_only else (*heads, Sender("mlp", layer))


def empty_sweep(cfg: Config, path: Path, base: Tensor, other: Tensor) -> PathSweep:
    """No sender is computed yet: NaN where there is a path, the base value where there is none."""
    unknown = base.new_full(base.shape, torch.nan)
    last = path.layers(cfg)[-1]
    rows = torch.stack([unknown if layer < last else base for layer in range(cfg.n_layers)])
    heads = rows[:, None].repeat(1, cfg.n_heads, 1)
    mlps = base.new_zeros(0, len(base)) if cfg.attn_only else rows.clone()
    return PathSweep(heads, mlps, unknown, unknown.clone(), base, other, path)


def with_senders(empty: PathSweep, parts: Iterable[PathPart]) -> PathSweep:
    """The sweep with these parts filled in; needs no model."""
    found = empty._replace(
        **{name: as_tensor(getattr(empty, name)).clone() for name in ("heads", "mlps", "embed", "together")}
    )
    for part in parts:
        pair = as_tensor(part.pair).long()
        for sender, value in zip(part.senders, as_tensor(part.value)):
            _row_of(found, Sender(*sender))[pair] = value
    return found


def _row_of(sweep: PathSweep, sender: Sender) -> Float[Tensor, " pair"]:
    if sender.kind == "head":
        return sweep.heads[sender.layer, sender.head]
    return sweep.mlps[sender.layer] if sender.kind == "mlp" else sweep.embed if sender == EMBED else sweep.together


def path_effect(sweep: PathSweep, seed: int = 0) -> Effect:
    """What the direct path from every head does to the metric, mean over pairs [layer, head], with its interval."""
    change = as_tensor(sweep.heads) - as_tensor(sweep.base)
    return with_interval(change.mean(-1), change, sweep.path.pairs, seed)


def senders_in_order(sweep: PathSweep) -> Iterator[tuple[Sender, float]]:
    """Senders that are computed with the mean effect of their direct path, the largest absolute effect first."""
    base = as_tensor(sweep.base)
    effects = [(EMBED, float((as_tensor(sweep.embed) - base).mean()))]
    for layer, row in enumerate((as_tensor(sweep.heads) - base).mean(-1).tolist()):
        effects += [(Sender("head", layer, head), one) for head, one in enumerate(row)]
    for layer, one in enumerate((as_tensor(sweep.mlps) - base).mean(-1).tolist()):
        effects.append((Sender("mlp", layer), one))
    yield from sorted((item for item in effects if item[1] == item[1]), key=lambda item: -abs(item[1]))


class PathSummary(NamedTuple):
    """What direct paths do to the metric, means over pairs, in its unit."""

    strongest: tuple[tuple[Sender, float], ...]  # the largest absolute effect first
    total: float  # sum of the single paths
    together: float  # all senders at once
    gap: float  # between the two runs
    acts: bool  # whether any single path does more than rounding
    n_missing: int  # heads that are not computed yet


def path_summary(sweep: PathSweep, count: int = 3) -> PathSummary:
    """The ``count`` strongest senders beside what all do."""
    rows = list(senders_in_order(sweep))
    base, other, together = (as_tensor(one) for one in (sweep.base, sweep.other, sweep.together))
    acts = bool(rows) and abs(rows[0][1]) > rounding_of(base, other)
    missing = int(as_tensor(sweep.heads).isnan().any(-1).sum())
    ends = (float((one - base).mean()) for one in (together, other))
    return PathSummary(tuple(rows[:count]), sum(effect for _, effect in rows), *ends, acts, missing)
