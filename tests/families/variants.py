"""One tiny shaken model of every family and of every structure that its config can ask for."""

from collections.abc import Callable

import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests.helpers import LLAMA_SIZE, SIZES, shaken

GPTJ_SIZE = {"n_layer": 3, "n_head": 4, "n_embd": 32, "vocab_size": 113, "n_positions": 64, "rotary_dim": 4}
NEO_SIZE = {
    "num_layers": 3,
    "num_heads": 4,
    "hidden_size": 32,
    "vocab_size": 113,
    "max_position_embeddings": 64,
    "attention_types": [[["global", "local"], 1], [["local"], 1]],
    "window_size": 5,
}
SHORT_SIZE = {name: size for name, size in LLAMA_SIZE.items() if name != "intermediate_size"}
OPT_SIZE = {**SHORT_SIZE, "ffn_dim": 48, "word_embed_proj_dim": 32}
BLOOM_SIZE = {"n_layer": 3, "n_head": 4, "hidden_size": 32, "vocab_size": 113}
MPT_SIZE = {"n_layers": 3, "n_heads": 4, "d_model": 32, "vocab_size": 113, "max_seq_len": 64}
GEMMA_SIZE = {**LLAMA_SIZE, "num_key_value_heads": 2, "head_dim": 12}
LOCAL = {**GEMMA_SIZE, "sliding_window": 5, "query_pre_attn_scalar": 20}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 100.0,
    "short_factor": [1.0, 1.5, 2.0, 3.0],
    "long_factor": [2.0, 4.0, 8.0, 16.0],
}


def tiny(kind: str, size: dict, attention: str = "eager", **changes) -> Callable[[], PreTrainedModel]:
    """Builds the model of this config; only with "eager" attention does it return its patterns."""

    def make() -> PreTrainedModel:
        config = getattr(transformers, f"{kind}Config")(**{**size, **changes}, attn_implementation=attention)
        return shaken(AutoModelForCausalLM.from_config(config))

    return make


def tiny_gemma3_with_vision() -> PreTrainedModel:
    """A Gemma 3 that could also see."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 8,
        "patch_size": 4,
        "model_type": "siglip_vision_model",
    }
    text = {**LOCAL, "sliding_window_pattern": 2, "model_type": "gemma3_text"}
    tokens = {"image_token_index": 112, "boi_token_index": 111, "eoi_token_index": 110, "mm_tokens_per_image": 4}
    config = Gemma3Config(text_config=text, vision_config=vision, **tokens, attn_implementation="eager")
    torch.manual_seed(0)
    return shaken(Gemma3ForConditionalGeneration(config))


VARIANTS: dict[str, Callable[[], PreTrainedModel]] = {
    "gpt2": tiny("GPT2", SIZES["gpt2"]),
    "gpt2-inverse-layer": tiny("GPT2", SIZES["gpt2"], scale_attn_by_inverse_layer_idx=True),
    "gpt2-unscaled": tiny("GPT2", SIZES["gpt2"], scale_attn_weights=False),
    "gpt2-inner-relu": tiny("GPT2", SIZES["gpt2"], n_inner=40, activation_function="relu"),
    "gpt2-untied": tiny("GPT2", SIZES["gpt2"], tie_word_embeddings=False),
    "gpt-neo": tiny("GPTNeo", NEO_SIZE),
    "gpt-neo-global": tiny("GPTNeo", NEO_SIZE, attention_types=[[["global"], 3]], intermediate_size=40),
    "opt": tiny("OPT", OPT_SIZE),
    "opt-without-biases": tiny("OPT", OPT_SIZE, enable_bias=False),
    "gptj": tiny("GPTJ", GPTJ_SIZE),
    "gptj-tied": tiny("GPTJ", GPTJ_SIZE, tie_word_embeddings=True, n_inner=40),
    "gpt-neox": tiny("GPTNeoX", LLAMA_SIZE, rotary_pct=0.5),
    "gpt-neox-sequential": tiny("GPTNeoX", LLAMA_SIZE, use_parallel_residual=False, rotary_pct=1.0),
    "gpt-neox-no-bias-tied": tiny(
        "GPTNeoX", LLAMA_SIZE, attention_bias=False, tie_word_embeddings=True, hidden_act="gelu_fast"
    ),
    "bloom": tiny("Bloom", BLOOM_SIZE),
    "bloom-six-heads": tiny("Bloom", BLOOM_SIZE, n_head=6, hidden_size=36),
    "llama": tiny("Llama", LLAMA_SIZE),
    "llama-grouped": tiny("Llama", LLAMA_SIZE, num_key_value_heads=2),
    "llama-one-kv-head": tiny("Llama", LLAMA_SIZE, num_key_value_heads=1, rope_theta=500.0),
    "llama-wide-heads-tied": tiny("Llama", LLAMA_SIZE, num_key_value_heads=2, head_dim=12, tie_word_embeddings=True),
    "llama-biases": tiny("Llama", LLAMA_SIZE, num_key_value_heads=2, attention_bias=True, mlp_bias=True),
    "llama-3.1": tiny("Llama", LLAMA_SIZE, num_key_value_heads=2, rope_parameters=LLAMA3_ROPE),
    "llama-linear": tiny(
        "Llama", LLAMA_SIZE, rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 1e3}
    ),
    "mistral": tiny("Mistral", LLAMA_SIZE, num_key_value_heads=2, sliding_window=5),
    "mistral-without-window": tiny("Mistral", LLAMA_SIZE, num_key_value_heads=2, sliding_window=None),
    "qwen2": tiny("Qwen2", LLAMA_SIZE, num_key_value_heads=2, tie_word_embeddings=True),
    "qwen2-windows": tiny(
        "Qwen2", LLAMA_SIZE, num_key_value_heads=2, use_sliding_window=True, sliding_window=5, max_window_layers=1
    ),
    "qwen3": tiny("Qwen3", LLAMA_SIZE, num_key_value_heads=2, head_dim=12),
    "qwen3-biases": tiny("Qwen3", LLAMA_SIZE, num_key_value_heads=2, head_dim=8, attention_bias=True),
    "gemma": tiny("Gemma", GEMMA_SIZE),
    "gemma-biases-untied": tiny("Gemma", GEMMA_SIZE, attention_bias=True, tie_word_embeddings=False, hidden_act="gelu"),
    "gemma2": tiny("Gemma2", LOCAL, attn_logit_softcapping=2.0, final_logit_softcapping=3.0),
    "gemma2-without-caps": tiny("Gemma2", LOCAL, attn_logit_softcapping=None, final_logit_softcapping=None),
    "gemma3": tiny("Gemma3Text", LOCAL, sliding_window_pattern=2),
    "gemma3-scaled-capped": tiny(
        "Gemma3Text",
        LOCAL,
        layer_types=["full_attention", "sliding_attention", "full_attention"],
        final_logit_softcapping=3.0,
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
        },
    ),
    "gemma3-with-vision": tiny_gemma3_with_vision,
    "phi": tiny("Phi", LLAMA_SIZE, partial_rotary_factor=0.5),
    "phi-qk-norm-grouped": tiny("Phi", LLAMA_SIZE, qk_layernorm=True, num_key_value_heads=2),
    "phi3": tiny("Phi3", LLAMA_SIZE, num_key_value_heads=2, pad_token_id=0),
    "phi3-window": tiny("Phi3", LLAMA_SIZE, num_key_value_heads=2, pad_token_id=0, sliding_window=5),
    "phi3-longrope": tiny(
        "Phi3", LLAMA_SIZE, pad_token_id=0, original_max_position_embeddings=32, rope_parameters=LONGROPE
    ),
    "stablelm": tiny("StableLm", LLAMA_SIZE, num_key_value_heads=2, partial_rotary_factor=0.5),
    "stablelm-parallel": tiny(
        "StableLm",
        LLAMA_SIZE,
        num_key_value_heads=2,
        use_parallel_residual=True,
        qk_layernorm=True,
        use_qkv_bias=True,
    ),
    "falcon-7b": tiny("Falcon", SHORT_SIZE),
    "falcon-40b": tiny("Falcon", SHORT_SIZE, new_decoder_architecture=True, num_kv_heads=2),
    "falcon-11b": tiny(
        "Falcon",
        SHORT_SIZE,
        new_decoder_architecture=True,
        num_kv_heads=2,
        num_ln_in_parallel_attn=1,
        ffn_hidden_size=40,
        tie_word_embeddings=False,
    ),
    "falcon-rw": tiny(
        "Falcon",
        {**SHORT_SIZE, "num_attention_heads": 6, "hidden_size": 36},
        attention="sdpa",  # transformers 5.23 adds the biases twice in its eager path
        alibi=True,
        multi_query=False,
        parallel_attn=False,
        bias=True,
    ),
    "olmo": tiny("Olmo", LLAMA_SIZE, num_key_value_heads=2),
    "olmo-clip-biases": tiny("Olmo", LLAMA_SIZE, clip_qkv=0.8, attention_bias=True, tie_word_embeddings=True),
    "olmo2": tiny("Olmo2", LLAMA_SIZE, num_key_value_heads=2),
    "olmo2-biases": tiny("Olmo2", LLAMA_SIZE, num_key_value_heads=2, attention_bias=True),
    "mpt": tiny("Mpt", MPT_SIZE),
    "mpt-clip-six-heads": tiny(
        "Mpt",
        {**MPT_SIZE, "n_heads": 6, "d_model": 36},
        attn_config={"clip_qkv": 0.8, "softmax_scale": 0.3},
    ),
}
