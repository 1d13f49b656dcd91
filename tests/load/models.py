"""Tiny models on disk: Hugging Face folders, and GGUF files written with llama.cpp's own writer."""

from pathlib import Path

import gguf
import numpy as np
import torch
from transformers import LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from tests.helpers import in_lens

SMOLLM_TOKENS = ["<|end|>", "<|start|>"]
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def save(model: PreTrainedModel, folder: Path, tokenizer: PreTrainedTokenizerBase | None = None, **how) -> Path:
    """``model`` as a Hugging Face folder."""
    model.save_pretrained(folder, **how)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return folder


def same_state(state: dict[str, torch.Tensor], model: PreTrainedModel, atol: float = 0.0) -> None:
    """Every tensor that was loaded is that of ``model`` in Lens, and there are no others."""
    want = in_lens(model).state_dict()
    assert state.keys() == want.keys()
    for name, tensor in want.items():
        torch.testing.assert_close(
            state[name], tensor, atol=atol, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
        )


def interleaved(rows: np.ndarray, n_heads: int) -> np.ndarray:
    """Rows of Q or K in the order of a GGUF: dimension i of a head's first half goes to 2i, of its second to 2i + 1."""
    d_head = len(rows) // n_heads
    out = np.empty_like(rows)
    for head in range(n_heads):
        for i in range(d_head // 2):
            out[head * d_head + 2 * i] = rows[head * d_head + i]
            out[head * d_head + 2 * i + 1] = rows[head * d_head + d_head // 2 + i]
    return out


def gguf_weights(model: LlamaForCausalLM) -> dict[str, np.ndarray]:
    """The model's tensors under their GGUF names, Q and K in the order of a GGUF."""
    theirs = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    cfg = model.config
    weights = {
        "token_embd.weight": theirs["model.embed_tokens.weight"],
        "output_norm.weight": theirs["model.norm.weight"],
    }
    if not cfg.tie_word_embeddings:
        weights["output.weight"] = theirs["lm_head.weight"]
    heads = {"attn_q": cfg.num_attention_heads, "attn_k": cfg.num_key_value_heads}
    for layer in range(cfg.num_hidden_layers):
        for ours, name in LAYER.items():
            values = theirs[f"model.layers.{layer}.{name}.weight"]
            weights[f"blk.{layer}.{ours}.weight"] = interleaved(values, heads[ours]) if ours in heads else values
    return weights


def byte_vocabulary() -> tuple[list[str], list[str]]:
    """Tokens and merges of a byte-level tokenizer: two control tokens, 256 bytes, a few merges."""
    from tokenizers.pre_tokenizers import ByteLevel

    merges = ["t h", "Ġ th", "h e", "Ġth e", "1 2"]
    return [*SMOLLM_TOKENS, *sorted(ByteLevel.alphabet()), *(merge.replace(" ", "") for merge in merges)], merges


def write_gguf(
    path: Path,
    model: LlamaForCausalLM,
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    changes: dict[str, np.ndarray | None] | None = None,
    architecture: str = "llama",
    pre: str = "smollm",
    extra: dict[str, int] | None = None,
) -> Path:
    """``model`` as a GGUF; ``changes`` replaces tensors (None leaves one out), ``extra`` adds whole-number fields."""
    cfg = model.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(cfg.num_hidden_layers)
    writer.add_context_length(cfg.max_position_embeddings)
    writer.add_embedding_length(cfg.hidden_size)
    writer.add_feed_forward_length(cfg.intermediate_size)
    writer.add_head_count(cfg.num_attention_heads)
    writer.add_head_count_kv(cfg.num_key_value_heads)
    writer.add_layer_norm_rms_eps(cfg.rms_norm_eps)
    writer.add_rope_freq_base(cfg.rope_parameters["rope_theta"])
    writer.add_vocab_size(cfg.vocab_size)
    for name, value in (extra or {}).items():
        writer.add_uint32(name, value)
    tokens, merges = byte_vocabulary()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in SMOLLM_TOKENS else 1 for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(0)
    for name, values in (gguf_weights(model) | (changes or {})).items():
        if values is None:
            continue
        this = kind if values.ndim > 1 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quantize(values, this), raw_dtype=this)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
