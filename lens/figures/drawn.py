"""Figures that are finished: drawn once for equal arguments, kept for all visitors, and no longer changed."""

import copyreg
import hashlib
import io
import pickle
from collections import ChainMap
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import plotly.graph_objects as go

from lens.figures.recent import Recent
from lens.figures.wire import Spec, encode, short_form

KEPT = 256  # figures; one is rarely more than 100 kB
BYTES = 64_000_000  # of what is sent of them, together
Draw = TypeVar("Draw", bound=Callable[..., go.Figure])


class Drawn(go.Figure):
    """A finished figure. Many visitors share it, so nothing of it can be changed: draw on ``copy_of(figure)``."""

    _key: bytes
    _wire: Spec
    _size: int  # bytes of its strings and arrays

    @property
    def digest(self) -> str:
        """Names all that it was drawn from."""
        return self._key.hex()

    def to_dict(self) -> Spec:
        """What is sent to a browser, made once: the figure in as few bytes as show the same (``lens.figures.wire``)."""
        return self._wire

    def _refuse(self, *_: Any, **__: Any) -> None:
        raise TypeError("this figure is finished and shared by all who see it; draw on a copy: copy_of(figure)")

    add_traces = add_trace = update_layout = _restyle_child = _relayout_child = _refuse


def copy_of(figure: go.Figure) -> go.Figure:
    """A figure like this one, to draw on.

    Not ``go.Figure(figure)``: that takes the type off each trace of the given figure for a moment and puts it back, so
    that of two threads which copy one figure, one finds a trace without a type.
    """
    frames = [frame.to_plotly_json() for frame in figure.frames]
    return go.Figure([trace.to_plotly_json() for trace in figure.data], figure.layout, frames)


def with_meta(figure: Drawn, meta: dict[str, Any]) -> Drawn:
    """The same figure with ``layout.meta``, which is not drawn."""
    other = Drawn.__new__(Drawn)
    other.__dict__.update(figure.__dict__)
    other.__dict__["_wire"] = figure.to_dict() | {"layout": figure.to_dict()["layout"] | {"meta": meta}}
    return other


def drawn_as(send: Callable[[go.Figure], Spec]) -> Callable[[Draw], Draw]:
    """``drawn``, sent in a form of its own: ``send(figure)`` shows the same as the figure."""

    def decorate(make: Draw) -> Draw:
        @wraps(make)
        def figure(*args: Any, **params: Any) -> Drawn:
            key = _key((make.__module__, make.__qualname__, args, params))
            known = _KEPT.get(key)
            return known if known is not None else _KEPT.put(key, _finish(make(*args, **params), key, send))

        return figure

    return decorate


def drawn(make: Draw) -> Draw:
    """A function that draws a figure from arrays, labels and finished figures, and that runs once for equal ones."""
    return drawn_as(short_form)(make)


_KEPT: Recent[bytes, Drawn] = Recent(KEPT, BYTES, lambda figure: figure._size)


class _Pickler(pickle.Pickler):
    """A finished figure among the arguments stands for the arguments that it was drawn from."""

    dispatch_table = ChainMap({Drawn: lambda figure: (bytes, (figure._key,))}, copyreg.dispatch_table)


def _key(arguments: tuple[Any, ...]) -> bytes:
    """A digest that differs whenever one number or one character of the arguments does."""
    written = io.BytesIO()
    _Pickler(written, protocol=5).dump(arguments)
    return hashlib.blake2b(written.getbuffer(), digest_size=16).digest()


def _finish(figure: go.Figure, key: bytes, send: Callable[[go.Figure], Spec]) -> Drawn:
    if isinstance(figure, Drawn):
        return figure
    sent = encode(send(figure))
    figure.__class__ = Drawn
    figure.__dict__.update(_key=key, _wire=sent, _size=_size(sent))
    return figure


def _size(value: Any) -> int:
    """About how many bytes a part of what is sent takes."""
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(_size, value))
    return len(value) if isinstance(value, str) else 8
