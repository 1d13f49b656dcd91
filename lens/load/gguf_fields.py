"""The settings of a GGUF file, architecture by architecture, as the fields of a config.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


class Fields:
    """The fields of one architecture, which remember what was read: what nobody read may change the numbers."""

    def __init__(self, path: Path, architecture: str, fields: Mapping[str, Any]):
        self.path, self.prefix = path, f"{architecture}."
        self.values = {
            name.removeprefix(self.prefix): value for name, value in fields.items() if name.startswith(self.prefix)
        }
        self.read: set[str] = set()

    def number(self, name: str, default: float | None = None) -> Any:
        """A positive number, also one that the file repeats for every layer; ``default`` where it leaves it out."""
        self.read.add(name)
        value = self.values.get(name, default)
        if isinstance(value, list) and value and set(value) == {value[0]}:
            value = value[0]
        if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
            raise ValueError(f"{self.path}: {self.prefix}{name} is {value!r}; one positive number was wanted.")
        return decimal(value) if isinstance(value, float) else value

    def optional(self, name: str) -> Any:
        """A positive number, None where the file leaves it out."""
        return self.number(name) if name in self.values else None

    def only(self, name: str, *allowed: Any) -> None:
        """ValueError unless the field is absent or one of ``allowed``."""
        self.read.add(name)
        if name in self.values and self.values[name] not in allowed:
            wanted = " or ".join(map(repr, allowed))
            raise ValueError(
                f"{self.path}: {self.prefix}{name} is {self.values[name]!r}; Lens computes it only with {wanted}."
            )

    def refuse_unread(self) -> None:
        """ValueError naming the fields that nobody read."""
        unread = sorted(set(self.values) - self.read)
        if unread:
            raise ValueError(
                f"{self.path} sets {', '.join(f'{self.prefix}{name}' for name in unread)}, which Lens does not know. "
                "It is refused because the numbers could be wrong."
            )


def decimal(value: float) -> float:
    """The number that was meant: GGUF keeps 1e-5 in 32 bits, which reads back as 9.99999974e-06."""
    return float(str(np.float32(value)))


def _sizes(
    fields: Fields, equal: tuple[str, ...] = ("attention.value_length", "rope.dimension_count")
) -> dict[str, Any]:
    """What the architectures with RMSNorm and rotary positions have in common; ``equal``: what is the head size too."""
    n_heads, d_model = fields.number("attention.head_count"), fields.number("embedding_length")
    d_head = fields.number("attention.key_length", d_model // n_heads)
    for name in equal:
        if fields.number(name, d_head) != d_head:
            raise ValueError(
                f"{fields.path}: {fields.prefix}{name} is not the head size {d_head}; Lens computes only equal ones."
            )
    _general(fields)
    return {
        "num_hidden_layers": fields.number("block_count"),
        "num_attention_heads": n_heads,
        "num_key_value_heads": fields.number("attention.head_count_kv", n_heads),
        "head_dim": d_head,
        "hidden_size": d_model,
        "intermediate_size": fields.number("feed_forward_length"),
        "max_position_embeddings": fields.number("context_length"),
        "rms_norm_eps": fields.number("attention.layer_norm_rms_epsilon"),
        **_rope(fields),
    }


def _general(fields: Fields) -> None:
    """Fields that say nothing, or that there is nothing of a kind."""
    for name in ("expert_count", "expert_used_count"):
        fields.only(name, 0)
    fields.only("attention.causal", True)
    fields.read |= {"tensor_data_layout", "rope.scaling.finetuned"}  # who wrote the file, and how it was trained


def _rope(fields: Fields) -> dict[str, Any]:
    """Base and scaling of rotary positions. Divisors of single frequencies are tensors, and read elsewhere."""
    base = {"rope_theta": fields.number("rope.freq_base", 10_000.0)}
    fields.read.add("rope.scaling.type")
    kind = fields.values.get("rope.scaling.type", "linear")  # llama.cpp's own default, with a factor of 1
    factor = fields.number("rope.scaling.factor", fields.optional("rope.scale_linear") or 1.0)
    if kind in ("none", "longrope") or factor == 1:
        return base
    if kind == "linear":
        return base | {"rope_scaling": {"rope_type": "linear", "factor": factor}}
    if kind != "yarn":
        raise ValueError(
            f"{fields.path}: {fields.prefix}rope.scaling.type is {kind!r}; Lens computes 'none', 'linear', 'yarn' and "
            "'longrope'."
        )
    fields.only("rope.scaling.attn_factor", 1.0)
    before = fields.number("rope.scaling.original_context_length", fields.number("context_length"))
    scaling = {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": before}
    return base | {"rope_scaling": scaling}


def llama(fields: Fields) -> dict[str, Any]:
    """LLaMA, Mistral, SmolLM2."""
    return _sizes(fields) | {"hidden_act": "silu"}


def qwen(fields: Fields) -> dict[str, Any]:
    """Qwen2 and Qwen3."""
    return _sizes(fields) | {"hidden_act": "silu"}


def gemma(fields: Fields) -> dict[str, Any]:
    """Gemma 1."""
    return _sizes(fields) | {"hidden_activation": "gelu_pytorch_tanh"}


def _gemma_scale(sizes: Mapping[str, Any], layers_of_27b: int) -> dict[str, Any]:
    """By what scores are divided, squared: the head size, but in the model of 27B parameters. The file does not say.

    Source: llama.cpp, which tells that model by its number of layers, and the configs of the models.
    """
    large = sizes["num_hidden_layers"] == layers_of_27b
    scale = sizes["hidden_size"] // sizes["num_attention_heads"] if large else sizes["head_dim"]
    return {"query_pre_attn_scalar": scale}


def gemma2(fields: Fields) -> dict[str, Any]:
    """Gemma 2: the window is that of every second layer."""
    sizes = gemma(fields)
    return (
        sizes
        | _gemma_scale(sizes, layers_of_27b=46)
        | {
            "sliding_window": fields.number("attention.sliding_window", 4096),
            "attn_logit_softcapping": fields.number("attn_logit_softcapping", 50.0),
            "final_logit_softcapping": fields.number("final_logit_softcapping", 30.0),
        }
    )


def gemma3(fields: Fields) -> dict[str, Any]:
    """Gemma 3: every sixth layer sees everything, and has a rotary base of its own."""
    fields.only("attention.sliding_window_pattern", 6)
    sizes = gemma(fields)
    if "rope.freq_base" not in fields.values:
        raise ValueError(f"{fields.path} lacks {fields.prefix}rope.freq_base, which a Gemma 3 must say.")
    return (
        sizes
        | _gemma_scale(sizes, layers_of_27b=62)
        | {
            "sliding_window": fields.number("attention.sliding_window"),
            "sliding_window_pattern": 6,
            "final_logit_softcapping": fields.optional("final_logit_softcapping"),
            "rope_local_base_freq": fields.number("rope.freq_base_swa", 10_000.0),
        }
    )


def phi3(fields: Fields) -> dict[str, Any]:
    """Phi-3 and Phi-4: only a part of the head may turn, and the window, if any, covers every layer."""
    d_head = fields.number("embedding_length") // fields.number("attention.head_count")
    turning = fields.number("rope.dimension_count", d_head)
    n_ctx, window = fields.number("context_length"), fields.optional("attention.sliding_window")
    before = fields.number("rope.scaling.original_context_length", n_ctx)
    return _sizes(fields, equal=("attention.key_length", "attention.value_length")) | {
        "hidden_act": "silu",
        "partial_rotary_factor": turning / d_head,
        "sliding_window": window if window is not None and window < n_ctx else None,
        "original_max_position_embeddings": before,
    }


def gpt2(fields: Fields) -> dict[str, Any]:
    """GPT-2."""
    _general(fields)
    return {
        "n_layer": fields.number("block_count"),
        "n_head": fields.number("attention.head_count"),
        "n_embd": fields.number("embedding_length"),
        "n_inner": fields.number("feed_forward_length"),
        "n_positions": fields.number("context_length"),
        "layer_norm_epsilon": fields.number("attention.layer_norm_epsilon"),
        "activation_function": "gelu_new",
    }


def gpt_neox(fields: Fields) -> dict[str, Any]:
    """GPT-NeoX and Pythia."""
    _general(fields)
    fields.read.add("use_parallel_residual")
    n_heads, d_model = fields.number("attention.head_count"), fields.number("embedding_length")
    return {
        "num_hidden_layers": fields.number("block_count"),
        "num_attention_heads": n_heads,
        "hidden_size": d_model,
        "intermediate_size": fields.number("feed_forward_length"),
        "max_position_embeddings": fields.number("context_length"),
        "layer_norm_eps": fields.number("attention.layer_norm_epsilon"),
        "rotary_pct": fields.number("rope.dimension_count", d_model // n_heads) / (d_model // n_heads),
        "use_parallel_residual": fields.values.get("use_parallel_residual", True),
        "hidden_act": "gelu",
        **_rope(fields),
    }
