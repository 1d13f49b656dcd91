"""GPT-Neo (and TinyStories): GPT-2 with unscaled attention, half of whose layers see only the last 256 tokens."""

from lens.config import Config
from lens.families.attributes import Attributes
from lens.families.family import Family
from lens.families.reading import activation


def read(hf: Attributes) -> Config:
    """A GPT-Neo config; ``attention_types`` says which layers are local."""
    d_model, n_heads, n_layers = hf["hidden_size"], hf["num_heads"], hf["num_layers"]
    listed = [kind for kinds, times in hf["attention_types"] for kind in list(kinds) * times]
    hf.only("attention_layers", listed)
    if len(listed) != n_layers or set(listed) - {"global", "local"}:
        raise ValueError(f"The config's attention_types are {listed}; wanted 'global' or 'local' {n_layers} times.")
    width = hf.get("window_size", 256)
    return Config(
        n_layers=n_layers,
        n_heads=n_heads,
        d_model=d_model,
        d_head=d_model // n_heads,
        d_mlp=hf.get("intermediate_size", 4 * d_model),
        d_vocab=hf["vocab_size"],
        n_ctx=hf["max_position_embeddings"],
        norm_eps=hf.get("layer_norm_epsilon", 1e-5),
        act_fn=activation(hf, "activation_function", "gelu_new"),
        attn_scale=1.0,
        windows=tuple(width if kind == "local" else None for kind in listed) if "local" in listed else None,
        tied=hf.get("tie_word_embeddings", True),
    )


GPT_NEO = Family(
    model_type="gpt_neo",
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
        "attn.W_Q": ("attn.attention.q_proj.weight", "(head d_head) d_model -> head d_model d_head"),
        "attn.W_K": ("attn.attention.k_proj.weight", "(head d_head) d_model -> head d_model d_head"),
        "attn.W_V": ("attn.attention.v_proj.weight", "(head d_head) d_model -> head d_model d_head"),
        "attn.W_O": ("attn.attention.out_proj.weight", "d_model (head d_head) -> head d_head d_model"),
        "attn.b_O": ("attn.attention.out_proj.bias", "d_model -> d_model"),
        "ln2.w": ("ln_2.weight", "d_model -> d_model"),
        "ln2.b": ("ln_2.bias", "d_model -> d_model"),
        "mlp.W_in": ("mlp.c_fc.weight", "d_mlp d_model -> d_model d_mlp"),
        "mlp.b_in": ("mlp.c_fc.bias", "d_mlp -> d_mlp"),
        "mlp.W_out": ("mlp.c_proj.weight", "d_model d_mlp -> d_mlp d_model"),
        "mlp.b_out": ("mlp.c_proj.bias", "d_model -> d_model"),
    },
    unused=(r"(transformer\.)?h\.\d+\.attn\.attention\.(masked_)?bias",),  # the mask, stored as a buffer
)
