"""Reading rotary positions: base, share of the head, and the ways in which contexts were extended after training."""

import math
from collections.abc import Mapping
from typing import Any

from lens.families.attributes import Attributes

# What belongs to each kind of rotary embedding; anything else in its description is refused.
ROPE_KINDS = {
    "default": set(),
    "linear": {"factor"},
    "llama3": {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"},
    "yarn": {"factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow", "truncate"},
    "longrope": {"short_factor", "long_factor", "factor", "attention_factor", "original_max_position_embeddings"},
}
ROPE_NEEDS = {
    "linear": {"factor"},
    "llama3": {"factor", "low_freq_factor", "high_freq_factor"},
    "longrope": {"short_factor"},
}
ROPE_COMMON = {"rope_type", "type", "rope_theta", "partial_rotary_factor"}


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
    missing = ROPE_NEEDS.get(kind, set()) - set(described)
    if missing:
        raise ValueError(f"The config's {kind!r} rotary positions lack {', '.join(sorted(missing))}.")
    dim, base = int(d_head * described["partial_rotary_factor"]), float(described["rope_theta"])
    fields = {"positions": "rotary", "rotary_dim": dim, "rotary_base": base, "n_ctx": n_ctx}
    if kind == "linear":
        fields["rotary_divisors"] = (float(described["factor"]),) * (dim // 2)
    if kind == "llama3":
        fields["rotary_divisors"] = llama3_divisors(described, dim, base, n_ctx)
    if kind == "yarn":
        fields |= yarn(described, dim, base, n_ctx)
    if kind == "longrope":
        fields |= longrope(described, n_ctx)
    return fields


def rotary_by_layer(hf: Attributes, d_head: int, base: float, local_base: float) -> dict[str, Any]:
    """As :func:`rotary`, for models whose sliding layers have a rotary base of their own, and no scaling."""
    kinds = hf.get("rope_parameters", {})
    far = {"rope_theta": hf.get("rope_theta", base), "partial_rotary_factor": 1.0}
    far |= kinds.get("full_attention", {}) | hf.get("rope_scaling", {})
    near = {"rope_theta": hf.get("rope_local_base_freq", local_base)} | kinds.get("sliding_attention", {})
    if set(kinds) - {"full_attention", "sliding_attention"} or near.get("rope_type", "default") != "default":
        raise ValueError(f"The config's rope_parameters are {kinds}; Lens computes unscaled ones in sliding layers.")
    return rope_fields(far, hf, d_head) | {"local_rotary_base": float(near["rope_theta"])}


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


def yarn(rope: Mapping[str, Any], dim: int, base: float, n_ctx: int) -> dict[str, Any]:
    """As in Llama 3.1, but smooth in the number of the pair; and all scores grow a little with ``factor``.

    Source: Peng et al. 2023, "YaRN", and their code, which rounds the two ends of the ramp to whole pairs.
    """
    before = rope.get("original_max_position_embeddings", n_ctx)
    factor = rope.get("factor") or n_ctx / before

    def pair(turns: float) -> float:  # the pair that makes so many turns within the original context
        return dim * math.log(before / (turns * 2 * math.pi)) / (2 * math.log(base))

    first, last = pair(rope.get("beta_fast", 32)), pair(rope.get("beta_slow", 1))
    if rope.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, dim - 1)
    slow = [min(max((i - first) / ((last - first) or 0.001), 0.0), 1.0) for i in range(dim // 2)]
    gain = 1.0 if factor <= 1 else 0.1 * math.log(factor) + 1
    return {
        "rotary_divisors": tuple(1 / (share / factor + 1 - share) for share in slow),
        "rotary_gain": rope.get("attention_factor") or gain,
    }


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
