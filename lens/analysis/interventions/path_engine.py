"""Direct paths from all senders at once: their writes layer by layer, their receivers in one growing batch."""

from itertools import product
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from lens.analysis.interventions.cells import Place, check_places
from lens.analysis.interventions.engine import over_read, read_all, read_rows, seconds_per_token_layer
from lens.analysis.interventions.last_prepared import LastPrepared
from lens.analysis.interventions.path import Path, PathPart, PathSweep, Sender, empty_sweep, senders_of, with_senders
from lens.analysis.interventions.plan import BUDGET, MOST_TOKENS, make_stops, row_bytes
from lens.analysis.interventions.readers import Reader
from lens.analysis.interventions.recording import Run, first_stream, frozen_names, record
from lens.analysis.interventions.rows import Rows
from lens.analysis.interventions.sites import find_site
from lens.analysis.interventions.values import Values, values_of
from lens.analysis.interventions.walk import Prefix, Setup, Walked, walk
from lens.attention import per_head
from lens.batching import n_parts
from lens.config import Config
from lens.model import Transformer
from lens.progress import Progress, silent

MAKING = 0.5  # layers: what the senders' writes and the receivers' inputs of a row cost


class PathOutline(NamedTuple):
    """What is known before the paths are patched."""

    n_groups: int
    n_computed: int  # senders x pairs
    seconds: float  # estimate for all groups
    empty: PathSweep


class _Runs(NamedTuple):
    base: Run
    values: Values
    embed: Tensor  # difference of the first streams [pair, pos, d_model]
    readings: Tensor
    metrics: tuple[Tensor, Tensor]
    start: int  # nothing changes before
    stop: int  # nothing is read from here on


class _Job(NamedTuple):
    """Senders of one layer, for some of the pairs."""

    layer: int
    first: int
    last: int

    def halves(self) -> list["_Job"]:
        """The same in two jobs, or in one where there is only one pair."""
        middle = (self.first + self.last + 1) // 2
        return [job for job in (self._replace(last=middle), self._replace(first=middle)) if job.first < job.last]


class _Piece(NamedTuple):
    """What the receivers read when the path from each sender of a job is patched: by layer [row, pos, …]."""

    senders: tuple[Sender, ...]
    pair: Tensor
    inputs: dict[int, Tensor]


_kept: LastPrepared[_Runs] = LastPrepared()


def path_outline(model: Transformer, path: Path, budget: int = BUDGET) -> PathOutline:
    """Runs both sides; says how much there is to compute and about how long it takes."""
    runs, groups, cfg = _runs(model, path, budget), _groups(model, path, budget), model.cfg
    first = {job.layer: _first_receiver(path, cfg, job.layer) for group in groups for job in group}
    jobs = [(job, len(senders_of(cfg, job.layer)) * (job.last - job.first)) for group in groups for job in group]
    width = runs.stop - runs.start
    cost = sum(n * width * (cfg.n_layers - first[job.layer] + MAKING) for job, n in jobs)
    base, other = (one.cpu() for one in runs.metrics)
    empty = empty_sweep(cfg, path, base, other)
    return PathOutline(len(groups), sum(n for _, n in jobs), cost * seconds_per_token_layer(model), empty)


@torch.no_grad()
def path_group(group: int, model: Transformer, path: Path, budget: int = BUDGET) -> tuple[PathPart, ...]:
    """One group of senders: each can be cached on its own, and :func:`with_senders` puts any of them together.

    Where half as much is to be held, each of its jobs is computed alone and in two halves.
    """
    runs, jobs = _runs(model, path, budget), _groups(model, path, budget)[group]
    together = [jobs] if n_parts() == 1 else [[half] for job in jobs for half in job.halves()]
    return tuple(part for some in together for part in _parts_of(model, path, runs, some))


def _parts_of(model: Transformer, path: Path, runs: _Runs, jobs: list[_Job]) -> list[PathPart]:
    """The effects of the senders of some jobs, computed at once."""
    pieces = [_piece(model, path, runs, job) for job in jobs]
    found = _measured(model, path, runs, pieces)
    return [PathPart(piece.senders, piece.pair.cpu(), one.cpu()) for piece, one in zip(pieces, found)]


def path_patch(model: Transformer, path: Path, progress: Progress = silent, budget: int = BUDGET) -> PathSweep:
    """The direct effect of every head, MLP and the embedding on the receivers, by what it does to the metric."""
    outline, parts = path_outline(model, path, budget), []
    for group in range(outline.n_groups):
        parts += path_group(group, model, path, budget)
        progress((group + 1) / outline.n_groups, f"senders, group {group + 1} of {outline.n_groups}")
    return with_senders(outline.empty, parts)


def _groups(model: Transformer, path: Path, budget: int) -> list[list[_Job]]:
    """Jobs in the order of layers, as many together as one batch holds."""
    runs, cfg, n = _runs(model, path, budget), model.cfg, len(path.pairs)
    width = runs.stop - runs.start
    most = max(1, min(budget // row_bytes(cfg, width, runs.stop), MOST_TOKENS // width))
    step = max(1, most // (cfg.n_heads + 1))
    groups, held = [], 0
    for layer, first in product(range(-1, path.layers(cfg)[-1]), range(0, n, step)):
        job = _Job(layer, first, min(first + step, n))
        rows = len(senders_of(cfg, layer)) * (job.last - job.first)
        if not groups or held + rows > most:
            groups.append([])
            held = 0
        groups[-1].append(job)
        held += rows
    return groups


def _runs(model: Transformer, path: Path, budget: int) -> _Runs:
    """Both runs; they are the same for all receivers."""
    if path.input != "final":
        places = [Place(layer, path.pos, head) for layer, head in path.receivers]
        check_places(places, find_site(path.input, model.cfg), model.cfg, path.pairs.n_pos)
    key = (path.pairs, path.metric, path.put, path.into, budget)
    return _kept.get(model, key, lambda: _record(model, path, budget), lambda made: 2 * made.base.n_bytes)


@torch.no_grad()
def _record(model: Transformer, path: Path, budget: int) -> _Runs:
    cfg, pairs, intervention = model.cfg, path.pairs, path.intervention
    layers = range(cfg.n_layers)
    writes = [f"blocks.{layer}.attn.hook_z" for layer in layers]
    writes += [] if cfg.attn_only else [f"blocks.{layer}.hook_mlp_out" for layer in layers]
    streams = [f"blocks.{layer}.hook_{one}" for layer in layers for one in ("resid_pre", "attn_out")]
    frozen = frozen_names(model, intervention.freeze)
    base = record(model, pairs, intervention.base, writes + streams + frozen)
    other = record(model, pairs, intervention.other, [*writes, "blocks.0.hook_resid_pre"])
    values = values_of(intervention, other, cfg)
    first = first_stream(model, pairs, intervention.base)[0]
    whole = torch.arange(len(pairs), device=model.device)
    rows = Rows(whole, (), (), 0, first.shape[1], whole)
    embed = values(0, "blocks.0.hook_resid_pre", first, rows) - first
    readers = [Reader(model, pairs, side, path.metric) for side in (intervention.base, intervention.other)]
    readings = [read_all(model, reader, run.final, budget) for reader, run in zip(readers, (base, other))]
    metrics = tuple(over_read(one, reader.read) for one, reader in zip(readings, readers))
    stop = max(make_stops(readers[0]))
    start = min(pairs.first_difference()) if path.put == "other" else 0
    return _Runs(base, values, embed, readings[0], metrics, min(start, stop - 1), stop)


def _first_receiver(path: Path, cfg: Config, layer: int) -> int:
    return next(one for one in path.layers(cfg) if one > layer)


def _piece(model: Transformer, path: Path, runs: _Runs, job: _Job) -> _Piece:
    cfg = model.cfg
    pair = torch.arange(job.first, job.last, device=model.device)
    senders = senders_of(cfg, job.layer)
    each = pair.repeat(len(senders))
    inputs = {}
    changed = None if job.layer < 0 else writes_of(model, job.layer, runs, pair)
    for layer in path.layers(cfg):
        if layer <= job.layer:
            continue
        if job.layer < 0:
            changed = torch.stack([runs.embed[pair], all_writes(model, layer, runs, pair)])
        stream = runs.base.final if layer == cfg.n_layers else runs.base.kept[f"blocks.{layer}.hook_resid_pre"]
        stream = (stream[each] + changed.flatten(0, 1))[:, runs.start : runs.stop]
        inputs[layer] = stream if layer == cfg.n_layers else receiver_input(model, path, layer, each, stream, runs)
    return _Piece(senders, pair, inputs)


def writes_of(model: Transformer, layer: int, runs: _Runs, pair: Tensor) -> Float[Tensor, "sender pair pos d_model"]:
    """By how much the write of each head, and of the MLP, of one layer changes."""
    old, new = _z_of(layer, runs, pair)
    n_heads = old.shape[2]
    one_new = torch.eye(n_heads, dtype=torch.bool, device=old.device)[:, None, None, :, None]
    each = rearrange(torch.where(one_new, new, old), "head pair pos all d_head -> (head pair) pos all d_head")
    changed = rearrange(_written(model, layer, each), "(head pair) pos d_model -> head pair pos d_model", head=n_heads)
    changed = changed - runs.base.kept[f"blocks.{layer}.hook_attn_out"][pair]
    if model.cfg.attn_only:
        return changed
    return torch.cat([changed, _mlp_change(layer, runs, pair)[None]])


def all_writes(model: Transformer, before: int, runs: _Runs, pair: Tensor) -> Float[Tensor, "pair pos d_model"]:
    """By how much the stream before one layer changes when everything that wrote into it is replaced."""
    total = runs.embed[pair]
    for layer in range(before):
        _, new = _z_of(layer, runs, pair)
        total = total + _written(model, layer, new) - runs.base.kept[f"blocks.{layer}.hook_attn_out"][pair]
        if not model.cfg.attn_only:
            total = total + _mlp_change(layer, runs, pair)
    return total


def _z_of(layer: int, runs: _Runs, pair: Tensor) -> tuple[Tensor, Tensor]:
    name = f"blocks.{layer}.attn.hook_z"
    z = runs.base.kept[name][pair]
    return z, runs.values(layer, name, z, Rows(pair, (), (), 0, z.shape[1], pair))


def _written(model: Transformer, layer: int, z: Tensor) -> Tensor:
    block = model.blocks[layer]
    return block.ln1_post(block.attn.write(z))


def _mlp_change(layer: int, runs: _Runs, pair: Tensor) -> Tensor:
    name = f"blocks.{layer}.hook_mlp_out"
    old = runs.base.kept[name][pair]
    return runs.values(layer, name, old, Rows(pair, (), (), 0, old.shape[1], pair)) - old


def receiver_input(
    model: Transformer, path: Path, layer: int, pair: Tensor, stream: Tensor, runs: _Runs
) -> Float[Tensor, "row pos head d_head"]:
    """Queries, keys or values that the heads of ``layer`` make of a changed stream."""
    block, mask = model.blocks[layer], runs.base.mask[pair, : runs.stop]
    places = model.places(stream, None if mask.all() else mask, Prefix(runs.base.past, runs.start))
    read = dict(zip("qkv", block.attention_inputs(stream, places.to(block.device))))[path.input]
    W, b = (getattr(block.attn, f"{one}_{path.input.upper()}") for one in "Wb")
    return block.attn.clipped(per_head(read, W, b))


def _measured(model: Transformer, path: Path, runs: _Runs, pieces: list[_Piece]) -> list[Float[Tensor, "sender pair"]]:
    """The metric of each pair with the direct paths of the senders patched, one at a time; pieces in layer order."""
    each = [piece.pair.repeat(len(piece.senders)) for piece in pieces]
    stored = {
        layer: torch.cat([piece.inputs[layer] for piece in pieces if layer in piece.inputs])
        for layer in path.layers(model.cfg)
        if layer in pieces[0].inputs or layer in pieces[-1].inputs
    }

    def from_stored(layer: int, name: str, old: Tensor, chosen: Rows) -> Tensor:
        return stored[layer][chosen.ids][:, chosen.start - runs.start : chosen.stop - runs.start]

    cells, join = [], []
    for piece, rows in zip(pieces, each):
        places = [Place(layer, path.pos, head) for layer, head in path.receivers if layer in piece.inputs]
        cells += [tuple(places)] * len(rows)
        join += [min(piece.inputs)] * len(rows)
    pair = torch.cat(each)
    ids = torch.arange(len(pair), device=pair.device)
    rows = Rows(pair, tuple(cells), tuple(join), runs.start, runs.stop, ids)
    reader = Reader(model, path.pairs, path.intervention.base, path.metric)
    if path.input == "final":
        setup = Setup(model, path.intervention, runs.base, runs.values)
        walked = Walked(rows, stored[model.cfg.n_layers])
    else:
        setup = Setup(model, path.intervention, runs.base, from_stored)
        only_last = not reader.read[pair, rows.start : rows.stop - 1].any()
        walked = walk(setup, rows, only_last)
    values = read_rows(setup, reader, runs.readings, *walked)
    found = values.split([len(one) for one in each])
    return [rearrange(one, "(sender pair) -> sender pair", pair=len(piece.pair)) for one, piece in zip(found, pieces)]
