"""GPT-NeoX 20B, Pythia, StableLM-alpha: partial rotary positions, attention and MLP in parallel, each with a norm."""

from lens.config import Config
from lens.families.attributes import Attributes
from lens.families.family import Family, Rows
from lens.families.reading import activation, rotary, sizes


def read(hf: Attributes) -> Config:
    """A GPT-NeoX config; blocks are sequential where ``use_parallel_residual`` is false."""
    found = sizes(hf)
    fraction, base = hf.get("rotary_pct", 0.25), hf.get("rotary_emb_base", 10_000.0)
    return Config(
        **found,
        **rotary(hf, found["d_head"], fraction=fraction, base=base),
        norm_eps=hf.get("layer_norm_eps", 1e-5),
        act_fn=activation(hf, "hidden_act", "gelu"),
        parallel=hf.get("use_parallel_residual", True),
    )


ATTENTION_BIAS = {
    "attn.b_Q|attn.b_K|attn.b_V": (
        "attention.query_key_value.bias",
        "(head 1|1|1 d_head) -> (head 1|1|1) d_head",
    ),
    "attn.b_O": ("attention.dense.bias", "d_model -> d_model"),
}


def biases(hf: Attributes) -> Rows:
    """Attention biases, unless the config leaves them out."""
    return ATTENTION_BIAS if hf.get("attention_bias", True) else {}


GPT_NEOX = Family(
    model_type="gpt_neox",
    read=read,
    prefixes=("gpt_neox.",),
    weights={
        "embed.W_E": ("gpt_neox.embed_in.weight", "d_vocab d_model -> d_vocab d_model"),
        "ln_final.w": ("gpt_neox.final_layer_norm.weight", "d_model -> d_model"),
        "ln_final.b": ("gpt_neox.final_layer_norm.bias", "d_model -> d_model"),
        "unembed.W_U": ("embed_out.weight or lm_head.weight", "d_vocab d_model -> d_model d_vocab"),
    },
    layer="gpt_neox.layers.{}",
    layer_weights={
        "ln1.w": ("input_layernorm.weight", "d_model -> d_model"),
        "ln1.b": ("input_layernorm.bias", "d_model -> d_model"),
        "attn.W_Q|attn.W_K|attn.W_V": (
            "attention.query_key_value.weight",
            "(head 1|1|1 d_head) d_model -> (head 1|1|1) d_model d_head",
        ),
        "attn.W_O": ("attention.dense.weight", "d_model (head d_head) -> head d_head d_model"),
        "ln2.w": ("post_attention_layernorm.weight", "d_model -> d_model"),
        "ln2.b": ("post_attention_layernorm.bias", "d_model -> d_model"),
        "mlp.W_in": ("mlp.dense_h_to_4h.weight", "d_mlp d_model -> d_model d_mlp"),
        "mlp.b_in": ("mlp.dense_h_to_4h.bias", "d_mlp -> d_mlp"),
        "mlp.W_out": ("mlp.dense_4h_to_h.weight", "d_model d_mlp -> d_mlp d_model"),
        "mlp.b_out": ("mlp.dense_4h_to_h.bias", "d_model -> d_model"),
    },
    variants=biases,
    unused=(r"(gpt_neox\.)?layers\.\d+\.attention\.(masked_)?bias",),  # the causal mask, stored as a buffer
)
