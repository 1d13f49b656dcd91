"""What a model needs in memory: its weights, the keys and values of a text, the activations of a run.

Activations come from a run of the model's own forward pass on shapes alone (torch's meta device), so that their names
and sizes are those of a real run, for any model and any length, in a moment. Blocks differ in their windows, never in
shapes, so two of them are run: the first, whose stream is the embedding, and one that stands for all others.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lens.config import Config
from lens.hooks import HookPoint, hooks
from lens.model import Transformer

AXES = (  # of the points whose name ends so; all others are batch pos d_model
    (r"hook_(attn_scores|pattern)$", "batch head query key"),
    (r"attn\.[qk]_norm\.hook_scale$", "batch pos head 1"),
    (r"attn\.(hook_(q|rot_q|z)|q_norm\.hook_normalized)$", "batch pos head d_head"),
    (r"attn\.(hook_(k|rot_k|v)|k_norm\.hook_normalized)$", "batch pos kv_head d_head"),
    (r"hook_q_input$|hook_result$", "batch pos head d_model"),
    (r"hook_[kv]_input$", "batch pos kv_head d_model"),
    (r"mlp\.ln\.hook_scale$|hook_scale$", "batch pos 1"),
    (r"mlp\.(hook_(pre|pre_linear|mid|post)|ln\.hook_normalized)$", "batch pos d_mlp"),
)


class Activation(NamedTuple):
    """One hook point in a run. ``bytes`` is 0 where it is the very tensor of the point before it."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    bytes: int
    on_request: bool  # computed only when it is hooked by name; not in a cache of everything


class Forecast(NamedTuple):
    """Bytes of one model in one number format, and of one batch in it."""

    weights: int
    key_values: int  # what generating keeps
    cache: int  # all activations that ``run_with_cache`` keeps by default
    logits: int

    @property
    def total(self) -> int:
        """Weights, and a run that keeps everything; keys and values come in place of the cache, not beside it."""
        return self.weights + self.cache + self.logits


class Kind(NamedTuple):
    """One activation of a cache in all the layers that have it: "blocks.L.…" for every layer."""

    name: str
    places: int
    shape: tuple[int, ...]  # in one of them
    bytes: int  # in all of them


class _Shapes(Transformer):
    """A model on the meta device, whose tokens have no values to check."""

    def check_tokens(self, tokens: Tensor) -> None:
        pass


def activations(cfg: Config, batch: int, pos: int, dtype: torch.dtype = torch.float32) -> tuple[Activation, ...]:
    """Every hook point of a model of this structure that reads [batch, pos] tokens, in the order of the run.

    ValueError if the text is longer than the context.
    """
    n_run = min(2, cfg.n_layers)
    short = replace(cfg, n_layers=n_run, windows=cfg.windows and cfg.windows[:n_run])
    with torch.device("meta"):
        model, tokens = _Shapes(short).to(dtype), torch.zeros(batch, pos, dtype=torch.long)
    usual = _seen(model, tokens, [name for name, point in model.hook_dict.items() if not point.on_request])
    everything = _seen(model, tokens, list(model.hook_dict))
    seen = [usual.get(name, one._replace(on_request=True)) for name, one in everything.items()]
    last = f"blocks.{n_run - 1}."
    start = next(i for i, one in enumerate(seen) if one.name.startswith(last))
    end = max(i for i, one in enumerate(seen) if one.name.startswith(last)) + 1
    more = [
        one._replace(name=one.name.replace(last, f"blocks.{layer}.", 1))
        for layer in range(n_run, cfg.n_layers)
        for one in seen[start:end]
    ]
    return tuple(seen[:end] + more + seen[end:])


def by_kind(rows: Iterable[Activation]) -> list[Kind]:
    """The activations that a cache keeps, layers taken together, largest first."""
    kinds: dict[str, list[Activation]] = {}
    for row in rows:
        if not row.on_request:
            kinds.setdefault(re.sub(r"\.\d+(?=\.|$)", ".L", row.name), []).append(row)
    summed = [Kind(name, len(same), same[0].shape, sum(row.bytes for row in same)) for name, same in kinds.items()]
    return sorted(summed, key=lambda kind: -kind.bytes)


def axes_of(name: str) -> str:
    """The axis words of an activation, such as "batch pos head d_head"."""
    return next((words for pattern, words in AXES if re.search(pattern, name)), "batch pos d_model")


def _seen(model: Transformer, tokens: Tensor, names: list[str]) -> dict[str, Activation]:
    """What passes these points in one run, in order."""
    found: dict[str, Activation] = {}
    before: list[Tensor] = [tokens]

    def look(x: Tensor, hook: HookPoint) -> None:
        size = 0 if x is before[0] else x.numel() * x.element_size()
        found[hook.name], before[0] = Activation(hook.name, tuple(x.shape), x.dtype, size, on_request=False), x

    with torch.no_grad(), hooks(model, [(names, look)], writes=False):
        model(tokens)
    return found


def forecast(model: Transformer, batch: int, pos: int, dtype: torch.dtype) -> Forecast:
    """Bytes of ``model``'s weights in ``dtype``, and of [batch, pos] tokens read by it."""
    cfg, size = model.cfg, dtype.itemsize
    weights = weight_bytes(model) // model.dtype.itemsize * size
    key_values = 2 * cfg.n_layers * batch * pos * cfg.n_kv_heads * cfg.d_head * size
    kept = sum(one.bytes for one in activations(cfg, batch, pos, dtype) if not one.on_request)
    return Forecast(weights, key_values, kept, batch * pos * cfg.d_vocab * size)


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all weights, one that has two names counted once."""
    sizes = {weight.data_ptr(): weight.numel() * weight.element_size() for weight in model.parameters()}
    return sum(sizes.values())
