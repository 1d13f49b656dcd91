"""Look at the attention patterns of many sequences, one layer and batch at a time, and keep none of them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.batching import at_once
from lens.finite import is_sound, not_finite
from lens.hooks import HookPoint, hooks
from lens.model import Transformer
from lens.progress import Progress, silent

Visit = Callable[[int, slice, Tensor], None]  # layer, rows of the input, activation of these rows

TOKENS = 4096  # read in one forward pass
BYTES = 128_000_000  # of one layer's pattern


class _LastSeen(Exception):
    """The last layer that was asked for has been looked at; the rest of the forward pass is of no use."""


def batches(n_rows: int, n_pos: int, n_heads: int) -> Iterator[slice]:
    """Slices of the batch axis, each within the budget of tokens and of bytes of a pattern."""
    rows = at_once(min(TOKENS // n_pos, BYTES // (4 * n_heads * n_pos**2)))
    return (slice(start, min(start + rows, n_rows)) for start in range(0, n_rows, rows))


@torch.no_grad()
def stream_patterns(
    model: Transformer,
    tokens: Int[Tensor, "batch pos"],
    visit: Visit,
    mask: Bool[Tensor, "batch pos"] | None = None,
    layers: Iterable[int] | None = None,
    progress: Progress = silent,
) -> None:
    """Call ``visit(layer, rows, pattern [batch, head, query, key])`` once for every layer and batch of rows.

    ``visit`` reads the model's own tensor: it must neither write into it nor keep it. The forward pass ends at the last
    pattern asked for. An exception of ``visit`` or ``progress`` ends everything and leaves no hook behind.
    """
    stream(
        model, tokens, {f"blocks.{layer}.attn.hook_pattern": visit for layer in _layers(model, layers)}, mask, progress
    )


@torch.no_grad()
def stream(
    model: Transformer,
    tokens: Int[Tensor, "batch pos"],
    visits: dict[str, Visit],
    mask: Bool[Tensor, "batch pos"] | None = None,
    progress: Progress = silent,
) -> None:
    """Call ``visits[name](layer, rows, activation)`` at every named hook point of every batch, in order.

    NotFinite where such an activation is NaN or infinite; it is not visited then. The last name ends the forward pass.
    See :func:`stream_patterns`.
    """
    if not visits:
        return
    names, tokens = list(visits), tokens.to(model.device)
    mask = None if mask is None else mask.to(model.device)
    parts = list(batches(len(tokens), tokens.shape[1], model.cfg.n_heads))
    for done, rows in enumerate(parts):
        faults: list[str] = []

        def _look(
            activation: Tensor, hook: HookPoint, rows: slice = rows, done: int = done, faults: list[str] = faults
        ) -> None:
            if not is_sound(hook.name, activation):
                faults.append(hook.name)
                raise _LastSeen
            visits[hook.name](hook.layer(), rows, activation)
            place = names.index(hook.name) + 1
            stage = (
                f"layer {hook.layer()} of {model.cfg.n_layers}, sequences {rows.start + 1}–{rows.stop} of {len(tokens)}"
            )
            progress((done + place / len(names)) / len(parts), stage)
            if place == len(names):
                raise _LastSeen

        part_mask = None if mask is None else mask[rows]
        with hooks(model, [(names, _look)], writes=False), suppress(_LastSeen):
            model(tokens[rows], attention_mask=part_mask, stop_at_layer=model.cfg.n_layers)
        if faults:
            raise not_finite(model, tokens[rows], part_mask, "scores")


def _layers(model: Transformer, layers: Iterable[int] | None) -> list[int]:
    n_layers = model.cfg.n_layers
    wanted = sorted(set(range(n_layers) if layers is None else layers))
    if wanted and not 0 <= wanted[0] <= wanted[-1] < n_layers:
        raise ValueError(f"Layers {wanted[0]} … {wanted[-1]} were asked for; this model has 0 … {n_layers - 1}.")
    return wanted


def uniform_pattern(n_pos: int) -> Float[Tensor, "query key"]:
    """The causal pattern of a head that looks at nothing in particular: 1/(query+1) on every key it may see."""
    return torch.ones(n_pos, n_pos).tril() / torch.arange(1, n_pos + 1)[:, None]
