"""Phi: partial rotary positions, attention and MLP in parallel behind one shared LayerNorm, biases throughout."""

from lens.config import Config
from lens.families.attributes import Attributes
from lens.families.family import Family, Rows
from lens.families.reading import activation, rotary, sizes
from lens.families.rows import QKV, QKV_BIAS


def read(hf: Attributes) -> Config:
    """A config of Phi-1, 1.5 or 2."""
    found = sizes(hf)
    hf.ignore("auto_map")  # old code in the repository, never run
    return Config(
        **found,
        **rotary(hf, found["d_head"], fraction=0.5),
        norm_eps=hf.get("layer_norm_eps", 1e-5),
        act_fn=activation(hf, "hidden_act", "gelu_new"),
        parallel=True,
        qk_norm="head" if hf.get("qk_layernorm", False) else None,
    )


QK_NORM = {
    "attn.q_norm.w": ("self_attn.q_layernorm.weight", "d_head -> head d_head"),
    "attn.q_norm.b": ("self_attn.q_layernorm.bias", "d_head -> head d_head"),
    "attn.k_norm.w": ("self_attn.k_layernorm.weight", "d_head -> kv_head d_head"),
    "attn.k_norm.b": ("self_attn.k_layernorm.bias", "d_head -> kv_head d_head"),
}


def qk_norm(hf: Attributes) -> Rows:
    """Norms of q and k, where the config has them."""
    return QK_NORM if hf.get("qk_layernorm", False) else {}


PHI = Family(
    model_type="phi",
    read=read,
    prefixes=("model.",),
    weights={
        "embed.W_E": ("model.embed_tokens.weight", "d_vocab d_model -> d_vocab d_model"),
        "ln_final.w": ("model.final_layernorm.weight", "d_model -> d_model"),
        "ln_final.b": ("model.final_layernorm.bias", "d_model -> d_model"),
        "unembed.W_U": ("lm_head.weight", "d_vocab d_model -> d_model d_vocab"),
        "unembed.b_U": ("lm_head.bias", "d_vocab -> d_vocab"),
    },
    layer="model.layers.{}",
    layer_weights=QKV
    | QKV_BIAS
    | {
        "ln1.w+ln2.w": ("input_layernorm.weight", "d_model -> d_model"),
        "ln1.b+ln2.b": ("input_layernorm.bias", "d_model -> d_model"),
        "attn.W_O": ("self_attn.dense.weight", "d_model (head d_head) -> head d_head d_model"),
        "attn.b_O": ("self_attn.dense.bias", "d_model -> d_model"),
        "mlp.W_in": ("mlp.fc1.weight", "d_mlp d_model -> d_model d_mlp"),
        "mlp.b_in": ("mlp.fc1.bias", "d_mlp -> d_mlp"),
        "mlp.W_out": ("mlp.fc2.weight", "d_model d_mlp -> d_mlp d_model"),
        "mlp.b_out": ("mlp.fc2.bias", "d_model -> d_model"),
    },
    variants=qk_norm,
)
