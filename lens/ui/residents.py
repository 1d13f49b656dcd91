"""Models kept in memory: least recently used out first, bounded by the bytes of their weights.

No Streamlit, and no torch before a model is there. A model that is dropped here stays in memory for as long as a page
or a job still holds it, and no longer. Processed views belong to their model: they count for what they do not share,
and go when it goes.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary


class Resident(NamedTuple):
    """A model in memory. ``n_bytes``: its weights, and what its processed views add to them."""

    key: str
    name: str
    n_bytes: int


class Holder:
    """The place of one model, filled by the loading queue under ``lock``, so that many visitors load it once."""

    def __init__(self, key: str, name: str) -> None:
        self.key, self.name = key, name
        self.model: Any = None
        self.lock = threading.Lock()


class Residents:
    """The models of the whole process, by key. ``budget`` in bytes; the newest model stays even if it is larger."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._holders: OrderedDict[str, Holder] = OrderedDict()
        self._views: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()
        self._sizes: WeakKeyDictionary[Any, tuple[int, int]] = WeakKeyDictionary()  # (how many views, bytes)
        self._lock = threading.RLock()
        self._deriving = threading.Lock()

    def holder(self, key: str, name: str) -> Holder:
        """The place of ``key``, now the most recently used; empty if the model was never loaded or was dropped."""
        with self._lock:
            holder = self._holders.setdefault(key, Holder(key, name))
            self._holders.move_to_end(key)
            return holder

    def fill(self, holder: Holder, model: Any) -> None:
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

    def view(self, function: Callable[[Any], Any], model: Any) -> Any:
        """``function(model)``, a processed model, made once; it lives as long as ``model`` does."""
        name = f"{function.__module__}.{function.__qualname__}"
        with self._deriving:
            known = self._views.get(model, {})
            view = known[name] if name in known else function(model)
            if view is not model:  # a model that needs no processing is no view of itself
                self._views.setdefault(model, {})[name] = view
        self.make_room(0)
        return view

    def resident(self) -> list[Resident]:
        """What is in memory, most recently used first."""
        with self._lock:
            held = [holder for holder in reversed(self._holders.values()) if holder.model is not None]
            return [Resident(one.key, one.name, self._size(one.model)) for one in held]

    @property
    def total(self) -> int:
        """Bytes of all models and their views."""
        return sum(one.n_bytes for one in self.resident())

    def _size(self, model: Any) -> int:
        """Bytes of a model and its views. Remembered: a state dict is long, and every view of a page draws the bar."""
        models = self._with_views(model)
        n_views, n_bytes = self._sizes.get(model, (0, 0))
        if n_views != len(models):
            n_bytes = weight_bytes(models)
            self._sizes[model] = (len(models), n_bytes)
        return n_bytes

    def _with_views(self, model: Any) -> list[Any]:
        views = list(self._views.get(model, {}).values())
        return [model, *(one for view in views for one in self._with_views(view))]


def weight_bytes(models: Iterable[Any]) -> int:
    """Bytes of the memory that the weights of some models lie in; what they share counts once."""
    tensors = (tensor for model in models for tensor in model.state_dict().values())
    places = {(tensor.device, tensor.data_ptr()): tensor.nbytes for tensor in tensors}
    return sum(places.values())
