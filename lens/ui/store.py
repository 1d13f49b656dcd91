"""Results kept in memory: numpy only, least recently used out first, bounded by number and by bytes."""

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lens.figures.recent import Recent


class Entry(NamedTuple):
    """A finished result and what it cost."""

    value: Any
    seconds: float
    size: int  # bytes of its arrays


class Store:
    """A bounded mapping from string keys to results. Arrays are handed out read-only and are not copied.

    Streamlit's own ``cache_data`` copies each result at each rerun (25 ms for 16 MB) and samples big arguments.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._entries: Recent[str, Entry] = Recent(most, most_bytes, lambda entry: entry.size)

    def get(self, key: str) -> Entry | None:
        """The entry of ``key``, now the most recently used, or None."""
        return self._entries.get(key)

    def put(self, key: str, value: Any, seconds: float) -> Entry:
        """Keep ``value``; throws out the oldest results beyond the bounds, never the newest."""
        return self._entries.put(key, Entry(value, seconds, nbytes(value)))

    def __len__(self) -> int:
        return len(self._entries)


def to_numpy(value: Any) -> Any:
    """``value`` with every torch tensor inside it as a read-only numpy array; containers keep their types.

    Goes through NamedTuples, dataclasses, dictionaries, lists and tuples. bfloat16 and float16 become float32.
    """
    import torch  # results are kept by pages that import no torch

    def read_only(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            leaf = leaf.detach().cpu()
            leaf = leaf.float() if leaf.dtype in (torch.bfloat16, torch.float16) else leaf
            leaf = leaf.resolve_conj().resolve_neg().numpy()
        return _frozen(leaf) if isinstance(leaf, np.ndarray) else leaf

    return _each(value, read_only)


def to_torch(value: Any) -> Any:
    """The way back, for results that go into another analysis: arrays inside ``value`` as tensors of their own."""
    from lens.arrays import as_tensor  # see to_numpy

    return _each(value, lambda leaf: as_tensor(leaf) if isinstance(leaf, np.ndarray) else leaf)


def nbytes(value: Any) -> int:
    """Bytes of all arrays inside a result, strings and numbers not counted."""
    arrays: list[np.ndarray] = []
    _each(value, lambda leaf: arrays.append(leaf) or leaf if isinstance(leaf, np.ndarray) else leaf)
    return sum(array.nbytes for array in arrays)


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    """``value`` with every leaf changed; containers keep their types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.init]
        return dataclasses.replace(value, **{name: _each(getattr(value, name), change) for name in fields})
    if isinstance(value, dict):
        return {key: _each(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_each(item, change) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return change(value)


def array_key(array: np.ndarray) -> str:
    """A key that differs whenever one element does (Streamlit's own hash samples arrays of 500,000 and more)."""
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:24]
    return f"{array.dtype}{list(array.shape)}:{digest}"


def _frozen(array: np.ndarray) -> np.ndarray:
    array = array if array.base is None and array.flags.owndata else array.copy()
    array.flags.writeable = False
    return array
