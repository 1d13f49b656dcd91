"""What was prepared for a model last, so that the parts of one sweep can be asked for one by one, also by turns with
those of another."""

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from lens.model import Transformer

KEEP_BYTES = 400_000_000  # of recorded runs that stay ready for the next part of the same sweep
KEPT = 4  # sweeps of one model whose parts may come by turns
T = TypeVar("T")


class LastPrepared(Generic[T]):
    """The last values of each model. Values must hold no model, so that they do not keep one alive."""

    def __init__(self) -> None:
        self._values: WeakKeyDictionary[Transformer, dict[Hashable, T]] = WeakKeyDictionary()
        self._lock = Lock()

    def get(self, model: Transformer, key: Hashable, make: Callable[[], T], n_bytes: Callable[[T], int]) -> T:
        """The value of ``key`` for these very weights, made if it is none of the last."""
        value = self.last(model, key)
        if value is None:
            value = make()
            if n_bytes(value) < KEEP_BYTES:
                with self._lock:
                    kept = self._values.get(model, {}) | {_with_weights(model, key): value}
                    while len(kept) > KEPT or sum(map(n_bytes, kept.values())) > KEEP_BYTES:
                        del kept[next(iter(kept))]
                    self._values[model] = kept
        return value

    def last(self, model: Transformer, key: Hashable) -> T | None:
        """The value of ``key`` for these very weights if it is one of the last, else None."""
        with self._lock:
            return self._values.get(model, {}).get(_with_weights(model, key))


def _with_weights(model: Transformer, key: Hashable) -> Hashable:
    return key, tuple((p.data_ptr(), p._version) for p in model.parameters())
