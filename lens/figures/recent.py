"""What was used last, kept for all who ask: least recently used out first."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

Key, Value = TypeVar("Key", bound=Hashable), TypeVar("Value")


class Recent(Generic[Key, Value]):
    """A mapping bounded by the number of its values and by their sizes together; the newest stays however large."""

    def __init__(self, most: int, most_bytes: int, size: Callable[[Value], int]) -> None:
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._most, self._most_bytes, self._size = most, most_bytes, size
        self._total = 0  # bytes of all values
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """The value of ``key``, now the most recently used, or None."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Key, value: Value) -> Value:
        """Keep ``value``, and throw out the oldest beyond the bounds."""
        with self._lock:
            before = self._values.pop(key, None)
            self._values[key] = value
            self._total += self._size(value) - (0 if before is None else self._size(before))
            while len(self._values) > 1 and (len(self._values) > self._most or self._total > self._most_bytes):
                self._total -= self._size(self._values.popitem(last=False)[1])
        return value

    def __iter__(self) -> Iterator[Key]:
        with self._lock:
            return iter(list(self._values))

    def __len__(self) -> int:
        return len(self._values)
