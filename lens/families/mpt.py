"""MPT: linear biases instead of positions, LayerNorm without a bias, no biases anywhere."""

from lens.config import Config
from lens.families.attributes import Attributes
from lens.families.family import Family


def read(hf: Attributes) -> Config:
    """An MPT config. Only what transformers computes too: no learned positions, no q/k norm, no shared keys."""
    d_model, n_heads = hf["d_model"], hf["n_heads"]
    attention = Attributes({"model_type": "mpt"} | dict(hf.get("attn_config", {})), "attn_config")
    for name, value in (("alibi", True), ("qk_ln", False), ("prefix_lm", False), ("attn_uses_sequence_id", False)):
        attention.only(name, value)
    attention.only("attn_type", "multihead_attention")
    attention.only("alibi_bias_max", 8)
    attention.ignore("attn_impl")
    scale, clip = attention.get("softmax_scale"), attention.get("clip_qkv")
    hf.only("expansion_ratio", 4)
    hf.only("no_bias", True)
    hf.only("embedding_fraction", 1.0)
    hf.only("logit_scale")
    hf.only("norm_type", "low_precision_layernorm", "layernorm")
    hf.ignore("auto_map", "init_config", "init_device", "learned_pos_emb", "verbose")  # no positions beside alibi
    cfg = Config(
        n_layers=hf["n_layers"],
        n_heads=n_heads,
        d_model=d_model,
        d_head=d_model // n_heads,
        d_mlp=4 * d_model,
        d_vocab=hf["vocab_size"],
        n_ctx=hf["max_seq_len"],
        norm_eps=hf.get("layer_norm_epsilon", 1e-5),
        act_fn="gelu",
        positions="alibi",
        attn_scale=None if scale is None else 1 / scale,
        clip_qkv=clip or None,
        tied=hf.get("tie_word_embeddings", True),
    )
    attention.refuse_unread()
    return cfg


MPT = Family(
    model_type="mpt",
    read=read,
    prefixes=("transformer.",),
    weights={
        "embed.W_E": ("transformer.wte.weight", "d_vocab d_model -> d_vocab d_model"),
        "ln_final.w": ("transformer.norm_f.weight", "d_model -> d_model"),
        "unembed.W_U": ("lm_head.weight", "d_vocab d_model -> d_model d_vocab"),
    },
    layer="transformer.blocks.{}",
    layer_weights={
        "ln1.w": ("norm_1.weight", "d_model -> d_model"),
        "attn.W_Q|attn.W_K|attn.W_V": (
            "attn.Wqkv.weight",
            "(head|head|head d_head) d_model -> head|head|head d_model d_head",
        ),
        "attn.W_O": ("attn.out_proj.weight", "d_model (head d_head) -> head d_head d_model"),
        "ln2.w": ("norm_2.weight", "d_model -> d_model"),
        "mlp.W_in": ("ffn.up_proj.weight", "d_mlp d_model -> d_model d_mlp"),
        "mlp.W_out": ("ffn.down_proj.weight", "d_model d_mlp -> d_mlp d_model"),
    },
)
