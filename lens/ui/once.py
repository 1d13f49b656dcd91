"""A property that is computed at its first reading, without a lock."""

from collections.abc import Callable
from typing import Any


class once:
    """As ``functools.cached_property``, whose lock Python 3.11 holds for all instances while one is computed.

    What a page computes lets other pages draw meanwhile: one of them would wait for the lock, and the first for it.
    """

    def __init__(self, compute: Callable[[Any], Any]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._compute(instance)  # found there from now on
        return value
