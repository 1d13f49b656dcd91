"""Models kept in memory: least recently used out first, bounded by the bytes of their weights.

No Streamlit, and no torch before a model is there. A model that is dropped here stays in memory for as long as a page
or a job still holds it, and no longer.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from lens.hooked import HookedTransformer


class Resident(NamedTuple):
    """A model in memory. ``n_bytes``: its weights."""

    key: str
    name: str
    n_bytes: int


class Holder:
    """The place of one model, filled by the loading queue under ``lock``, so that many visitors load it once."""

    def __init__(self, key: str, name: str) -> None:
        self.key, self.name = key, name
        self.model: HookedTransformer | None = None
        self.lock = threading.Lock()


class Residents:
    """The models of the whole process, by key. ``budget`` in bytes; the newest model stays even if it is larger."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._holders: OrderedDict[str, Holder] = OrderedDict()
        self._sizes: WeakKeyDictionary[HookedTransformer, int] = WeakKeyDictionary()
        self._lock = threading.RLock()

    def holder(self, key: str, name: str) -> Holder:
        """The place of ``key``, now the most recently used; empty if the model was never loaded or was dropped."""
        with self._lock:
            holder = self._holders.setdefault(key, Holder(key, name))
            self._holders.move_to_end(key)
            return holder

    def fill(self, holder: Holder, model: HookedTransformer) -> None:
        """Put a model in its place, and drop the least recently used ones beyond the budget."""
        with self._lock:
            holder.model = model
            self._holders[holder.key] = holder  # it may have been dropped while it was loaded
            self._holders.move_to_end(holder.key)
            self.make_room(0)

    def make_room(self, n_bytes: int) -> None:
        """Drop models until ``n_bytes`` more fit, or only the most recently used one is left."""
        with self._lock:
            loaded = [holder.key for holder in self._holders.values() if holder.model is not None]
            for key in loaded[:-1]:
                if self.total + n_bytes <= self.budget:
                    return
                del self._holders[key]

    def drop(self, key: str) -> None:
        """Keep the model of ``key`` no longer; nothing happens if it is gone already."""
        with self._lock:
            self._holders.pop(key, None)

    def resident(self) -> list[Resident]:
        """What is in memory, most recently used first."""
        with self._lock:
            held = [holder for holder in reversed(self._holders.values()) if holder.model is not None]
            return [Resident(holder.key, holder.name, self._size(holder.model)) for holder in held]

    @property
    def total(self) -> int:
        """Bytes of all models."""
        return sum(model.n_bytes for model in self.resident())

    def _size(self, model: HookedTransformer) -> int:
        """Remembered: a state dict is long, and every view of a page draws the bar."""
        if model not in self._sizes:
            self._sizes[model] = weight_bytes(model)
        return self._sizes[model]


def weight_bytes(model: HookedTransformer) -> int:
    """Bytes of the memory that the weights of a model lie in; what two of them share counts once."""
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in model.state_dict().values()}.values())
