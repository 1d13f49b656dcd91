"""Work whose figure fills: kept for all visitors when it is finished, computed at hand while it is not."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from lens.ui.calls import Sweep, analyse, is_kept, sweep
from lens.ui.store import to_numpy


class Cells(NamedTuple):
    """One function over many cells, so that whether it is kept is asked of the very calls that a sweep makes."""

    function: Callable[..., Any]
    cells: Sequence[Hashable]
    args: tuple[Any, ...]
    params: Mapping[str, Any] = {}

    def are_kept(self) -> bool:
        """Whether a sweep would only read what anyone computed: nothing has to stand in its place meanwhile."""
        return all(is_kept(self.function, cell, *self.args, **self.params) for cell in self.cells)

    def sweep(self, show: Callable[[dict], object] | None = None, estimate: float = 0.0) -> Sweep:
        """All cells; see ``lens.ui.calls.sweep``."""
        return sweep(self.function, self.cells, *self.args, show=show, estimate=estimate, **self.params)


def compute(function: Callable[..., Any], *args: Any, kept: bool) -> Any:
    """``function(*args)`` as numpy: ``kept`` for all visitors, or, of a figure that still fills, for this drawing."""
    return analyse(function, *args) if kept else to_numpy(function(*args))
