"""Patching with activations that are at hand, such as those of a cache: the final streams of many cells at once.

What is read from the streams is not known here, so every position that a cell can change is computed.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.interventions.cells import Place
from lens.analysis.interventions.intervention import Intervention
from lens.analysis.interventions.pairs import Pairs
from lens.analysis.interventions.plan import BUDGET, MERGE, MOST_TOKENS, Row, buckets, row_bytes
from lens.analysis.interventions.recording import record
from lens.analysis.interventions.rows import Rows, cut_positions
from lens.analysis.interventions.sites import Site, activation_shape, find_site
from lens.analysis.interventions.walk import Setup, walk
from lens.batching import at_once
from lens.model import Transformer


class Stretch(NamedTuple):
    """What one cell changes: nothing before ``start``, which is the length of the prompt if it changes nothing."""

    start: int
    normed: Float[Tensor, "batch pos d_model"]  # the normalised final stream from ``start`` on


class CachePatches:
    """One run, and pieces of ``given`` (layer → activation of the site) put into it, cell by cell.

    Equal to one forward pass per cell. A cell whose piece is, bit by bit, what stands there anyway is not run.
    """

    def __init__(
        self, model: Transformer, tokens: Int[Tensor, "batch pos"], site: str, given: Mapping[int, Tensor]
    ) -> None:
        self.model, self.given = model, {layer: activation.to(model.device) for layer, activation in given.items()}
        self.n_batch, self.n_pos = tokens.shape
        wanted = activation_shape(find_site(site, model.cfg), model.cfg, *tokens.shape)
        for layer, activation in given.items():
            if activation.shape != wanted:
                raise ValueError(f"{site} of layer {layer}: got {list(activation.shape)}, wanted {list(wanted)}.")
        names = [find_site(site, model.cfg).hook_name(layer) for layer in given]
        streams = [f"blocks.{layer}.hook_resid_pre" for layer in range(min(given), model.cfg.n_layers)]
        base = record(model, Pairs.of(tokens, tokens), "corrupted", [*streams, *names])
        self.setup = Setup(model, Intervention(site), base, self._new)
        self.differs = {layer: self._differing(layer, self.setup.site) for layer in given}

    def _new(self, layer: int, name: str, old: Tensor, rows: Rows) -> Tensor:
        return cut_positions(self.given[layer][rows.pair], rows, name)

    def _differing(self, layer: int, site: Site) -> np.ndarray:
        """Whether the given activation differs in any prompt: [pos], [pos, head] or, of a pattern, [pos, head, key]."""
        differs = (self.setup.base.kept[site.hook_name(layer)] != self.given[layer]).any(0)
        if site.name == "pattern":
            return differs.movedim(1, 0).cpu().numpy()  # head query key -> query head key
        return differs.flatten(2 if "head" in site.axes else 1).any(-1).cpu().numpy()

    @property
    def base(self) -> Float[Tensor, "batch pos d_model"]:
        """The normalised final stream of the run as it is."""
        return self.model.ln_final(self.setup.base.final)

    def start(self, cell: Place) -> int:
        """The first position at which ``cell`` changes anything; the length of the prompt if nowhere."""
        differs = self.differs[cell.layer]
        if cell.key is not None:
            differs = differs[..., cell.key]
        if cell.head is not None:
            differs = differs[:, cell.head]
        where = differs.reshape(self.n_pos, -1).any(-1).nonzero()[0]
        if cell.pos is not None:
            where = where[where == cell.pos]
        return int(where[0]) if len(where) else self.n_pos

    def streams(self, cells: Sequence[Place]) -> list[Stretch]:
        """The stretch of each cell."""
        starts = [self.start(cell) for cell in cells]
        found = [Stretch(self.n_pos, self.setup.base.final[:, :0])] * len(cells)
        rows = [Row(start, cells[i].layer, 0, i) for i, start in enumerate(starts) if start < self.n_pos]
        for group in self._groups(rows):
            first = min(row.start for row in group)
            for row, normed in zip(group, self._walk([cells[row.cell] for row in group], first)):
                found[row.cell] = Stretch(row.start, normed[:, row.start - first :])
        return found

    def _groups(self, rows: list[Row]) -> list[list[Row]]:
        """Rows that are walked together: close in their first position, within the budget, early layers first."""
        groups = []
        for bucket in buckets(rows, MERGE // self.n_batch):
            bucket.sort(key=lambda row: (row.join, row.cell))
            width = self.n_pos - min(row.start for row in bucket)
            most = min(BUDGET // row_bytes(self.model.cfg, width, self.n_pos), MOST_TOKENS // width) // self.n_batch
            size = at_once(most)
            groups += [bucket[i : i + size] for i in range(0, len(bucket), size)]
        return groups

    def _walk(self, cells: Sequence[Place], start: int) -> Float[Tensor, "cell batch pos d_model"]:
        each = [cell for cell in cells for _ in range(self.n_batch)]
        pair = torch.arange(self.n_batch, device=self.model.device).repeat(len(cells))
        join = tuple(cell.layer for cell in each)
        rows = Rows(pair, tuple((cell,) for cell in each), join, start, self.n_pos, torch.arange(len(each)).to(pair))
        return self.model.ln_final(walk(self.setup, rows).final).unflatten(0, (len(cells), self.n_batch))
