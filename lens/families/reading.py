"""Readings of config attributes that several architectures share: sizes, activation, windows."""

from collections.abc import Callable
from typing import Any

from lens.families.attributes import Attributes

SAME_FUNCTION = {"gelu_pytorch_tanh": "gelu_new", "gelu_fast": "gelu_new", "swish": "silu"}


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


def uniform_windows(hf: Attributes) -> tuple[int | None, ...] | None:
    """As :func:`windows`, where the architecture's code gives every layer the window and reads no ``layer_types``.

    A file may carry them all the same; ValueError if they say something else than that code does.
    """
    n_layers, width = hf["num_hidden_layers"], hf.get("sliding_window")
    hf.only("layer_types", ["full_attention" if width is None else "sliding_attention"] * n_layers)
    return windows(hf, n_layers, is_local=lambda layer: True)


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
