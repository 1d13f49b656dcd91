"""LLaMA and its likes (SmolLM2, TinyLlama): RMSNorm, rotary positions, grouped keys and values, gated MLP."""

from lens.config import Config
from lens.families.family import Attributes, Family


def rotary_base(hf: Attributes) -> float:
    """Base of the rotary angles, from either spelling of the file; a scaled rotary embedding is refused by name."""
    parameters = hf.get("rope_parameters", {}) | hf.get("rope_scaling", {})
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if kind != "default":
        raise ValueError(
            f"The config scales its rotary positions ({kind!r}); Lens computes only unscaled ones in this family."
        )
    return float(parameters.get("rope_theta", hf.get("rope_theta", 10_000.0)))


def read(hf: Attributes) -> Config:
    """A LLaMA config; grouped keys and values and a head size of its own are allowed."""
    d_model, n_heads = hf["hidden_size"], hf["num_attention_heads"]
    hf.only("attention_bias", False)
    hf.only("mlp_bias", False)
    hf.only("rope_interleaved", False)
    hf.get("pretraining_tp")  # a way of computing the same product in slices
    hf.get("is_llama_config")
    return Config(
        n_layers=hf["num_hidden_layers"],
        n_heads=n_heads,
        n_kv_heads=hf.get("num_key_value_heads", n_heads),
        d_model=d_model,
        d_head=hf.get("head_dim", d_model // n_heads),
        d_mlp=hf["intermediate_size"],
        d_vocab=hf["vocab_size"],
        n_ctx=hf["max_position_embeddings"],
        norm="RMS",
        norm_eps=hf.get("rms_norm_eps", 1e-6),
        act_fn=hf.get("hidden_act", "silu"),
        gated_mlp=True,
        positions="rotary",
        rotary_base=rotary_base(hf),
        tied=hf.get("tie_word_embeddings", False),
    )


LLAMA = Family(
    model_type="llama",
    read=read,
    prefixes=("model.",),
    weights={
        "embed.W_E": ("model.embed_tokens.weight", "d_vocab d_model -> d_vocab d_model"),
        "ln_final.w": ("model.norm.weight", "d_model -> d_model"),
        "unembed.W_U": ("lm_head.weight", "d_vocab d_model -> d_model d_vocab"),
    },
    layer="model.layers.{}",
    layer_weights={
        "ln1.w": ("input_layernorm.weight", "d_model -> d_model"),
        "attn.W_Q": ("self_attn.q_proj.weight", "(head d_head) d_model -> head d_model d_head"),
        "attn.W_K": ("self_attn.k_proj.weight", "(kv_head d_head) d_model -> kv_head d_model d_head"),
        "attn.W_V": ("self_attn.v_proj.weight", "(kv_head d_head) d_model -> kv_head d_model d_head"),
        "attn.W_O": ("self_attn.o_proj.weight", "d_model (head d_head) -> head d_head d_model"),
        "ln2.w": ("post_attention_layernorm.weight", "d_model -> d_model"),
        "mlp.W_in": ("mlp.up_proj.weight", "d_mlp d_model -> d_model d_mlp"),
        "mlp.W_gate": ("mlp.gate_proj.weight", "d_mlp d_model -> d_model d_mlp"),
        "mlp.W_out": ("mlp.down_proj.weight", "d_model d_mlp -> d_mlp d_model"),
    },
    zeros={
        "blocks.{}.attn.b_Q": "head d_head",
        "blocks.{}.attn.b_K": "kv_head d_head",
        "blocks.{}.attn.b_V": "kv_head d_head",
        "blocks.{}.attn.b_O": "d_model",
        "blocks.{}.mlp.b_in": "d_mlp",
        "blocks.{}.mlp.b_gate": "d_mlp",
        "blocks.{}.mlp.b_out": "d_model",
        "unembed.b_U": "d_vocab",
    },
    unused=(r".*rotary_emb\.inv_freq",),
)
