"""NaN and infinity are never ranked, averaged away or decoded: they are traced to where they begin, and that is said.

A check costs one look at what is used. Only where it fails is the text read again, to find the first activation, layer
and position that is not finite.
"""

from contextlib import suppress
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lens.hooks import HookPoint, hooks
from lens.model import Transformer

HALF = "; float16 ends at 65504, so try dtype float32 or bfloat16"


class NotFinite(ValueError):
    """Something that is NaN or infinite was to be ranked, averaged or decoded. The message says where it begins."""


class Fault(NamedTuple):
    """The first place of a run that is not finite, in the order of computation, then of positions."""

    point: str  # hook name; "logits"
    layer: int | None  # None before and after the layers
    text: int  # row of the batch
    pos: int
    value: str  # "NaN" or "infinity"


class _Found(Exception):
    """The first fault is known; the rest of the forward pass is of no use."""


def require_finite(
    model: Transformer,
    tokens: Int[Tensor, "batch pos"],
    values: Tensor,
    mask: Bool[Tensor, "batch pos"] | None = None,
    what: str = "logits",
) -> None:
    """NotFinite, with the place where it begins, unless all ``values`` are finite.

    ``values`` were computed from ``tokens`` (and ``mask``); where an entry may rightly be NaN, leave it out. Call it
    outside of hooks of one's own: with those of the caller the text is read again.
    """
    if not values.is_meta and not values.isfinite().all():  # what is on "meta" has shapes and no values
        raise not_finite(model, tokens, mask, what)


def require_finite_weights(model: Transformer, values: Tensor, what: str) -> None:
    """NotFinite, with the first weight that is not, unless all ``values`` are finite. They come from weights alone."""
    if not values.isfinite().all():
        broken = [name for name, weight in model.named_parameters() if not weight.isfinite().all()]
        where = (
            f"{broken[0]} is the first of {len(broken)} weights that hold NaN or infinity"
            if broken
            else ("the weights are finite, and their products are beyond the number format")
        )
        raise NotFinite(f"{model.name} has no {what}: {where}.")


def not_finite(
    model: Transformer, tokens: Int[Tensor, "batch pos"], mask: Bool[Tensor, "batch pos"] | None, what: str
) -> NotFinite:
    """The error that says where ``what``, computed from ``tokens``, stopped being finite."""
    fault = first_fault(model, tokens, mask)
    if fault is None:
        return NotFinite(
            f"{model.name}: {what} are NaN or infinite. The model's own run of this text is finite, so a change made "
            "them so: a replaced activation, or a processed or cast weight."
        )
    layer = "outside its layers" if fault.layer is None else f"in layer {fault.layer}"
    text = f" of text {fault.text + 1}" if len(tokens) > 1 else ""
    hint = HALF if model.dtype == torch.float16 else ""
    return NotFinite(
        f"{model.name} computes {fault.value} {layer} ({fault.point}), first at position {fault.pos}{text}. "
        f"No {what} are read from that: the weights there, or what they make of this text, are not finite{hint}."
    )


@torch.no_grad()
def first_fault(
    model: Transformer, tokens: Int[Tensor, "batch pos"], mask: Bool[Tensor, "batch pos"] | None = None
) -> Fault | None:
    """Where NaN or infinity first appears when ``model`` reads ``tokens``; None if nowhere."""
    found: list[Fault] = []

    def look(x: Tensor, hook: HookPoint) -> None:
        bad = _faulty(hook.name, x)
        if bad.any():
            found.append(_first(hook.name, x, bad))
            raise _Found

    names = [name for name, point in model.hook_dict.items() if not point.on_request]
    with hooks(model, [(names, look)], writes=False), suppress(_Found):
        logits = model(tokens, attention_mask=mask)
        bad = _faulty("logits", logits)
        if bad.any():
            found.append(_first("logits", logits, bad))
    return found[0] if found else None


def is_sound(name: str, x: Tensor) -> bool:
    """Whether an activation is finite, in one pass that makes no copy; scores are −inf where a query may not look."""
    whole = x.amax() if _has_hidden(name) else x.sum(dtype=torch.promote_types(x.dtype, torch.float32))
    return bool(whole.isfinite())


def _has_hidden(name: str) -> bool:
    return name.endswith("hook_attn_scores")


def _faulty(name: str, x: Tensor) -> Bool[Tensor, "..."]:
    return (x.isnan() | x.isposinf()) if _has_hidden(name) else ~x.isfinite()


def _first(name: str, x: Tensor, bad: Tensor) -> Fault:
    axis = 2 if name.endswith(("hook_attn_scores", "hook_pattern")) else 1
    at = bad.movedim(axis, 0).flatten(1).any(1).nonzero()[0, 0]
    there, values = bad.select(axis, int(at)), x.select(axis, int(at))
    text = int(there.flatten(1).any(1).nonzero()[0, 0])
    value = "NaN" if values[text][there[text]].isnan().any() else "infinity"
    parts = name.split(".")
    return Fault(name, int(parts[1]) if parts[0] == "blocks" else None, text, int(at), value)
