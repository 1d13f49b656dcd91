"""A GGUF model in the terms of Hugging Face: config, and tensors under their names, dequantised one at a time."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import gguf
import numpy as np

from lens.families import Family, family_of
from lens.load.gguf import GGUFFile, Packed
from lens.load.gguf_fields import Fields, gemma, gemma2, gemma3, gpt2, gpt_neox, llama, phi3, qwen

FREQS = "rope_freqs.weight"  # divisors of the rotary frequencies, where they are not all one
LONG, SHORT = "rope_factors_long.weight", "rope_factors_short.weight"  # the same for long and for short texts
K = gguf.GGMLQuantizationType
FORMATS = (K.F32, K.F16, K.BF16, K.Q8_0, K.Q4_0, K.Q4_1, K.Q5_0, K.Q5_1, K.Q4_K, K.Q5_K, K.Q6_K)
Undo = Callable[[np.ndarray, dict[str, Any]], np.ndarray]


class Architecture(NamedTuple):
    """One architecture as llama.cpp writes it.

    ``read`` makes the fields of config.json out of the file's. ``undo``: pattern of names in Hugging Face's files →
    what takes back a change that llama.cpp's converter made to these tensors.
    """

    model_type: str
    class_name: str
    read: Callable[[Fields], dict[str, Any]]
    undo: dict[str, Undo] = {}  # read only


def half_split(rows: np.ndarray, config: dict[str, Any], heads: str = "num_attention_heads") -> np.ndarray:
    """Rows of a Q or K projection, [head * d_head, …], in the order that half-split rotary positions want.

    A llama GGUF keeps the two dimensions of a rotary pair next to each other; Hugging Face keeps them d_head / 2 apart.
    """
    pairs = rows.reshape(config[heads], -1, 2, *rows.shape[1:])
    return pairs.swapaxes(1, 2).reshape(rows.shape)


def minus_one(gain: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """Gains that the file keeps as they act and Hugging Face as what they are more than one."""
    return gain - 1


def turned(matrix: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """[out, in] as [in, out]."""
    return matrix.T


def by_head(rows: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """All queries, then all keys, then all values, as the three of each head together."""
    parts = rows.reshape(3, config["num_attention_heads"], -1, *rows.shape[1:])
    return parts.swapaxes(0, 1).reshape(rows.shape)


LLAMA_UNDO: dict[str, Undo] = {
    r".*\.q_proj\.(weight|bias)": half_split,
    r".*\.k_proj\.(weight|bias)": partial(half_split, heads="num_key_value_heads"),
}
GEMMA_UNDO: dict[str, Undo] = {r".*norm\.weight": minus_one}
ARCHITECTURES = {
    "llama": Architecture("llama", "LlamaForCausalLM", llama, LLAMA_UNDO),
    "qwen2": Architecture("qwen2", "Qwen2ForCausalLM", qwen),
    "qwen3": Architecture("qwen3", "Qwen3ForCausalLM", qwen),
    "gemma": Architecture("gemma", "GemmaForCausalLM", gemma, GEMMA_UNDO),
    "gemma2": Architecture("gemma2", "Gemma2ForCausalLM", gemma2, GEMMA_UNDO),
    "gemma3": Architecture("gemma3_text", "Gemma3ForCausalLM", gemma3, GEMMA_UNDO),
    "phi3": Architecture("phi3", "Phi3ForCausalLM", phi3),
    "gpt2": Architecture("gpt2", "GPT2LMHeadModel", gpt2, {r".*\.(c_attn|c_proj|c_fc)\.weight": turned}),
    "gptneox": Architecture("gpt_neox", "GPTNeoXForCausalLM", gpt_neox, {r".*\.query_key_value\..*": by_head}),
}


def architecture_of(file: GGUFFile) -> Architecture:
    """How this file's architecture is read; ValueError names one that Lens does not read."""
    name = file.fields.get("general.architecture")
    if name not in ARCHITECTURES:
        raise ValueError(
            f"{file.path} is a GGUF of architecture {name!r}; Lens reads {', '.join(map(repr, ARCHITECTURES))}."
        )
    return ARCHITECTURES[name]


def hf_config(file: GGUFFile) -> dict[str, Any]:
    """The config.json of the model; ValueError names an architecture or a setting that Lens does not compute."""
    architecture = architecture_of(file)
    fields = Fields(file.path, file.fields["general.architecture"], file.fields)
    if "token_embd.weight" not in file.tensors:
        raise ValueError(f"{file.path} has no token_embd.weight; it holds no whole model.")
    d_vocab = file.tensors["token_embd.weight"].shape[0]
    if fields.number("vocab_size", d_vocab) != d_vocab:
        raise ValueError(
            f"{file.path} is damaged: {fields.prefix}vocab_size is not the {d_vocab} rows of token_embd.weight."
        )
    config = {
        "model_type": architecture.model_type,
        "architectures": [architecture.class_name],
        "vocab_size": d_vocab,
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "dtype": "float32",
        **architecture.read(fields),
        **_divisors(file, fields),
    }
    if "blk.0.attn_output.bias" in file.tensors and architecture.model_type == "llama":
        config["attention_bias"] = True
    fields.refuse_unread()
    for name in ("bos", "eos"):
        config[f"{name}_token_id"] = file.fields.get(f"tokenizer.ggml.{name}_token_id")
    return config


def _divisors(file: GGUFFile, fields: Fields) -> dict[str, Any]:
    """Rotary frequencies that the file divides one by one, as Hugging Face's "longrope" says such a thing."""
    if LONG in file.tensors and SHORT in file.tensors:
        short, long = (_row(file, name) for name in (SHORT, LONG))
        before = fields.number("rope.scaling.original_context_length")
        gain = fields.number("rope.scaling.attn_factor", 1.0)
    elif FREQS in file.tensors and any(value != 1 for value in _row(file, FREQS)):
        short = long = _row(file, FREQS)
        before, gain = fields.number("context_length"), 1.0
    elif {LONG, SHORT} & file.tensors.keys() or fields.values.get("rope.scaling.type") == "longrope":
        raise ValueError(f"{file.path} has 'longrope' rotary positions, but not both {LONG} and {SHORT}.")
    else:
        return {}
    scaled = fields.number("rope.scaling.factor", fields.optional("rope.scale_linear") or 1.0) != 1
    if scaled and fields.values.get("rope.scaling.type", "linear") not in ("none", "longrope"):
        raise ValueError(f"{file.path} scales its rotary positions twice, by a rule and one by one; Lens reads either.")
    rope = {"rope_type": "longrope", "short_factor": short, "long_factor": long, "attention_factor": gain}
    return {"rope_scaling": rope, "original_max_position_embeddings": before}


def _row(file: GGUFFile, name: str) -> list[float]:
    return [float(value) for value in _numbers(file, name)]


def hf_tensors(file: GGUFFile, config: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Name and float32 values of every tensor. All names and shapes are checked before the first is given."""
    architecture, family = architecture_of(file), family_of(config)
    named = _named(file, family, config)
    extra = sorted(file.tensors.keys() - set(named.values()) - {FREQS, LONG, SHORT})
    missing = sorted(set(named.values()) - file.tensors.keys())
    if missing or extra:
        raise ValueError(
            f"{file.path} is no plain {file.fields['general.architecture']} model: missing "
            f"{', '.join(missing[:3]) or 'nothing'}, not known to Lens {', '.join(extra[:3]) or 'nothing'}."
        )
    shapes = family.shapes(family.config(config))
    for theirs, name in named.items():
        undo, found = _undo(architecture, theirs), file.tensors[name]
        wanted = shapes[theirs][::-1] if undo is turned else shapes[theirs]
        if found.shape != wanted:
            raise ValueError(f"{file.path}: {name} has shape {list(found.shape)}; wanted {list(wanted)}.")
        if found.type not in FORMATS:
            raise ValueError(
                f"{file.path}: {name} is in the GGUF format {found.type.name}; "
                f"Lens reads {', '.join(one.name for one in FORMATS)}."
            )
    return ((theirs, _undo(architecture, theirs)(_numbers(file, name), config)) for theirs, name in named.items())


def _named(file: GGUFFile, family: Family, config: dict[str, Any]) -> dict[str, str]:
    """Every tensor of the model: Hugging Face's name → llama.cpp's, by the table of its own package."""
    cfg = family.config(config)
    kind = next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == file.fields["general.architecture"])
    table = gguf.get_tensor_name_map(kind, cfg.n_layers)
    parts = [(name, *name.rsplit(".", 1)) for name in family.shapes(cfg)]
    return {name: f"{table.get_name(stem) or 'output'}.{ending}" for name, stem, ending in parts}  # Gemma's has no head


def _undo(architecture: Architecture, theirs: str) -> Undo:
    return next((undo for pattern, undo in architecture.undo.items() if re.fullmatch(pattern, theirs)), _as_it_is)


def _as_it_is(values: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    return values


def _numbers(file: GGUFFile, name: str) -> np.ndarray:
    values = dequantise(file.tensors[name])
    if not np.isfinite(values).all():
        raise ValueError(f"{file.path} is damaged: {name} holds infinite or undefined numbers.")
    return values


def dequantise(packed: Packed) -> np.ndarray:
    """The numbers of one tensor in float32."""
    return gguf.dequantize(packed.data, packed.type)


def precision_note(file: GGUFFile) -> str:
    """A sentence on what quantisation did to the weights; empty if nothing."""
    exact = {"F32", "F16", "BF16"}
    matrices = {packed.type.name for packed in file.tensors.values() if len(packed.shape) > 1}
    lossy = sorted(matrices - exact)
    return (
        f"Dequantised from {' and '.join(lossy)}: its numbers are not those of the original weights." if lossy else ""
    )
