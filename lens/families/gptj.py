"""GPT-J: rotary positions on adjacent pairs, attention and MLP in parallel behind one shared LayerNorm."""

from lens.config import Config
from lens.families.attributes import Attributes
from lens.families.family import Family
from lens.families.reading import activation


def read(hf: Attributes) -> Config:
    """A GPT-J config."""
    d_model, n_heads = hf["n_embd"], hf["n_head"]
    hf.only("scale_attn_weights", True)
    hf.only("rotary", True)
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
        parallel=True,
        positions="rotary",
        rotary_dim=hf["rotary_dim"],
        rotary_adjacent=True,
        tied=hf.get("tie_word_embeddings", False),
    )


GPTJ = Family(
    model_type="gptj",
    read=read,
    prefixes=("transformer.",),
    weights={
        "embed.W_E": ("transformer.wte.weight", "d_vocab d_model -> d_vocab d_model"),
        "ln_final.w": ("transformer.ln_f.weight", "d_model -> d_model"),
        "ln_final.b": ("transformer.ln_f.bias", "d_model -> d_model"),
        "unembed.W_U": ("lm_head.weight", "d_vocab d_model -> d_model d_vocab"),
        "unembed.b_U": ("lm_head.bias", "d_vocab -> d_vocab"),
    },
    layer="transformer.h.{}",
    layer_weights={
        "ln1.w+ln2.w": ("ln_1.weight", "d_model -> d_model"),
        "ln1.b+ln2.b": ("ln_1.bias", "d_model -> d_model"),
        "attn.W_Q": ("attn.q_proj.weight", "(head d_head) d_model -> head d_model d_head"),
        "attn.W_K": ("attn.k_proj.weight", "(head d_head) d_model -> head d_model d_head"),
        "attn.W_V": ("attn.v_proj.weight", "(head d_head) d_model -> head d_model d_head"),
        "attn.W_O": ("attn.out_proj.weight", "d_model (head d_head) -> head d_head d_model"),
        "mlp.W_in": ("mlp.fc_in.weight", "d_mlp d_model -> d_model d_mlp"),
        "mlp.b_in": ("mlp.fc_in.bias", "d_mlp -> d_mlp"),
        "mlp.W_out": ("mlp.fc_out.weight", "d_model d_mlp -> d_mlp d_model"),
        "mlp.b_out": ("mlp.fc_out.bias", "d_model -> d_model"),
    },
    unused=(r"(transformer\.)?h\.\d+\.attn\.(masked_)?bias",),  # the causal mask, stored as a buffer
)
