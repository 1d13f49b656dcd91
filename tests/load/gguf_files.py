"""GGUF files of every architecture, written from models of transformers with llama.cpp's own writer.

What llama.cpp's converter does to tensors on the way is done here by hand, a head and a row at a time.
"""

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
from transformers import PreTrainedModel

from tests.load.models import SMOLLM_TOKENS, byte_vocabulary, interleaved

F32 = gguf.GGMLQuantizationType.F32
Change = Callable[[np.ndarray, object], np.ndarray]


def stacked(rows: np.ndarray, config) -> np.ndarray:
    """Query, key and value of each head in turn → all queries, all keys, all values."""
    d_head, parts = len(rows) // config.num_attention_heads // 3, []
    for which in range(3):
        for head in range(config.num_attention_heads):
            start = (3 * head + which) * d_head
            parts.append(rows[start : start + d_head])
    return np.concatenate(parts)


DONE: dict[str, dict[str, Change]] = {  # architecture → ending of a name → what the converter does to such a tensor
    "llama": {
        "q_proj.weight": lambda x, c: interleaved(x, c.num_attention_heads),
        "k_proj.weight": lambda x, c: interleaved(x, c.num_key_value_heads),
        "q_proj.bias": lambda x, c: interleaved(x[:, None], c.num_attention_heads)[:, 0],
        "k_proj.bias": lambda x, c: interleaved(x[:, None], c.num_key_value_heads)[:, 0],
    },
    "gemma": {"norm.weight": lambda x, c: x + 1},
    "gemma2": {"norm.weight": lambda x, c: x + 1},
    "gemma3": {"norm.weight": lambda x, c: x + 1},
    "gpt2": dict.fromkeys(("c_attn.weight", "c_proj.weight", "c_fc.weight"), lambda x, c: x.T),
    "gptneox": {"query_key_value.weight": stacked, "query_key_value.bias": stacked},
}


def tensors_of(hf: PreTrainedModel, architecture: str) -> dict[str, np.ndarray]:
    """The model's tensors as llama.cpp's converter writes them."""
    kind = next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    table, found = gguf.get_tensor_name_map(kind, hf.config.num_hidden_layers), {}
    for name, tensor in hf.state_dict().items():
        stem, ending = name.rsplit(".", 1)
        if stem in ("lm_head", "embed_out") and hf.config.tie_word_embeddings:
            continue
        changes = DONE.get(architecture, {})
        change = next((one for end, one in changes.items() if name.endswith(end)), lambda x, c: x)
        found[f"{table.get_name(stem) or 'output'}.{ending}"] = change(tensor.detach().numpy(), hf.config)
    return found


def add_sizes(writer: gguf.GGUFWriter, config) -> None:
    """The settings that every architecture has, then its own."""
    kind = writer.arch
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    if kind in ("gpt2", "gptneox"):
        writer.add_layer_norm_eps(config.layer_norm_epsilon if kind == "gpt2" else config.layer_norm_eps)
        writer.add_feed_forward_length(4 * config.hidden_size if kind == "gpt2" else config.intermediate_size)
    else:
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count_kv(config.num_key_value_heads)
    d_head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if kind in ("qwen3", "gemma", "gemma2", "gemma3"):
        writer.add_key_length(d_head)
        writer.add_value_length(d_head)
    if kind != "gpt2":
        rope = config.rope_parameters.get("full_attention", config.rope_parameters)
        writer.add_rope_freq_base(rope["rope_theta"])
    if kind in ("llama", "phi3", "gptneox"):
        writer.add_rope_dimension_count(int(d_head * config.rope_parameters.get("partial_rotary_factor", 1.0)))
    if kind in ("llama", "gemma3", "qwen2"):
        writer.add_vocab_size(config.vocab_size)
    if kind == "gptneox":
        writer.add_parallel_residual(config.use_parallel_residual)
    if kind in ("gemma2", "gemma3", "phi3") and config.sliding_window:
        writer.add_sliding_window(config.sliding_window)
    if kind == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)


def add_byte_level(writer: gguf.GGUFWriter, pre: str | None = "gpt-2") -> None:
    """A small byte-level vocabulary of 263 tokens."""
    tokens, merges = byte_vocabulary()
    writer.add_tokenizer_model("gpt2")
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in SMOLLM_TOKENS else 1 for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(0)


def write(
    path: Path,
    hf: PreTrainedModel,
    architecture: str,
    add: Callable[[gguf.GGUFWriter], None] = lambda writer: None,
    changes: dict[str, np.ndarray | None] | None = None,
    vocabulary: Callable[[gguf.GGUFWriter], None] = add_byte_level,
    kind: gguf.GGMLQuantizationType = F32,
) -> Path:
    """``hf`` as a GGUF. ``add``: further settings; ``changes``: tensors in place of its own, None leaves one out."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    add_sizes(writer, hf.config)
    add(writer)
    vocabulary(writer)
    for name, values in (tensors_of(hf, architecture) | (changes or {})).items():
        if values is not None:
            this = kind if values.ndim > 1 else F32
            writer.add_tensor(name, gguf.quantize(np.ascontiguousarray(values), this), raw_dtype=this)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
