"""Which cells must be computed, from where on, and in which groups: decided before anything runs."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor

from lens.analysis.interventions.cells import Cell, Place
from lens.analysis.interventions.intervention import Experiment
from lens.analysis.interventions.readers import Reader
from lens.analysis.interventions.rows import Rows
from lens.analysis.interventions.sites import Site, find_site
from lens.config import Config

BUDGET = 256_000_000  # bytes of activations of one group of rows
MOST_TOKENS = 1024  # of one group: more is not faster (4096 within 3%), and the figure would fill in larger steps
MERGE = 64  # tokens: reading a layer's weights once more costs as much as computing about so many tokens

COMPUTED, SAME, OUT_OF_REACH, ABSENT = range(4)
STATUS = (
    "computed",
    "no change: what is put there equals what stands there",
    "no change: nothing that the metric reads can see it",
    "absent: this prompt is shorter",
)


class Row(NamedTuple):
    """One cell of one pair that has to be run."""

    start: int
    join: int
    pair: int
    cell: int


class Plan(NamedTuple):
    """The groups of rows in the order of computing, and why the other cells are not computed."""

    groups: tuple[tuple[Row, ...], ...]
    status: UInt8[Tensor, "cell pair"]  # index into STATUS
    cells: tuple[Cell, ...]
    stops: tuple[int, ...]  # of each pair, one past the last position that the metric reads

    def token_layers(self, n_layers: int) -> int:
        """Tokens times layers that are computed, the sum over all groups."""
        return sum(group_cost(group, self.stops, n_layers) for group in self.groups)

    def rows(self, group: int, device: torch.device | str = "cpu") -> Rows:
        """One group as the batch of a walk."""
        chosen = self.groups[group]
        return Rows(
            pair=torch.tensor([row.pair for row in chosen], device=device),
            cells=tuple(self.cells[row.cell] for row in chosen),
            join=tuple(row.join for row in chosen),
            start=min(row.start for row in chosen),
            stop=max(self.stops[row.pair] for row in chosen),
            ids=torch.tensor([row.cell for row in chosen], device=device),
        )


def group_cost(group: Sequence[Row], stops: Sequence[int], n_layers: int) -> int:
    """Tokens times layers of one group, its common first position taken for all."""
    width = max(stops[row.pair] for row in group) - min(row.start for row in group)
    return width * sum(n_layers - row.join for row in group)


class Reach:
    """Decides for one cell of one pair whether and from where on it changes what the metric reads."""

    def __init__(self, site: Site, put: str, cfg: Config, experiment: Experiment, reader: Reader):
        self.site, self.put, self.n_layers = site, put, cfg.n_layers
        self.lengths = [len(ids) for ids in experiment.pairs.clean]
        self.first = experiment.pairs.first_difference()
        self.read = [row.nonzero()[:, 0].tolist() for row in reader.read.cpu()]

    def __call__(self, cell: Cell, pair: int) -> tuple[int, int, int]:
        """Status, first position and first layer."""
        found = [(self.place(place, pair), place.layer) for place in cell]
        statuses = {status for (status, _), _ in found}
        if ABSENT in statuses or COMPUTED not in statuses:
            return next(status for status in (ABSENT, OUT_OF_REACH, SAME) if status in statuses), 0, 0
        real = [(start, layer) for (status, start), layer in found if status == COMPUTED]
        return COMPUTED, min(start for start, _ in real), min(layer for _, layer in real)

    def place(self, place: Place, pair: int) -> tuple[int, int]:
        """Status and first position at which ``place`` changes something that matters."""
        length, read = self.lengths[pair], self.read[pair]
        pos = place.pos if place.pos is None or place.pos >= 0 else place.pos + length
        if (pos is not None and not 0 <= pos < length) or (place.key or 0) >= length:
            return ABSENT, 0
        if pos is not None and place.key is not None and place.key > pos:
            return SAME, 0  # no query attends to what comes after it
        start = max(pos or 0, place.key or 0)
        if self.put == "other":
            if self.first[pair] == length or (pos is not None and pos < self.first[pair]):
                return SAME, 0
            start = max(start, self.first[pair])
        if start > read[-1]:
            return OUT_OF_REACH, 0
        if self.site.local and place.layer >= self.n_layers - 1:
            if pos is not None and pos not in read:
                return OUT_OF_REACH, 0
            start = next(at for at in read if at >= start)
        return COMPUTED, start


def make_plan(cfg: Config, experiment: Experiment, reader: Reader, budget: int = BUDGET) -> Plan:
    """The groups of a sweep, each within ``budget`` bytes (or one row, if a row alone needs more)."""
    site, pairs = find_site(experiment.intervention.site, cfg), experiment.pairs
    cells = experiment.grid.cells(site, cfg, pairs.n_pos)
    reach = Reach(site, experiment.intervention.put, cfg, experiment, reader)
    status = torch.zeros(len(cells), len(pairs), dtype=torch.uint8)
    rows: list[Row] = []
    for pair in range(len(pairs)):
        for index, cell in enumerate(cells):
            state, start, join = reach(cell, pair)
            status[index, pair] = state
            if state == COMPUTED:
                rows.append(Row(start, join, pair, index))
    stops = make_stops(reader)
    groups = [group for bucket in buckets(rows) for group in within_budget(bucket, stops, cfg, budget, reader)]
    return Plan(tuple(groups), status, tuple(cells), stops)


def make_stops(reader: Reader) -> tuple[int, ...]:
    """For each pair one past the last position that the metric reads: nothing after it can matter."""
    return tuple(int(row.nonzero()[-1, 0]) + 1 for row in reader.read.cpu())


def buckets(rows: Iterable[Row], merge: int = MERGE) -> list[list[Row]]:
    """Rows grouped by first position; neighbours share a group where that wastes few tokens.

    A row that starts later than its group computes some positions for nothing. On average half of the rows of a group
    are in the batch at a layer.
    """
    by_start: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_start[row.start].append(row)
    groups: list[list[Row]] = []
    first, waste = 0, 0.0
    for start in sorted(by_start):
        more = (start - first) * len(by_start[start]) / 2
        if groups and waste + more <= merge:
            groups[-1] += by_start[start]
            waste += more
        else:
            groups.append(list(by_start[start]))
            first, waste = start, 0.0
    return groups


def within_budget(
    rows: list[Row], stops: Sequence[int], cfg: Config, budget: int, reader: Reader
) -> list[tuple[Row, ...]]:
    """One bucket in the order of entering, cut so that each group fits; the last groups walk the fewest layers."""
    rows = sorted(rows, key=lambda row: (row.join, row.pair, row.cell))
    stop = max(stops[row.pair] for row in rows)
    width = stop - min(row.start for row in rows)
    one = row_bytes(cfg, width, stop) + reader.bytes_per_place()
    most = max(1, min(budget // one, MOST_TOKENS // width))
    return [tuple(rows[i : i + most]) for i in range(0, len(rows), most)]


def row_bytes(cfg: Config, width: int, n_keys: int) -> int:
    """Working memory of one row in one layer: streams, queries to outputs, the MLP, scores, and the keys it reads."""
    per_token = 10 * cfg.d_model + 4 * cfg.n_heads * cfg.d_head + (4 if cfg.gated_mlp else 3) * cfg.d_mlp
    scores = 4 * cfg.n_heads * width * n_keys
    keys = 4 * cfg.n_kv_heads * cfg.d_head * n_keys
    return 4 * (per_token * width + scores + keys)
