"""Path patching: what one component tells another directly, with everything between them left as it was.

The sender's output is replaced; no other head or MLP may react, so only the stream at the receiver changes, by the
difference of the sender's writes. What the receiver then reads (its query, key or value, or the final norm) is put into
an otherwise unchanged run. Source: Wang et al. 2022, "Interpretability in the wild"; Goldowsky-Dill et al. 2023.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from lens.analysis.interventions.cells import Place, check_places
from lens.analysis.interventions.engine import over_read, read_all, read_rows
from lens.analysis.interventions.intervention import Intervention, Metric
from lens.analysis.interventions.pairs import Pairs
from lens.analysis.interventions.plan import BUDGET, make_stops, row_bytes
from lens.analysis.interventions.readers import Reader
from lens.analysis.interventions.rows import Rows
from lens.analysis.interventions.runs import Run, first_stream, record
from lens.analysis.interventions.sites import find_site
from lens.analysis.interventions.values import Values, values_of
from lens.analysis.interventions.walk import Setup, walk
from lens.analysis.streaming import Progress, silent
from lens.hooks import hooks
from lens.model import Transformer

INPUTS = {"q": "queries", "k": "keys", "v": "values", "final": "the final stream, which the logits are read from"}


@dataclass(frozen=True)
class Path:
    """Which direct paths are patched: from every component to these ``receivers``, through this input of theirs.

    A receiver is (layer, head), kv heads for k and v; none for "final". ``pos``: only what they read there.
    """

    pairs: Pairs
    input: str
    receivers: tuple[tuple[int, int], ...] = ()
    pos: int | None = None
    metric: Metric = field(default_factory=Metric)
    put: str = "other"
    into: str = "clean"

    def __post_init__(self) -> None:
        if self.input not in INPUTS:
            raise ValueError(f"Path: input={self.input!r}; it must be one of {', '.join(INPUTS)}.")
        if (self.input == "final") == bool(self.receivers):
            raise ValueError("Path: name receivers as (layer, head) for q, k and v; none for 'final'.")
        if self.put == "add" or self.metric.kind == "kl":
            raise ValueError("Path: put='add' and the metric kl are not offered here; use other, mean or zero.")

    @property
    def intervention(self) -> Intervention:
        """What the second run does."""
        return Intervention("z" if self.input == "final" else self.input, self.put, self.into)


class Sender(NamedTuple):
    """A component that writes: "head", "mlp" or "embed" (layer −1)."""

    kind: str
    layer: int
    head: int | None = None


class PathSweep(NamedTuple):
    """The metric after patching the direct path from each sender; where there is no path it is the base value."""

    heads: Float[Tensor, "layer head pair"]
    mlps: Float[Tensor, "layer pair"]  # no rows in an attention-only model
    embed: Float[Tensor, " pair"]
    base: Float[Tensor, " pair"]
    other: Float[Tensor, " pair"]
    path: Path


class _Runs(NamedTuple):
    base: Run
    values: Values
    embed: Tensor  # difference of the first streams [pair, pos, d_model]
    reader: Reader
    readings: Tensor
    metrics: tuple[Tensor, Tensor]


@torch.no_grad()
def path_patch(model: Transformer, path: Path, progress: Progress = silent, budget: int = BUDGET) -> PathSweep:
    """The direct effect of every head, MLP and the embedding on the receivers, by what it does to the metric."""
    cfg, pairs = model.cfg, path.pairs
    if path.input != "final":
        places = [Place(layer, path.pos, head) for layer, head in path.receivers]
        check_places(places, find_site(path.input, cfg), cfg, pairs.n_pos)
    runs = _record(model, path, budget)
    last = cfg.n_layers if path.input == "final" else max(layer for layer, _ in path.receivers)
    senders = [sender for sender in all_senders(model) if sender.layer < last]
    found = {sender: runs.metrics[0].clone() for sender in all_senders(model)}
    n_rows = max(1, budget // row_bytes(cfg, pairs.n_pos, pairs.n_pos))
    per_layer = max(1, n_rows // (cfg.n_heads + 1))
    jobs = list(product(sorted({sender.layer for sender in senders}), range(0, len(pairs), per_layer)))
    for done, (layer, start) in enumerate(jobs):
        chosen = [sender for sender in senders if sender.layer == layer]
        pair = torch.arange(start, min(start + per_layer, len(pairs)), device=model.device)
        values = _patched(model, path, runs, chosen, pair)
        for sender, row in zip(chosen, values):
            found[sender][pair] = row
        progress((done + 1) / len(jobs), f"senders of layer {layer} of {cfg.n_layers}")
    return _as_sweep(model, path, found, runs)


def all_senders(model: Transformer) -> list[Sender]:
    """Embedding, heads and MLPs in the order in which they write."""
    senders = [Sender("embed", -1)]
    for layer in range(model.cfg.n_layers):
        senders += [Sender("head", layer, head) for head in range(model.cfg.n_heads)]
        senders += [] if model.cfg.attn_only else [Sender("mlp", layer)]
    return senders


def _record(model: Transformer, path: Path, budget: int) -> _Runs:
    cfg, intervention = model.cfg, path.intervention
    layers = range(cfg.n_layers)
    writes = [f"blocks.{layer}.attn.hook_z" for layer in layers]
    writes += [] if cfg.attn_only else [f"blocks.{layer}.hook_mlp_out" for layer in layers]
    streams = [f"blocks.{layer}.hook_{one}" for layer in layers for one in ("resid_pre", "attn_out")]
    base = record(model, path.pairs, intervention.base, writes + streams)
    other = record(model, path.pairs, intervention.other, [*writes, "blocks.0.hook_resid_pre"])
    values = values_of(intervention, other, cfg)
    first = first_stream(model, path.pairs, intervention.base)[0]
    whole = torch.arange(len(path.pairs), device=model.device)
    rows = Rows(whole, (), (), 0, first.shape[1], whole)
    embed = values(0, "blocks.0.hook_resid_pre", first, rows) - first
    readers = [Reader(model, path.pairs, side, path.metric) for side in (intervention.base, intervention.other)]
    readings = [read_all(model, reader, run.final, budget) for reader, run in zip(readers, (base, other))]
    metrics = tuple(over_read(one, reader.read) for one, reader in zip(readings, readers))
    return _Runs(base, values, embed, readers[0], readings[0], metrics)


def writes_of(
    model: Transformer, senders: list[Sender], runs: _Runs, pair: Tensor
) -> Float[Tensor, "sender pair pos d_model"]:
    """By how much the write of each sender of one layer changes."""
    if senders[0].kind == "embed":
        return runs.embed[pair][None]
    layer = senders[0].layer
    block, kept = model.blocks[layer], runs.base.kept
    name = f"blocks.{layer}.attn.hook_z"
    z = kept[name][pair]
    rows = Rows(pair, (), (), 0, z.shape[1], pair)
    new = runs.values(layer, name, z, rows)
    n_heads = z.shape[2]
    one_new = torch.eye(n_heads, dtype=torch.bool, device=z.device)[:, None, None, :, None]
    each = rearrange(torch.where(one_new, new, z), "head pair pos all d_head -> (head pair) pos all d_head")
    written = block.ln1_post(block.attn.write(each))
    changed = rearrange(written, "(head pair) pos d_model -> head pair pos d_model", head=n_heads)
    changed = changed - kept[f"blocks.{layer}.hook_attn_out"][pair]
    if senders[-1].kind != "mlp":
        return changed
    name = f"blocks.{layer}.hook_mlp_out"
    old = kept[name][pair]
    return torch.cat([changed, (runs.values(layer, name, old, rows) - old)[None]])


def _patched(
    model: Transformer, path: Path, runs: _Runs, senders: list[Sender], pair: Tensor
) -> Float[Tensor, "sender pair"]:
    """The metric of each pair with the direct paths of senders of one layer patched, one at a time."""
    changed = writes_of(model, senders, runs, pair).flatten(0, 1)
    each = pair.repeat(len(senders))
    ids = torch.arange(len(each), device=each.device)
    stops = make_stops(runs.reader)
    stop = max(stops[i] for i in pair.tolist())
    first = min(path.pairs.first_difference()[i] for i in pair.tolist()) if path.put == "other" else 0
    rows = Rows(each, (), (), min(first, stop - 1), stop, ids)
    if path.input == "final":
        setup = Setup(model, path.intervention, runs.base, runs.values)
        final = (runs.base.final[each] + changed)[:, rows.start : rows.stop]
    else:
        layers = sorted({layer for layer, _ in path.receivers if layer > senders[0].layer})
        stored = {layer: receiver_input(model, path.input, layer, each, changed, runs) for layer in layers}

        def from_stored(layer: int, name: str, old: Tensor, chosen: Rows) -> Tensor:
            return stored[layer][chosen.ids][:, chosen.start : chosen.stop]

        cell = tuple(Place(layer, path.pos, head) for layer, head in path.receivers if layer in layers)
        rows = rows._replace(cells=(cell,) * len(each), join=(layers[0],) * len(each))
        setup = Setup(model, path.intervention, runs.base, from_stored)
        final = walk(setup, rows).final
    values = read_rows(setup, runs.reader, runs.readings, rows, final)
    return rearrange(values, "(sender pair) -> sender pair", pair=len(pair))


def receiver_input(
    model: Transformer, name: str, layer: int, pair: Tensor, changed: Tensor, runs: _Runs
) -> Float[Tensor, "row pos head d_head"]:
    """Queries, keys or values that the heads of ``layer`` make of the base stream plus ``changed``."""
    seen = []
    stream = runs.base.kept[f"blocks.{layer}.hook_resid_pre"][pair] + changed
    mask = runs.base.mask[pair]
    places = model.places(stream, None if mask.all() else mask)
    with hooks(model, [(f"blocks.{layer}.attn.hook_{name}", lambda x, hook: seen.append(x))], writes=False):
        model.blocks[layer](stream, places)
    return seen[0]


def _as_sweep(model: Transformer, path: Path, found: dict[Sender, Tensor], runs: _Runs) -> PathSweep:
    cfg, layers = model.cfg, range(model.cfg.n_layers)
    heads = torch.stack(
        [torch.stack([found[Sender("head", layer, head)] for head in range(cfg.n_heads)]) for layer in layers]
    )
    none = runs.metrics[0].new_zeros(0, len(path.pairs))
    mlps = none if cfg.attn_only else torch.stack([found[Sender("mlp", layer)] for layer in layers])
    base, other = (one.cpu() for one in runs.metrics)
    return PathSweep(heads.cpu(), mlps.cpu(), found[Sender("embed", -1)].cpu(), base, other, path)


def senders_in_order(sweep: PathSweep) -> Iterator[tuple[Sender, float]]:
    """Senders with the mean effect of their direct path, the largest absolute effect first."""
    base = torch.as_tensor(sweep.base)
    effects = [(Sender("embed", -1), float((torch.as_tensor(sweep.embed) - base).mean()))]
    for layer, row in enumerate((torch.as_tensor(sweep.heads) - base).mean(-1).tolist()):
        effects += [(Sender("head", layer, head), one) for head, one in enumerate(row)]
    for layer, one in enumerate((torch.as_tensor(sweep.mlps) - base).mean(-1).tolist()):
        effects.append((Sender("mlp", layer), one))
    yield from sorted(effects, key=lambda item: -abs(item[1]))
