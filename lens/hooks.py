"""Hook points and scoped hooks, for any ``nn.Module``.

A hook lives in a scope of the current context (a thread, a task), so one model serves many people at once: a scope
ends with its block, an exception ends it too, and another thread never sees it. Only ``add_hook`` stays, in its thread,
until ``reset_hooks`` or as long as its model lives. Hooks do not travel: a copy of a model, or a pickled one, has none.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

HookFunction = Callable[..., Tensor | None]
NamesFilter = None | str | Sequence[str] | Callable[[str], bool]
HookSpec = tuple[NamesFilter, HookFunction]


class Stay(NamedTuple):
    """A hook that outlives its block: ``permanent`` and ``level`` say which calls of ``reset_hooks`` end it."""

    permanent: bool = False
    level: int | None = None


UNTIL_RESET = Stay()


class Scope(NamedTuple):
    """The hooks of one ``with`` block, or of one point's ``add_hook``: ``stay`` says what ends those."""

    fwd: Mapping["HookPoint", list[HookFunction]]
    bwd: Mapping["HookPoint", list[HookFunction]]
    stay: Stay | None = None


_scopes: ContextVar[tuple[Scope, ...]] = ContextVar("lens_scopes", default=())


class _OfThread(threading.local):
    """Hooks that stay at one point, and what hooks noted there.

    Of the thread: a notebook may run each cell in a context of its own. Held by the point alone, so that they end with
    it, also where they refer to its model: a table outside the model would keep both alive.
    """

    def __init__(self) -> None:
        self.kept: tuple[Scope, ...] = ()
        self.notes: dict = {}


class HookPoint(nn.Module):
    """Identity, unless a hook for this point is active in the current context.

    ``on_request`` marks a point that its module computes only when it is hooked by name.
    """

    def __init__(self, on_request: bool = False):
        super().__init__()
        self.name: str | None = None
        self.on_request = on_request
        self.of_thread = _OfThread()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "of_thread"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.of_thread = _OfThread()

    def forward(self, x: Tensor) -> Tensor:
        for scope in self.of_thread.kept + _scopes.get():  # self.scopes, without the call: points are many
            for hook in scope.fwd.get(self, ()):
                x = hook(x, self)
            if self in scope.bwd:
                x = _watch_gradient(x, scope.bwd[self], self)
        return x

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """What may hold a hook for this point: the hooks that stay here, then all blocks of the current context."""
        return self.of_thread.kept + _scopes.get()

    @property
    def active(self) -> bool:
        """Whether a hook of the current context waits at this point."""
        return any(self in scope.fwd or self in scope.bwd for scope in self.scopes)

    @property
    def ctx(self) -> dict:
        """Scratch space for hooks at this point, seen by this thread only; ``reset_hooks`` clears it."""
        return self.of_thread.notes

    def layer(self) -> int:
        """Zero-based layer of a point named ``blocks.{layer}.…``."""
        parts = (self.name or "").split(".")
        if len(parts) < 2 or not parts[1].isdigit():
            raise ValueError(f"Hook point {self.name!r} belongs to no layer; only names like 'blocks.3.…' do.")
        return int(parts[1])


def _describe(hook: HookFunction) -> str:
    return repr(getattr(hook, "__name__", hook))


def _writing(hook: HookFunction) -> HookFunction:
    """``hook`` on a copy of its own: editing in place and returning a value both count."""

    def run(x: Tensor, point: HookPoint) -> Tensor:
        own = x.clone()
        out = hook(own, hook=point)
        return own if out is None else _checked(out, x, hook, point)

    return run


def _reading(hook: HookFunction) -> HookFunction:
    """``hook`` on the activation itself, which it must not write into; its return value is dropped."""

    def run(x: Tensor, point: HookPoint) -> Tensor:
        hook(x, hook=point)
        return x

    return run


def _watch_gradient(x: Tensor, hooks: Iterable[HookFunction], point: HookPoint) -> Tensor:
    if not x.requires_grad:
        raise ValueError(
            f"Backward hook on {point.name}: no gradient flows here. Run it with gradients enabled "
            "(not under torch.no_grad) and with weights or inputs that require them."
        )
    x = x.view_as(x)  # a node of its own: only the gradient that comes back through this point
    for hook in hooks:
        x.register_hook(_gradient(hook, point))
    return x


def _gradient(hook: HookFunction, point: HookPoint) -> Callable[[Tensor], Tensor | None]:
    def run(grad: Tensor) -> Tensor | None:
        out = hook(grad.clone(), hook=point)
        if isinstance(out, tuple):  # the classic form: (gradient,)
            (out,) = out
        return None if out is None else _checked(out, grad, hook, point)

    return run


def _checked(out: Any, x: Tensor, hook: HookFunction, point: HookPoint) -> Tensor:
    if not isinstance(out, Tensor):
        raise ValueError(f"Hook {_describe(hook)} on {point.name} returned {type(out).__name__}, not a tensor or None.")
    if out.shape != x.shape:
        raise ValueError(
            f"Hook {_describe(hook)} on {point.name} returned shape {list(out.shape)}; "
            f"the activation has shape {list(x.shape)}. Return that shape, or None to keep your in-place edits."
        )
    return out


def hook_points(module: nn.Module) -> dict[str, HookPoint]:
    """Every hook point of ``module`` under its dotted name, which it also remembers as ``point.name``."""
    points = {name: point for name, point in module.named_modules() if isinstance(point, HookPoint)}
    for name, point in points.items():
        point.name = name
    return points


def select(points: Mapping[str, HookPoint], names: NamesFilter) -> list[HookPoint]:
    """The points that ``names`` means: a name, several, a predicate on names, or None for all that are always computed.

    KeyError, with the closest names, for a name that does not exist.
    """
    if names is None:
        return [point for point in points.values() if not point.on_request]
    if callable(names):
        return [point for name, point in points.items() if names(name)]
    wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if name not in points:
            close = get_close_matches(name, points, n=4, cutoff=0.5)
            hint = f"Closest: {', '.join(close)}." if close else f"This model has {len(points)} points; see hook_dict."
            raise KeyError(f"No hook point is called {name!r}. {hint}")
    return [points[name] for name in wanted]


def _by_point(
    points: Mapping[str, HookPoint], specs: Iterable[HookSpec], wrap: Callable[[HookFunction], HookFunction] | None
) -> dict[HookPoint, list[HookFunction]]:
    chosen: dict[HookPoint, list[HookFunction]] = {}
    for names, function in specs:
        selected = select(points, names)
        if not selected:
            raise ValueError(f"Hook {_describe(function)}: its name filter matches none of {len(points)} hook points.")
        for point in selected:
            chosen.setdefault(point, []).append(wrap(function) if wrap else function)
    return chosen


@contextmanager
def hooks(
    module: nn.Module, fwd_hooks: Iterable[HookSpec] = (), bwd_hooks: Iterable[HookSpec] = (), writes: bool = True
) -> Iterator[nn.Module]:
    """Run the block with these hooks on ``module``'s points, in this context only.

    A hook is called as ``function(activation, hook=point)``. It gets a copy: what it edits in place or returns goes on.
    ``writes=False`` promises that it only looks, and saves the copy. A backward hook sees the gradient of its
    activation, and belongs to the graph built in the block: ``backward()`` may come later.
    """
    points = module.hook_dict if isinstance(module, Hooked) else hook_points(module)
    scope = Scope(_by_point(points, fwd_hooks, _writing if writes else _reading), _by_point(points, bwd_hooks, None))
    with _active(scope):
        yield module


@contextmanager
def _active(scope: Scope) -> Iterator[None]:
    _scopes.set((*_scopes.get(), scope))
    try:
        yield
    finally:
        _scopes.set(tuple(other for other in _scopes.get() if other is not scope))


class Hooked(nn.Module):
    """An ``nn.Module`` whose hook points can be hooked and cached by name.

    Assign ``HookPoint``s anywhere below, then call ``self.setup()`` at the end of ``__init__``.
    """

    def setup(self) -> None:
        """Give every hook point its name; call it again after changing modules."""
        self._points = hook_points(self)

    @property
    def hook_dict(self) -> dict[str, HookPoint]:
        """Name to hook point."""
        if "_points" not in self.__dict__:
            self.setup()
        return self._points

    @property
    def mod_dict(self) -> dict[str, nn.Module]:
        """Name to module, this one under the empty name."""
        return dict(self.named_modules())

    @contextmanager
    def hooks(self, fwd_hooks: Iterable[HookSpec] = (), bwd_hooks: Iterable[HookSpec] = ()) -> Iterator["Hooked"]:
        """``with model.hooks(fwd_hooks=[(name, function)]): …``; see :func:`hooks`."""
        with hooks(self, fwd_hooks, bwd_hooks):
            yield self

    def run_with_hooks(
        self, *args: Any, fwd_hooks: Iterable[HookSpec] = (), bwd_hooks: Iterable[HookSpec] = (), **kwargs: Any
    ) -> Any:
        """The output of this module with the hooks active for this one call."""
        with hooks(self, fwd_hooks, bwd_hooks):
            return self(*args, **kwargs)

    def run_with_cache(
        self,
        *args: Any,
        names_filter: NamesFilter = None,
        device: torch.device | str | None = None,
        incl_bwd: bool = False,
        **kwargs: Any,
    ) -> tuple[Any, dict[str, Tensor]]:
        """The output, and the activations that ``names_filter`` selects, detached, under their names.

        Memory holds only what is selected. ``incl_bwd`` calls ``backward()`` on the output, which must be a scalar, and
        adds each gradient as ``name + "_grad"``.
        """
        cache: dict[str, Tensor] = {}

        def keep(activation: Tensor, hook: HookPoint) -> None:
            cache[hook.name] = activation.detach().to(device or activation.device)

        def keep_gradient(gradient: Tensor, hook: HookPoint) -> None:
            cache[f"{hook.name}_grad"] = gradient.detach().to(device or gradient.device)

        points = select(self.hook_dict, names_filter)
        scope = Scope(
            {point: [_reading(keep)] for point in points}, {point: [keep_gradient] for point in points if incl_bwd}
        )
        with _active(scope):
            out = self(*args, **kwargs)
            if incl_bwd:
                out.backward()
        return out, cache

    def add_hook(self, name: NamesFilter, hook: HookFunction, dir: str = "fwd") -> None:
        """Keep ``hook`` active in this thread until :meth:`reset_hooks`; ``dir`` is "fwd" or "bwd"."""
        keep(self.hook_dict, (name, hook), dir)

    def reset_hooks(self) -> None:
        """End this model's :meth:`add_hook` hooks and clear its points' ``ctx``, in this thread."""
        end(self.hook_dict)
        clear_notes(self.hook_dict)


def keep(
    points: Mapping[str, HookPoint], spec: HookSpec, dir: str = "fwd", stay: Stay = UNTIL_RESET, first: bool = False
) -> None:
    """Keep one hook active in this thread until :func:`end`, before those of any block; ``first``: before all."""
    if dir not in ("fwd", "bwd"):
        raise ValueError(f"add_hook: dir={dir!r}; it must be 'fwd' or 'bwd'.")
    wrap = _writing if dir == "fwd" else None
    for point, found in _by_point(points, [spec], wrap).items():
        scope = Scope({point: found}, {}, stay) if dir == "fwd" else Scope({}, {point: found}, stay)
        kept = point.of_thread.kept
        point.of_thread.kept = (scope, *kept) if first else (*kept, scope)


def end(points: Mapping[str, HookPoint], ends: Callable[[Scope], bool] = lambda scope: True) -> None:
    """End the kept hooks at these points for which ``ends`` says so, in this thread."""
    for point in points.values():
        point.of_thread.kept = tuple(scope for scope in point.of_thread.kept if not ends(scope))


def clear_notes(points: Mapping[str, HookPoint]) -> None:
    """Forget what hooks of this thread wrote into ``ctx`` of these points."""
    for point in points.values():
        point.of_thread.notes = {}
