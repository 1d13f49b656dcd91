"""How many rows are computed at once, and what happens when the memory for them is not there.

Every loop over batches asks ``at_once``, so half of it can be asked for in one place.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import torch

T = TypeVar("T")
_parts: ContextVar[int] = ContextVar("lens_batch_parts", default=1)

# What torch says where it has no error of its own for it: on the processor, and on Apple's MPS.
NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
TOO_LARGE = (
    "There is not enough memory for this computation, even in batches half as large. Try a shorter prompt, fewer "
    "sequences or pairs, or a smaller model."
)


class OutOfMemory(ValueError):
    """What was asked for does not fit into memory."""


def at_once(most: int) -> int:
    """How many rows are computed together where ``most`` fit the budget: at least one; half inside ``halved``."""
    return max(1, most // _parts.get())


def n_parts() -> int:
    """Into how many parts a batch that was planned before is cut: 1, or 2 inside ``halved``."""
    return _parts.get()


@contextmanager
def halved() -> Iterator[None]:
    """Half as much at once inside this block, in this thread."""
    before = _parts.set(2)
    try:
        yield
    finally:
        _parts.reset(before)


def in_memory(compute: Callable[[], T]) -> T:
    """``compute()``; where memory runs out, once more with half as much at once. OutOfMemory if that fails as well.

    The second run starts from nothing, so its result is that of smaller batches: equal but for rounding.
    """
    try:
        return compute()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    release()  # outside the handler, which still held what the first run had computed
    with halved(), said_when_full(TOO_LARGE):
        return compute()


@contextmanager
def said_when_full(sentence: str) -> Iterator[None]:
    """OutOfMemory with ``sentence`` where memory runs out in this block."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(sentence) from error.with_traceback(None)  # whose frames hold what was computed so far


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch, NumPy or Python says that memory could not be had."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in NO_MEMORY)


def release() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
