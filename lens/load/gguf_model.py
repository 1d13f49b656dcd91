"""A GGUF model in the terms of Hugging Face: config, and tensors under their names, dequantised one at a time."""

from collections.abc import Iterator
from typing import Any

import gguf
import numpy as np

from lens.load.gguf import GGUFFile, Packed

ARCHITECTURE = "llama"
NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
LAYER_NAMES = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}


class _Fields:
    """The ``llama.`` fields of a file, which remembers what was read: what nobody read may change the numbers."""

    def __init__(self, file: GGUFFile):
        prefix = f"{ARCHITECTURE}."
        self.path = file.path
        self.values = {name.removeprefix(prefix): v for name, v in file.fields.items() if name.startswith(prefix)}
        self.read: set[str] = set()

    def number(self, name: str, default: float | None = None) -> Any:
        """A positive number; ``default`` where the file leaves it out."""
        self.read.add(name)
        value = self.values.get(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
            raise ValueError(f"{self.path}: {ARCHITECTURE}.{name} is {value!r}; one positive number was wanted.")
        return value

    def refuse_unread(self) -> None:
        """ValueError naming the fields that nobody read."""
        unread = sorted(set(self.values) - self.read)
        if unread:
            raise ValueError(
                f"{self.path} sets {', '.join(f'{ARCHITECTURE}.{name}' for name in unread)}, which Lens does not know. "
                "It is refused because the numbers could be wrong."
            )


def hf_config(file: GGUFFile) -> dict[str, Any]:
    """The config.json of the model; ValueError names an architecture or a setting that Lens does not compute."""
    architecture = file.fields.get("general.architecture")
    if architecture != ARCHITECTURE:
        raise ValueError(f"{file.path} is a GGUF of architecture {architecture!r}; Lens reads {ARCHITECTURE!r} ones.")
    fields = _Fields(file)
    n_heads, d_model = fields.number("attention.head_count"), fields.number("embedding_length")
    d_head = fields.number("attention.key_length", d_model // n_heads)
    for name in ("attention.value_length", "rope.dimension_count"):
        if fields.number(name, d_head) != d_head:
            raise ValueError(f"{file.path}: llama.{name} is not the head size {d_head}; Lens computes only equal ones.")
    if "token_embd.weight" not in file.tensors:
        raise ValueError(f"{file.path} has no token_embd.weight; it holds no whole model.")
    d_vocab = file.tensors["token_embd.weight"].shape[0]
    if fields.number("vocab_size", d_vocab) != d_vocab:
        raise ValueError(f"{file.path} is damaged: llama.vocab_size is not the {d_vocab} rows of token_embd.weight.")
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": fields.number("block_count"),
        "num_attention_heads": n_heads,
        "num_key_value_heads": fields.number("attention.head_count_kv", n_heads),
        "head_dim": d_head,
        "hidden_size": d_model,
        "intermediate_size": fields.number("feed_forward_length"),
        "hidden_act": "silu",
        "max_position_embeddings": fields.number("context_length"),
        "vocab_size": d_vocab,
        "rms_norm_eps": _decimal(fields.number("attention.layer_norm_rms_epsilon")),
        "rope_theta": _decimal(fields.number("rope.freq_base", 10_000.0)),
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "dtype": "float32",
    }
    fields.refuse_unread()
    for name in ("bos", "eos"):
        config[f"{name}_token_id"] = file.fields.get(f"tokenizer.ggml.{name}_token_id")
    return config


def _decimal(value: float) -> float:
    """The number that was meant: GGUF keeps 1e-5 in 32 bits, which reads back as 9.99999974e-06."""
    return float(str(np.float32(value)))


def _shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every tensor that a model of this config has, by its name in the GGUF, in the order of computation."""
    d_model, d_mlp, d_head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    q, kv = config["num_attention_heads"] * d_head, config["num_key_value_heads"] * d_head
    layer = {
        "attn_norm.weight": (d_model,),
        "attn_q.weight": (q, d_model),
        "attn_k.weight": (kv, d_model),
        "attn_v.weight": (kv, d_model),
        "attn_output.weight": (d_model, q),
        "ffn_norm.weight": (d_model,),
        "ffn_gate.weight": (d_mlp, d_model),
        "ffn_up.weight": (d_mlp, d_model),
        "ffn_down.weight": (d_model, d_mlp),
    }
    layers = range(config["num_hidden_layers"])
    blocks = {f"blk.{index}.{name}": shape for index in layers for name, shape in layer.items()}
    head = {} if config["tie_word_embeddings"] else {"output.weight": (config["vocab_size"], d_model)}
    return {"token_embd.weight": (config["vocab_size"], d_model), **blocks, "output_norm.weight": (d_model,), **head}


def hf_tensors(file: GGUFFile, config: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Name and float32 values of every tensor. All names and shapes are checked before the first is given."""
    shapes = _shapes(config)
    missing, extra = sorted(shapes.keys() - file.tensors.keys()), sorted(file.tensors.keys() - shapes.keys())
    if missing or extra:
        raise ValueError(
            f"{file.path} is no plain llama model: missing {', '.join(missing[:3]) or 'nothing'}, "
            f"not known to Lens {', '.join(extra[:3]) or 'nothing'}."
        )
    for name, shape in shapes.items():
        if file.tensors[name].shape != shape:
            raise ValueError(f"{file.path}: {name} has shape {list(file.tensors[name].shape)}; wanted {list(shape)}.")
    heads = {"attn_q.weight": config["num_attention_heads"], "attn_k.weight": config["num_key_value_heads"]}
    return ((_hf_name(name), _values(file, name, heads)) for name in shapes)


def _hf_name(name: str) -> str:
    if name in NAMES:
        return NAMES[name]
    _, index, rest = name.split(".", 2)
    return f"model.layers.{index}.{LAYER_NAMES[rest]}"


def _values(file: GGUFFile, name: str, heads: dict[str, int]) -> np.ndarray:
    values = dequantise(file.tensors[name])
    if not np.isfinite(values).all():
        raise ValueError(f"{file.path} is damaged: {name} holds infinite or undefined numbers.")
    n_heads = heads.get(name.split(".", 2)[-1])
    return values if n_heads is None else half_split(values, n_heads)


def dequantise(packed: Packed) -> np.ndarray:
    """The numbers of one tensor in float32."""
    try:
        return gguf.dequantize(packed.data, packed.type)
    except NotImplementedError as error:
        raise ValueError(f"Numbers in the GGUF format {packed.type.name} cannot be read ({error}).") from error


def half_split(rows: np.ndarray, n_heads: int) -> np.ndarray:
    """Rows of a Q or K projection, [head * d_head, d_model], in the order that half-split rotary positions want.

    A GGUF keeps the two dimensions of a rotary pair next to each other; Hugging Face keeps them d_head / 2 apart.
    """
    _, d_model = rows.shape
    return rows.reshape(n_heads, -1, 2, d_model).swapaxes(1, 2).reshape(rows.shape)


def precision_note(file: GGUFFile) -> str:
    """A sentence on what quantisation did to the weights; empty if nothing."""
    exact = {"F32", "F16", "BF16"}
    matrices = {packed.type.name for packed in file.tensors.values() if len(packed.shape) > 1}
    lossy = sorted(matrices - exact)
    return (
        f"Dequantised from {' and '.join(lossy)}: its numbers are not those of the original weights." if lossy else ""
    )
