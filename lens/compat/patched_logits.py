"""Logits of many patched runs, unembedded where and when a metric reads them.

A metric gets a tensor [batch, pos, d_vocab], and mostly reads one position of it. The unembedding is a third of a small
model, so only what is read is computed, for many runs at once: the next run is likely to be read at the same place.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._pytree import tree_map_only

from lens.analysis.interventions.cache_patching import CachePatches, Stretch
from lens.analysis.interventions.cells import Place
from lens.analysis.interventions.plan import BUDGET

Positions = Iterable[int]
ABOUT = {  # what can be asked of a tensor without reading it
    *(getattr(Tensor, name).__get__ for name in ("shape", "dtype", "device", "ndim", "requires_grad", "layout")),
    *(getattr(Tensor, name) for name in ("size", "dim", "__len__", "numel", "nelement", "is_floating_point")),
}


class CellLogits(Tensor):
    """Logits that are filled in when they are read: an ordinary tensor for whatever is done with it.

    ``logits[:, -1]``, ``logits[rows, places]`` and the like fill these positions, everything else fills all. What comes
    out is a plain tensor.
    """

    missing: set[int]
    fill: Callable[[Tensor, list[int]], None]

    @staticmethod
    def of(memory: Float[Tensor, "batch pos d_vocab"], fill: Callable[[Tensor, list[int]], None]) -> "CellLogits":
        """``memory``, whose positions ``fill(memory, positions)`` writes when they are needed."""
        made = memory.as_subclass(CellLogits)
        made.missing, made.fill = set(range(memory.shape[1])), fill
        return made

    def read(self, positions: Positions) -> Tensor:
        """The plain tensor, right at these positions."""
        memory, missing = self.as_subclass(Tensor), sorted(self.missing.intersection(positions))
        if missing:
            self.missing.difference_update(missing)
            self.fill(memory, missing)
        return memory

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            if func in ABOUT:
                return func(*args, **(kwargs or {}))
            if func == Tensor.__getitem__ and isinstance(args[0], CellLogits):
                return func(args[0].read(positions_of(args[1], args[0].shape)), args[1])
            args, kwargs = tree_map_only(CellLogits, lambda x: x.read(range(x.shape[1])), (args, kwargs or {}))
            return func(*args, **kwargs)


def positions_of(index: Any, shape: torch.Size) -> Positions:
    """The positions that ``logits[index]`` reads, of logits [batch, pos, d_vocab]; all where that is not plain."""
    parts = index if isinstance(index, tuple) else (index,)
    if not all(_takes_one_axis(part) or part is ... for part in parts):
        return range(shape[1])
    gap = next((i for i, part in enumerate(parts) if part is ...), len(parts))
    before, after = parts[:gap], parts[gap + 1 :]
    if len(before) > 1:
        at = before[1]
    elif len(after) > 1:
        at = after[-2]
    else:
        return range(shape[1])
    whole = torch.arange(shape[1])
    return whole[at.cpu() if isinstance(at, Tensor) else at].reshape(-1).tolist()


def _takes_one_axis(part: Any) -> bool:
    if isinstance(part, Tensor):
        return part.dtype in (torch.int64, torch.int32)
    if isinstance(part, list):
        return all(type(at) is int for at in part)
    return isinstance(part, int | slice | range) and not isinstance(part, bool)


def patched_logits(patches: CachePatches, cells: Sequence[Place]) -> Iterator[Float[Tensor, "batch pos d_vocab"]]:
    """The logits of the run with each of ``cells`` in it, in their order."""
    model, base = patches.model, cache(lambda: patches.model.unembed(patches.base))
    at_once = max(1, BUDGET // (4 * patches.n_batch * patches.n_pos * model.cfg.d_model))
    for start in range(0, len(cells), at_once):
        some = Unembedded(model.unembed, patches.streams(cells[start : start + at_once]), base)
        for cell in range(len(some.stretches)):
            yield some.logits(cell)


class Unembedded:
    """The logits of runs whose final streams are known; ``base()`` are those where a run changes nothing."""

    def __init__(self, unembed: Callable[[Tensor], Tensor], stretches: list[Stretch], base: Callable[[], Tensor]):
        self.unembed, self.stretches, self.base = unembed, stretches, base
        self.ready: dict[
            tuple[int, int], Float[Tensor, "batch d_vocab"]
        ] = {}  # of (cell, position), until they are read

    def logits(self, cell: int) -> CellLogits:
        """The logits of one cell."""
        self.ready = {key: value for key, value in self.ready.items() if key[0] >= cell}
        return CellLogits.of(torch.empty_like(self.base()), partial(self._fill, cell))

    def _fill(self, cell: int, memory: Float[Tensor, "batch pos d_vocab"], positions: list[int]) -> None:
        start = self.stretches[cell].start
        wanted = [pos for pos in positions if pos >= start]
        if any((cell, pos) not in self.ready for pos in wanted):
            self._unembed(cell, wanted, memory)
        for pos in positions:
            memory[:, pos] = self.ready[cell, pos] if pos >= start else self.base()[:, pos]

    def _unembed(self, cell: int, positions: list[int], memory: Tensor) -> None:
        """These positions of ``cell`` and of as many cells after it as the budget allows."""
        at_once = max(1, BUDGET // (4 * memory.numel()))
        cells = range(cell, min(cell + at_once, len(self.stretches)))
        keys = [(i, pos) for i in cells for pos in positions if pos >= self.stretches[i].start]
        rows = [self.stretches[i].normed[:, pos - self.stretches[i].start] for i, pos in keys]
        self.ready |= zip(keys, self.unembed(torch.stack(rows)))
