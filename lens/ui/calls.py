"""Cached analyses: pages call ``analyse`` and ``sweep`` and get numpy back. Streamlit's caches are used here and in
``lens.ui.models`` only, because pages with equal source text would share one cache.

A result is keyed by the analysis' own name and by *all* its arguments, so that a key cannot forget one.
"""

import dataclasses
import hashlib
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import streamlit as st

from lens.ui.badge import note_time
from lens.ui.ending import end_page
from lens.ui.estimate import Costs, Kind, n_weights
from lens.ui.limits import limits
from lens.ui.once import once
from lens.ui.progress_words import words_of
from lens.ui.queue import Job, Queue
from lens.ui.store import Entry, Store, array_key, to_numpy
from lens.ui.threads import LARGE, n_cores, threads_for
from lens.ui.turns import DRAWING
from lens.ui.waiting import AGREED, CANCELLED, Bar, offer, remembered, wait

PLAIN = frozenset({type(None), bool, int, float, complex, str})
REDRAW = 0.7  # seconds between two drawings of a figure that fills, at least
DRAWING_SHARE = 0.1  # of the time, at most, goes into drawing one that fills: many visitors draw it on the same cores
LIGHT = 0.5  # seconds, at most, of work that goes before heavy work


@st.cache_resource(show_spinner=False)
def compute_queue() -> Queue:
    """The line of the whole process for analyses."""
    return Queue("compute", n_cores())


@st.cache_resource(show_spinner=False)
def result_store() -> Store:
    """The results of the whole process."""
    return Store(limits().results_kept, limits().results_bytes)


@st.cache_resource(show_spinner=False)
def costs() -> Costs:
    """What computations took in this process."""
    return Costs()


class Sweep(NamedTuple):
    """Results of one function over many cells; ``missing`` cells wait for a click (cancelled, or long work)."""

    done: dict[Any, Any]
    missing: tuple[Any, ...]


def analyse(function: Callable[..., Any], *args: Any, progress: bool = False, **params: Any) -> Any:
    """``function(*args, **params)`` with its tensors as read-only numpy arrays; computed once for all visitors.

    Waits in the fair queue, shows progress and a Cancel button; after a cancel it says so and stops the page. With
    ``progress`` the function also gets ``progress=report``, where ``report(fraction, stage)`` may raise to stop it.
    """
    key = call_key(function, args, params)
    entry = result_store().get(key)
    if entry is not None:
        note_time(entry.seconds, cached=True)
        return entry.value
    if key in remembered(CANCELLED):
        offer(key, f"Cancelled: *{words_of(function)}*: not computed.", "Compute")
        end_page()
    slot, call = st.empty(), Call(key, function, args, params, progress)
    entry = _compute(call, Bar(slot, key, words_of(function)), call.expected(0.0))
    slot.empty()
    note_time(entry.seconds, cached=False)
    return entry.value


def is_kept(function: Callable[..., Any], *args: Any, **params: Any) -> bool:
    """Whether ``analyse`` with the same arguments, or a cell of a ``sweep``, would only read what anyone computed."""
    return result_store().get(call_key(function, args, params)) is not None


def sweep(
    function: Callable[..., Any],
    cells: Sequence[Hashable],
    *args: Any,
    show: Callable[[dict], Any] | None = None,
    estimate: float = 0.0,
    **params: Any,
) -> Sweep:
    """``function(cell, *args, **params)`` for every cell, each cached on its own, so that cancelling loses nothing.

    ``show(done)`` redraws the figure while it fills (draw it into an ``st.empty()``, without a key). ``estimate`` is
    seconds for all cells: long work first waits for a click. Other visitors' work comes in between the cells.
    """
    keys = {cell: call_key(function, (cell, *args), params) for cell in cells}
    found = {cell: entry for cell in cells if (entry := result_store().get(keys[cell])) is not None}
    seconds, done = sum(entry.seconds for entry in found.values()), {cell: found[cell].value for cell in found}
    missing = [cell for cell in cells if cell not in done]
    whole = _short("".join(keys.values()))
    if not missing or not _may_start(whole, estimate * len(missing) / len(keys), len(missing), len(keys)):
        note_time(seconds, cached=True)
        return Sweep(done, tuple(missing))
    slot, draw_at = st.empty(), 0.0  # the first result is shown at once
    bar = Bar(slot, whole, words_of(function, len(keys)))
    with DRAWING.let_others():
        for number, cell in enumerate(missing):
            bar.part = (len(done) / len(keys), 1 / len(keys))
            call = Call(keys[cell], function, (cell, *args), params)
            entry = _compute(call, bar, call.expected(estimate / len(keys)) * (len(missing) - number))
            seconds, done[cell] = seconds + entry.seconds, entry.value
            if show is not None and time.perf_counter() > draw_at:
                with DRAWING.turn():
                    start = time.perf_counter()
                    show({cell: done[cell] for cell in cells if cell in done})
                    end = time.perf_counter()
                draw_at = end + max(REDRAW, (end - start) / DRAWING_SHARE)
    slot.empty()
    note_time(seconds, cached=False)
    return Sweep({cell: done[cell] for cell in cells}, ())


def call_key(function: Callable[..., Any], args: Sequence[Any], params: dict[str, Any]) -> str:
    """A string that names one computation completely; TypeError for functions or arguments without a stable name."""
    name = f"{function.__module__}.{function.__qualname__}"
    if "<" in name:
        raise TypeError(f"analyse needs a function with a name of its own, got {name}; write it in lens.analysis")
    parts = [key_part(arg) for arg in args] + [f"{param}={key_part(params[param])}" for param in sorted(params)]
    return f"{function.__name__}-{_short(name + '(' + ', '.join(parts) + ')')}"


def key_part(value: Any) -> str:
    """The exact text of one argument inside a key."""
    import torch

    from lens.ui.models import model_key

    if value is None or isinstance(value, (bool, int, float, complex, str, np.generic, slice, torch.dtype)):
        return repr(value)
    if isinstance(value, torch.nn.Module):
        return model_key(value)
    if isinstance(value, torch.Tensor):
        return array_key(to_numpy(value))
    if isinstance(value, np.ndarray):
        return array_key(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key_part(name)}: {key_part(item)}" for name, item in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        if PLAIN.issuperset(map(type, value)):  # the tokens of a hundred prompts: most of the time of a cached view
            return "(" + ", ".join(map(repr, value)) + ")"
        return "(" + ", ".join(map(key_part, value)) + ")"
    if dataclasses.is_dataclass(value):
        inside = [f"{field.name}={key_part(getattr(value, field.name))}" for field in dataclasses.fields(value)]
        return f"{type(value).__qualname__}({', '.join(inside)})"
    raise TypeError(f"an argument of type {type(value).__name__} has no stable key; pass numbers, text or tensors")


@dataclasses.dataclass(frozen=True)
class Call:
    """One computation that is not in the store: what the queue runs under ``key``."""

    key: str
    function: Callable[..., Any]
    args: Sequence[Any]
    params: dict[str, Any]
    progress: bool = False

    @once
    def n_weights(self) -> int:
        """Of the models it is given."""
        return n_weights((*self.args, *self.params.values()))

    @property
    def kind(self) -> Kind:
        """What it has in common with those that take about as long."""
        return Kind(f"{self.function.__module__}.{self.function.__qualname__}", self.n_weights.bit_length())

    def expected(self, estimate: float) -> float:
        """Seconds it will take: as measured in earlier runs, else the page's ``estimate``.

        Where there is neither (0), what is done with a small model is taken to be light: nearly all of it is, and a
        first run that was not is remembered.
        """
        return costs().expected(self.kind, estimate or (np.inf if self.n_weights >= LARGE else 0.0))

    def __call__(self, job: Job) -> Entry:
        entry = result_store().get(self.key)
        if entry is None:
            from lens.batching import in_memory  # torch is here by now; what only reads results needs none

            start, busy = time.perf_counter(), time.thread_time()
            extra = {"progress": job.report} if self.progress else {}
            with threads_for(self.n_weights):
                value = in_memory(lambda: to_numpy(self.function(*self.args, **self.params, **extra)))
            entry = result_store().put(self.key, value, time.perf_counter() - start)
            costs().note(self.kind, time.thread_time() - busy)
        return entry


def _compute(call: Call, bar: Bar, seconds: float) -> Entry:
    """The result of a call that is the next part of ``seconds`` of work."""
    while True:  # again only if another visitor cancelled the job in the moment we joined it
        known = seconds if np.isfinite(seconds) else 0.0
        how = {"light": seconds <= LIGHT, "wide": call.n_weights >= LARGE, "seconds": known}
        job = compute_queue().submit(call.key, call, **how)
        wait(compute_queue(), job, bar)
        if job.error is not None:
            raise job.error
        if not job.cancelled:
            return job.result


def _may_start(whole: str, seconds: float, missing: int, cells: int) -> bool:
    if whole in remembered(CANCELLED):
        offer(whole, f"Cancelled: {cells - missing} of {cells} parts are computed and kept.", "Continue")
        return False
    if seconds > limits().ask_before and whole not in remembered(AGREED):
        offer(whole, f"{missing} of {cells} parts are not computed yet.", f"Compute, about {seconds:.0f} s")
        return False
    return True


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
