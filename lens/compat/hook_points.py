"""``transformer_lens.hook_points``: modules with hook points, and the verbs of notebooks with all their arguments."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from lens.compat.slices import Slice, SliceInput
from lens.hooks import (
    Hooked,
    HookFunction,
    HookPoint,
    HookSpec,
    NamesFilter,
    Scope,
    Stay,
    clear_notes,
    end,
    hooks,
    keep,
    select,
)

__all__ = ["HookFunction", "HookPoint", "HookedRootModule", "NamesFilter"]

DIRECTIONS = {"fwd": ("fwd",), "bwd": ("bwd",), "both": ("fwd", "bwd")}
HEADS_AFTER_POS = ("hook_q", "hook_k", "hook_v", "hook_z", "hook_result", "hook_rot_q", "hook_rot_k")


class HookedRootModule(Hooked):
    """Any module with hook points: assign them in ``__init__``, call ``self.setup()``.

    ``level`` and ``is_permanent`` of a hook say which ``reset_hooks`` ends it. Hooks belong to the thread that added
    them.
    """

    def __init__(self, *args: Any):
        super().__init__()

    def meant(self, names: NamesFilter) -> NamesFilter:
        """What ``names`` stands for; models with points that are computed on request say more."""
        return names

    def _meant_by(self, specs: Iterable[HookSpec]) -> list[HookSpec]:
        return [(self.meant(names), hook) for names, hook in specs]

    @contextmanager
    def hooks(
        self,
        fwd_hooks: Iterable[HookSpec] = (),
        bwd_hooks: Iterable[HookSpec] = (),
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
    ) -> Iterator["HookedRootModule"]:
        """Hooks for one block; ``reset_hooks_end=False`` keeps them until ``reset_hooks``."""
        fwd, bwd = self._meant_by(fwd_hooks), self._meant_by(bwd_hooks)
        with super().hooks(fwd, bwd):
            try:
                yield self
            finally:
                if clear_contexts:
                    self.clear_contexts()
        if not reset_hooks_end:
            for dir, specs in (("fwd", fwd), ("bwd", bwd)):
                for names, hook in specs:
                    self.add_hook(names, hook, dir)

    def run_with_hooks(
        self,
        *model_args: Any,
        fwd_hooks: Iterable[HookSpec] = (),
        bwd_hooks: Iterable[HookSpec] = (),
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
        **model_kwargs: Any,
    ) -> Any:
        """The output of this module with the hooks active for this one call."""
        with self.hooks(fwd_hooks, bwd_hooks, reset_hooks_end, clear_contexts):
            return self(*model_args, **model_kwargs)

    def run_with_cache(
        self,
        *model_args: Any,
        names_filter: NamesFilter = None,
        device: torch.device | str | None = None,
        remove_batch_dim: bool = False,
        incl_bwd: bool = False,
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
        pos_slice: SliceInput = None,
        **model_kwargs: Any,
    ) -> tuple[Any, dict[str, Tensor]]:
        """The output, and the activations under their names. ``reset_hooks_end``: nothing is left either way."""
        cache, fwd, bwd = self.get_caching_hooks(names_filter, incl_bwd, device, remove_batch_dim, None, pos_slice)
        with hooks(self, fwd, bwd, writes=False):
            out = self(*model_args, **model_kwargs)
            if incl_bwd:
                out.backward()
        if clear_contexts:
            self.clear_contexts()
        return out, cache

    def get_caching_hooks(
        self,
        names_filter: NamesFilter = None,
        incl_bwd: bool = False,
        device: torch.device | str | None = None,
        remove_batch_dim: bool = False,
        cache: dict[str, Tensor] | None = None,
        pos_slice: SliceInput = None,
    ) -> tuple[dict[str, Tensor], list[HookSpec], list[HookSpec]]:
        """A cache, and the forward and backward hooks that will fill it. ``pos_slice`` keeps only these positions."""
        cache = {} if cache is None else cache
        positions = Slice.unwrap(pos_slice)

        def save(name: str, activation: Tensor) -> None:
            kept = activation.detach().to(device or activation.device)
            axis = -3 if name.removesuffix("_grad").endswith(HEADS_AFTER_POS) else -2
            if kept.ndim >= -axis:
                kept = positions.apply(kept, axis)
            if remove_batch_dim and len(kept) != 1:
                raise ValueError(
                    f"remove_batch_dim: {name} holds a batch of {len(kept)}; only one sequence can lose it."
                )
            cache[name] = kept[0] if remove_batch_dim else kept

        def save_activation(activation: Tensor, hook: HookPoint) -> None:
            save(hook.name, activation)

        def save_gradient(gradient: Tensor, hook: HookPoint) -> None:
            save(f"{hook.name}_grad", gradient)

        names = [point.name for point in select(self.hook_dict, self.meant(names_filter))]
        fwd = [(name, save_activation) for name in names]
        return cache, fwd, [(name, save_gradient) for name in names if incl_bwd]

    def add_caching_hooks(
        self,
        names_filter: NamesFilter = None,
        incl_bwd: bool = False,
        device: torch.device | str | None = None,
        remove_batch_dim: bool = False,
        cache: dict[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """A dictionary that every run fills, until ``reset_hooks``."""
        cache, fwd, bwd = self.get_caching_hooks(names_filter, incl_bwd, device, remove_batch_dim, cache)
        for dir, specs in (("fwd", fwd), ("bwd", bwd)):
            for names, hook in specs:
                self.add_hook(names, hook, dir)
        return cache

    def cache_all(
        self,
        cache: dict[str, Tensor] | None,
        incl_bwd: bool = False,
        device: torch.device | str | None = None,
        remove_batch_dim: bool = False,
    ) -> None:
        """Let every run fill ``cache``, until ``reset_hooks``."""
        self.add_caching_hooks(None, incl_bwd, device, remove_batch_dim, cache)

    def cache_some(
        self,
        cache: dict[str, Tensor] | None,
        names: Callable[[str], bool],
        incl_bwd: bool = False,
        device: torch.device | str | None = None,
        remove_batch_dim: bool = False,
    ) -> None:
        """Let every run fill ``cache`` with the activations called ``names``, until ``reset_hooks``."""
        self.add_caching_hooks(names, incl_bwd, device, remove_batch_dim, cache)

    def add_hook(
        self,
        name: NamesFilter,
        hook: HookFunction,
        dir: str = "fwd",
        is_permanent: bool = False,
        level: int | None = None,
        prepend: bool = False,
    ) -> None:
        """Keep ``hook`` active until ``reset_hooks``; a permanent one until it says ``including_permanent``."""
        keep(self.hook_dict, (self.meant(name), hook), dir, Stay(is_permanent, level), first=prepend)

    def add_perma_hook(self, name: NamesFilter, hook: HookFunction, dir: str = "fwd") -> None:
        """Keep ``hook`` active until ``reset_hooks(including_permanent=True)``."""
        self.add_hook(name, hook, dir, is_permanent=True)

    def reset_hooks(
        self,
        clear_contexts: bool = True,
        direction: str = "both",
        including_permanent: bool = False,
        level: int | None = None,
    ) -> None:
        """End kept hooks: of one ``direction``, of one ``level`` (None: of all levels)."""
        self.remove_all_hook_fns(direction, including_permanent, level)
        if clear_contexts:
            self.clear_contexts()

    def remove_all_hook_fns(
        self, direction: str = "both", including_permanent: bool = False, level: int | None = None
    ) -> None:
        """End kept hooks, and leave ``ctx`` as it is."""
        if direction not in DIRECTIONS:
            raise ValueError(f"direction={direction!r}; it must be 'fwd', 'bwd' or 'both'.")

        def ends(scope: Scope) -> bool:
            way = "fwd" if scope.fwd else "bwd"
            same_level = level is None or scope.stay.level == level
            return way in DIRECTIONS[direction] and same_level and (including_permanent or not scope.stay.permanent)

        end(self.hook_dict, ends)

    def clear_contexts(self) -> None:
        """Forget what hooks wrote into ``hook.ctx``."""
        clear_notes(self.hook_dict)

    def hook_points(self) -> list[HookPoint]:
        """Every hook point."""
        return list(self.hook_dict.values())
