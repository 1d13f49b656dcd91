"""Readings of config attributes that several architectures share: sizes, activation, rotary positions, windows."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from lens.families.attributes import Attributes

SAME_FUNCTION = {"gelu_pytorch_tanh": "gelu_new", "gelu_fast": "gelu_new", "swish": "silu"}

# What belongs to each kind of rotary embedding; anything else in its description is refused.
ROPE_KINDS = {
    "default": set(),
    "linear": {"factor"},
    "llama3": {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"},
    "longrope": {"short_factor", "long_factor", "factor", "attention_factor", "original_max_position_embeddings"},
}
ROPE_COMMON = {"rope_type", "type", "rope_theta", "partial_rotary_factor"}


def activation(hf: Attributes, name: str, default: str) -> str:
    """Our name of the activation function."""
    value = hf.get(name, default)
    return SAME_FUNCTION.get(value, value)


def sizes(hf: Attributes, tied: bool = False) -> dict[str, Any]:
    """The sizes in the names that most architectures give them; ``tied`` is what holds where the file does not say."""
    d_model, n_heads = hf["hidden_size"], hf["num_attention_heads"]
    return {
        "n_layers": hf["num_hidden_layers"],
        "n_heads": n_heads,
        "n_kv_heads": hf.get("num_key_value_heads", n_heads),
        "d_model": d_model,
        "d_head": hf.get("head_dim", d_model // n_heads),
        "d_mlp": hf["intermediate_size"],
        "d_vocab": hf["vocab_size"],
        "tied": hf.get("tie_word_embeddings", tied),
    }


def rotary(hf: Attributes, d_head: int, fraction: float = 1.0, base: float = 10_000.0) -> dict[str, Any]:
    """``n_ctx`` and the rotary fields of a Config. ``fraction`` and ``base`` hold where the file does not say."""
    described = hf.get("rope_scaling") or hf.get("rope_parameters", {})
    hf.ignore("rope_parameters")
    described = {
        "rope_theta": hf.get("rope_theta", base),
        "partial_rotary_factor": hf.get("partial_rotary_factor", fraction),
    } | {name: value for name, value in described.items() if value is not None}
    outer = hf.get("original_max_position_embeddings")  # Phi-3 writes it outside, where it counts more
    return rope_fields(described | ({"original_max_position_embeddings": outer} if outer else {}), hf, d_head)


def rope_fields(described: Mapping[str, Any], hf: Attributes, d_head: int) -> dict[str, Any]:
    """``n_ctx`` and the rotary fields of a Config; ValueError names a kind of rotary embedding that is not computed."""
    n_ctx, kind = hf["max_position_embeddings"], described.get("rope_type", described.get("type", "default"))
    kind = "longrope" if kind == "su" else kind
    if kind not in ROPE_KINDS:
        raise ValueError(
            f"The config's rotary positions are of type {kind!r}; Lens computes {', '.join(map(repr, ROPE_KINDS))}."
        )
    unknown = set(described) - ROPE_COMMON - ROPE_KINDS[kind] - {"original_max_position_embeddings"}
    if unknown:
        raise ValueError(f"The config's {kind!r} rotary positions have {', '.join(sorted(unknown))}, unknown to Lens.")
    dim, base = int(d_head * described["partial_rotary_factor"]), float(described["rope_theta"])
    fields = {"positions": "rotary", "rotary_dim": dim, "rotary_base": base, "n_ctx": n_ctx}
    if kind == "linear":
        fields["rotary_divisors"] = (float(described["factor"]),) * (dim // 2)
    if kind == "llama3":
        fields["rotary_divisors"] = llama3_divisors(described, dim, base, n_ctx)
    if kind == "longrope":
        fields |= longrope(described, n_ctx)
    return fields


def llama3_divisors(rope: Mapping[str, Any], dim: int, base: float, n_ctx: int) -> tuple[float, ...]:
    """Slow frequencies are divided by ``factor``, fast ones stay, and between the two it goes over smoothly.

    Source: Llama 3.1; ``original_max_position_embeddings`` is the context before it was extended.
    """
    before, factor = rope.get("original_max_position_embeddings", n_ctx), rope["factor"]
    slow, fast = rope["low_freq_factor"], rope["high_freq_factor"]
    divisors = []
    for i in range(0, dim, 2):
        turns = before / (2 * math.pi * base ** (i / dim))  # full turns within the original context
        kept = min(max((turns - slow) / (fast - slow), 0.0), 1.0)
        divisors.append(1 / ((1 - kept) / factor + kept))
    return tuple(divisors)


def longrope(rope: Mapping[str, Any], n_ctx: int) -> dict[str, Any]:
    """Texts up to the original context length; longer ones use other divisors, so they are not read here.

    Source: Ding et al. 2024, "LongRoPE"; the gain is what the released code applies.
    """
    before = rope.get("original_max_position_embeddings", n_ctx)
    factor = rope.get("factor") or n_ctx / before
    gain = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(before))
    return {
        "n_ctx": min(before, n_ctx),
        "rotary_divisors": tuple(map(float, rope["short_factor"])),
        "rotary_gain": rope.get("attention_factor") or gain,
    }


def windows(hf: Attributes, n_layers: int, is_local: Callable[[int], bool]) -> tuple[int | None, ...] | None:
    """How many keys the queries of each layer see; ``is_local`` holds where the file does not list the layers."""
    width = hf.get("sliding_window")
    default = ["sliding_attention" if is_local(layer) else "full_attention" for layer in range(n_layers)]
    kinds = hf.get("layer_types", default)[:n_layers]
    unknown = set(kinds) - {"sliding_attention", "full_attention"}
    if unknown:
        raise ValueError(f"The config's layer_types has {sorted(unknown)}; Lens computes full and sliding attention.")
    if width is None or width >= hf["max_position_embeddings"] or "sliding_attention" not in kinds:
        return None
    return tuple(width if kind == "sliding_attention" else None for kind in kinds)
