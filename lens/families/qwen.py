"""Qwen2 (biases on q, k and v) and Qwen3 (q and k normalised in each head): otherwise LLaMA."""

from lens.config import Config
from lens.families.attributes import Attributes
from lens.families.family import Family
from lens.families.llama import LLAMA
from lens.families.llama import read as read_llama
from lens.families.reading import windows
from lens.families.rows import ATTENTION_BIAS, QK_NORM, QKV_BIAS


def read(hf: Attributes, **more) -> Config:
    """A Qwen config. With ``use_sliding_window``, layers from ``max_window_layers`` on see a window."""
    hf.only("use_mrope", False)
    use, first = hf.get("use_sliding_window", False), hf.get("max_window_layers", 28)
    found = windows(hf, hf["num_hidden_layers"], is_local=lambda layer: layer >= first)
    return read_llama(hf, windows=found if use else None, **more)


QWEN2 = Family(
    model_type="qwen2",
    read=read,
    prefixes=LLAMA.prefixes,
    weights=LLAMA.weights,
    layer=LLAMA.layer,
    layer_weights=LLAMA.layer_weights | QKV_BIAS,
)
QWEN3 = Family(
    model_type="qwen3",
    read=lambda hf: read(hf, qk_norm="head"),
    prefixes=LLAMA.prefixes,
    weights=LLAMA.weights,
    layer=LLAMA.layer,
    layer_weights=LLAMA.layer_weights | QK_NORM,
    variants=lambda hf: ATTENTION_BIAS if hf.get("attention_bias", False) else {},
)
