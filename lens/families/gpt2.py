"""GPT-2, DistilGPT-2, Stanford CRFM: learned positions, LayerNorm, q, k and v packed, weights stored as ``x @ W``."""

from lens.config import Config
from lens.families.attributes import Attributes
from lens.families.family import Family
from lens.families.reading import activation


def read(hf: Attributes) -> Config:
    """GPT-2's config, DistilGPT-2's and Stanford CRFM's (scores divided by the layer's number as well)."""
    d_model, n_heads = hf["n_embd"], hf["n_head"]
    hf.only("add_cross_attention", False)
    hf.ignore("reorder_and_upcast_attn")  # a matter of precision only; attention here is always float32
    hf.ignore("n_ctx")  # an old name of n_positions
    hf.ignore("n_special", "predict_special_tokens")  # of an older code, which had no special tokens either
    return Config(
        n_layers=hf["n_layer"],
        n_heads=n_heads,
        d_model=d_model,
        d_head=d_model // n_heads,
        d_mlp=hf.get("n_inner", 4 * d_model),
        d_vocab=hf["vocab_size"],
        n_ctx=hf["n_positions"],
        norm_eps=hf.get("layer_norm_epsilon", 1e-5),
        act_fn=activation(hf, "activation_function", "gelu_new"),
        attn_scale=None if hf.get("scale_attn_weights", True) else 1.0,
        scale_by_layer=hf.get("scale_attn_by_inverse_layer_idx", False),
        tied=hf.get("tie_word_embeddings", True),
    )


GPT2 = Family(
    model_type="gpt2",
    read=read,
    prefixes=("transformer.",),
    weights={
        "embed.W_E": ("transformer.wte.weight", "d_vocab d_model -> d_vocab d_model"),
        "pos_embed.W_pos": ("transformer.wpe.weight", "n_ctx d_model -> n_ctx d_model"),
        "ln_final.w": ("transformer.ln_f.weight", "d_model -> d_model"),
        "ln_final.b": ("transformer.ln_f.bias", "d_model -> d_model"),
        "unembed.W_U": ("lm_head.weight", "d_vocab d_model -> d_model d_vocab"),
    },
    layer="transformer.h.{}",
    layer_weights={
        "ln1.w": ("ln_1.weight", "d_model -> d_model"),
        "ln1.b": ("ln_1.bias", "d_model -> d_model"),
        "attn.W_Q|attn.W_K|attn.W_V": (
            "attn.c_attn.weight",
            "d_model (head|head|head d_head) -> head|head|head d_model d_head",
        ),
        "attn.b_Q|attn.b_K|attn.b_V": ("attn.c_attn.bias", "(head|head|head d_head) -> head|head|head d_head"),
        "attn.W_O": ("attn.c_proj.weight", "(head d_head) d_model -> head d_head d_model"),
        "attn.b_O": ("attn.c_proj.bias", "d_model -> d_model"),
        "ln2.w": ("ln_2.weight", "d_model -> d_model"),
        "ln2.b": ("ln_2.bias", "d_model -> d_model"),
        "mlp.W_in": ("mlp.c_fc.weight", "d_model d_mlp -> d_model d_mlp"),
        "mlp.b_in": ("mlp.c_fc.bias", "d_mlp -> d_mlp"),
        "mlp.W_out": ("mlp.c_proj.weight", "d_mlp d_model -> d_mlp d_model"),
        "mlp.b_out": ("mlp.c_proj.bias", "d_model -> d_model"),
    },
    x_at_W=True,
    unused=(r"(transformer\.)?h\.\d+\.attn\.(masked_)?bias",),  # the causal mask, stored as a buffer
)
