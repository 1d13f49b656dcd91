"""BLOOM: linear biases instead of positions, LayerNorm after the embedding."""

from lens.config import Config
from lens.families.attributes import Attributes
from lens.families.family import Family


def read(hf: Attributes) -> Config:
    """A BLOOM config, in its older or newer spelling."""
    d_model = hf.get("hidden_size") or hf["n_embed"]
    n_heads = hf.get("n_head") or hf["num_attention_heads"]
    n_layers = hf.get("n_layer") or hf["num_hidden_layers"]
    hf.only("n_embed", d_model)
    hf.only("n_inner", 4 * d_model)
    hf.only("apply_residual_connection_post_layernorm", False)
    hf.ignore("pretraining_tp", "slow_but_exact", "attention_softmax_in_fp32", "bias_dropout_fusion", "offset_alibi")
    hf.ignore("skip_bias_add", "skip_bias_add_qkv", "masked_softmax_fusion", "hidden_size", "n_head", "n_layer")
    return Config(
        n_layers=n_layers,
        n_heads=n_heads,
        d_model=d_model,
        d_head=d_model // n_heads,
        d_mlp=4 * d_model,
        d_vocab=hf["vocab_size"],
        n_ctx=hf.get("seq_length", 2048),
        norm_eps=hf.get("layer_norm_epsilon", 1e-5),
        act_fn="gelu_new",
        embed_norm=True,
        positions="alibi",
        tied=hf.get("tie_word_embeddings", True),
    )


BLOOM = Family(
    model_type="bloom",
    read=read,
    prefixes=("transformer.",),
    weights={
        "embed.W_E": ("transformer.word_embeddings.weight", "d_vocab d_model -> d_vocab d_model"),
        "embed.ln.w": ("transformer.word_embeddings_layernorm.weight", "d_model -> d_model"),
        "embed.ln.b": ("transformer.word_embeddings_layernorm.bias", "d_model -> d_model"),
        "ln_final.w": ("transformer.ln_f.weight", "d_model -> d_model"),
        "ln_final.b": ("transformer.ln_f.bias", "d_model -> d_model"),
        "unembed.W_U": ("lm_head.weight", "d_vocab d_model -> d_model d_vocab"),
    },
    layer="transformer.h.{}",
    layer_weights={
        "ln1.w": ("input_layernorm.weight", "d_model -> d_model"),
        "ln1.b": ("input_layernorm.bias", "d_model -> d_model"),
        "attn.W_Q|attn.W_K|attn.W_V": (
            "self_attention.query_key_value.weight",
            "(head 1|1|1 d_head) d_model -> (head 1|1|1) d_model d_head",
        ),
        "attn.b_Q|attn.b_K|attn.b_V": (
            "self_attention.query_key_value.bias",
            "(head 1|1|1 d_head) -> (head 1|1|1) d_head",
        ),
        "attn.W_O": ("self_attention.dense.weight", "d_model (head d_head) -> head d_head d_model"),
        "attn.b_O": ("self_attention.dense.bias", "d_model -> d_model"),
        "ln2.w": ("post_attention_layernorm.weight", "d_model -> d_model"),
        "ln2.b": ("post_attention_layernorm.bias", "d_model -> d_model"),
        "mlp.W_in": ("mlp.dense_h_to_4h.weight", "d_mlp d_model -> d_model d_mlp"),
        "mlp.b_in": ("mlp.dense_h_to_4h.bias", "d_mlp -> d_mlp"),
        "mlp.W_out": ("mlp.dense_4h_to_h.weight", "d_model d_mlp -> d_mlp d_model"),
        "mlp.b_out": ("mlp.dense_4h_to_h.bias", "d_model -> d_model"),
    },
)
