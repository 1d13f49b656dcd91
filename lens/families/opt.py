"""OPT: learned positions that begin at row 2 of their table, LayerNorm, a plain MLP with ReLU."""

from lens.config import Config
from lens.families.attributes import Attributes
from lens.families.family import Family, Rows
from lens.families.reading import activation
from lens.families.rows import QKV, QKV_BIAS

OFFSET = 2  # rows of the position table that no position uses


def read(hf: Attributes) -> Config:
    """An OPT config. The 350m model, which normalises after each sum and projects its embedding, is refused."""
    d_model, n_heads = hf["hidden_size"], hf["num_attention_heads"]
    hf.only("do_layer_norm_before", True)
    hf.only("word_embed_proj_dim", d_model)
    hf.only("_remove_final_layer_norm", False)
    hf.only("layer_norm_elementwise_affine", True)
    return Config(
        n_layers=hf["num_hidden_layers"],
        n_heads=n_heads,
        d_model=d_model,
        d_head=d_model // n_heads,
        d_mlp=hf["ffn_dim"],
        d_vocab=hf["vocab_size"],
        n_ctx=hf["max_position_embeddings"],
        act_fn=activation(hf, "activation_function", "relu"),
        tied=hf.get("tie_word_embeddings", True),
    )


BIASES = QKV_BIAS | {
    "attn.b_O": ("self_attn.out_proj.bias", "d_model -> d_model"),
    "mlp.b_in": ("fc1.bias", "d_mlp -> d_mlp"),
    "mlp.b_out": ("fc2.bias", "d_model -> d_model"),
}


def biases(hf: Attributes) -> Rows:
    """Biases, unless the config leaves them out."""
    return BIASES if hf.get("enable_bias", True) else {}


OPT = Family(
    model_type="opt",
    read=read,
    prefixes=("model.",),
    weights={
        "embed.W_E": ("model.decoder.embed_tokens.weight", "d_vocab d_model -> d_vocab d_model"),
        "_|pos_embed.W_pos": (
            "model.decoder.embed_positions.weight",
            f"{OFFSET}|n_ctx d_model -> {OFFSET}|n_ctx d_model",
        ),
        "ln_final.w": ("model.decoder.final_layer_norm.weight", "d_model -> d_model"),
        "ln_final.b": ("model.decoder.final_layer_norm.bias", "d_model -> d_model"),
        "unembed.W_U": ("lm_head.weight", "d_vocab d_model -> d_model d_vocab"),
    },
    layer="model.decoder.layers.{}",
    layer_weights=QKV
    | {
        "ln1.w": ("self_attn_layer_norm.weight", "d_model -> d_model"),
        "ln1.b": ("self_attn_layer_norm.bias", "d_model -> d_model"),
        "attn.W_O": ("self_attn.out_proj.weight", "d_model (head d_head) -> head d_head d_model"),
        "ln2.w": ("final_layer_norm.weight", "d_model -> d_model"),
        "ln2.b": ("final_layer_norm.bias", "d_model -> d_model"),
        "mlp.W_in": ("fc1.weight", "d_mlp d_model -> d_model d_mlp"),
        "mlp.W_out": ("fc2.weight", "d_model d_mlp -> d_mlp d_model"),
    },
    variants=biases,
)
