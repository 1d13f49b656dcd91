"""The activations of one run, under their names."""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Self

import torch
from torch import Tensor

ATTN = ("k", "v", "q", "z", "rot_k", "rot_q", "result", "pattern", "attn_scores")
MLP = ("pre", "post", "mid", "pre_linear")
SHORT = {
    "attn": "pattern",
    "attn_logits": "attn_scores",
    "key": "k",
    "query": "q",
    "value": "v",
    "mlp_pre": "pre",
    "mlp_mid": "mid",
    "mlp_post": "post",
}
PART = {"a": "attn", "attention": "attn", "m": "mlp", "b": "", "block": "", "blocks": ""}


def get_act_name(name: str, layer: int | str | None = None, layer_type: str | None = None) -> str:
    """The full name of an activation: ``("pattern", 3)`` → ``blocks.3.attn.hook_pattern``.

    ``layer_type`` says which part of the block where that is open: ``("normalized", 0, "ln2")``. "k6a" means
    ``("k", 6, "a")``; ``("scale", None)`` is the final norm's. A full name comes back as it is.
    """
    if layer is None and layer_type is None:
        if "." in name or name.startswith("hook_"):
            return name
        if packed := re.fullmatch(r"([a-z_]+?)(\d+)([a-z]?\w*)", name):
            name, layer, layer_type = packed[1], packed[2], packed[3] or None
    name = SHORT.get(name, name)
    if name in ATTN or name in MLP:
        part = "attn" if name in ATTN else "mlp"
    else:
        part = PART.get(layer_type, layer_type) or ""
    if layer is None and name in ("scale", "normalized"):
        part = "ln_final"
    block = f"blocks.{layer}." if layer is not None else ""
    return f"{block}{part}{'.' if part else ''}hook_{name}"


class ActivationCache(Mapping[str, Tensor]):
    """Name → activation. ``cache["pattern", 3]``, ``cache["pattern", 3, "attn"]`` and the full name are one entry.

    A layer below zero counts from the end. The tensors are those of the run: do not write into them.
    """

    def __init__(self, activations: Mapping[str, Tensor], model, has_batch_dim: bool = True):
        self.activations, self.model, self.has_batch_dim = dict(activations), model, has_batch_dim

    def __getitem__(self, key: str | tuple) -> Tensor:
        name = self._name(key)
        if name not in self.activations:
            close = get_close_matches(name, self.activations, n=4, cutoff=0.5)
            hint = f"Closest: {', '.join(close)}." if close else "It was not kept; see names_filter."
            raise KeyError(f"The cache holds {len(self)} activations, none called {name!r}. {hint}")
        return self.activations[name]

    def _name(self, key: str | tuple) -> str:
        if isinstance(key, str):
            return key if key in self.activations else get_act_name(key)
        name, layer, *rest = (*key, None) if len(key) == 1 else key
        if isinstance(layer, int) and layer < 0:
            layer += self.model.cfg.n_layers
        return get_act_name(name, layer, *rest)

    def __iter__(self) -> Iterator[str]:
        return iter(self.activations)

    def __len__(self) -> int:
        return len(self.activations)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, (str, tuple)) and self._name(key) in self.activations

    def __repr__(self) -> str:
        size = sum(x.numel() * x.element_size() for x in self.values()) / 2**20
        return f"ActivationCache({len(self)} activations, {size:.1f} MiB, batch axis: {self.has_batch_dim})"

    def _map(self, function, has_batch_dim: bool | None = None) -> Self:
        keep = self.has_batch_dim if has_batch_dim is None else has_batch_dim
        return type(self)({name: function(x) for name, x in self.items()}, self.model, keep)

    def remove_batch_dim(self) -> Self:
        """This cache, now without its batch axis; ValueError unless the batch is one sequence."""
        if self.has_batch_dim:
            sizes = {len(x) for x in self.values()}
            if sizes - {1}:
                raise ValueError(
                    f"The cache holds a batch of {max(sizes)}; only a batch of 1 can lose its axis. Slice it."
                )
            self.activations = {name: x[0] for name, x in self.items()}
            self.has_batch_dim = False
        return self

    def slice_batch(self, index: int | slice | Tensor) -> Self:
        """The same activations of some sequences only; an int drops the batch axis."""
        if not self.has_batch_dim:
            raise ValueError("This cache has no batch axis to slice.")
        return self._map(lambda x: x[index], has_batch_dim=not isinstance(index, int))

    def to(self, device: torch.device | str, move_model: bool = False) -> Self:
        """The same activations on another device; ``move_model`` moves the model as well."""
        if move_model:
            self.model.to(device)
        return self._map(lambda x: x.to(device))
