"""StableLM (3B, Zephyr, 2): LayerNorm, gated MLP, partial rotary positions, optionally parallel and with q/k norms."""

from lens.config import Config
from lens.families.attributes import Attributes
from lens.families.family import Family, Rows
from lens.families.reading import activation, rotary, sizes
from lens.families.rows import ATTENTION, EMBED, GATED_MLP, PRE_NORMS, QKV_BIAS


def read(hf: Attributes) -> Config:
    """A StableLM config."""
    found = sizes(hf)
    hf.ignore("auto_map")  # old code in the repository, never run
    return Config(
        **found,
        **rotary(hf, found["d_head"], fraction=0.25),
        norm_eps=hf.get("layer_norm_eps", 1e-5),
        act_fn=activation(hf, "hidden_act", "silu"),
        gated_mlp=True,
        parallel=hf.get("use_parallel_residual", False),
        qk_norm="head" if hf.get("qk_layernorm", False) else None,
    )


SHARED_NORM = {
    "ln1.w+ln2.w": ("input_layernorm.weight", "d_model -> d_model"),
    "ln1.b+ln2.b": ("input_layernorm.bias", "d_model -> d_model"),
}
TWO_NORMS = PRE_NORMS | {
    "ln1.b": ("input_layernorm.bias", "d_model -> d_model"),
    "ln2.b": ("post_attention_layernorm.bias", "d_model -> d_model"),
}
# Unlike elsewhere, every head has gains of its own.
QK_NORM = {
    "attn.q_norm.w": ("self_attn.q_layernorm.norms.{head}.weight", "head d_head -> head d_head"),
    "attn.k_norm.w": ("self_attn.k_layernorm.norms.{kv_head}.weight", "kv_head d_head -> kv_head d_head"),
}


def variants(hf: Attributes) -> Rows:
    """Which norms and biases there are."""
    rows = SHARED_NORM if hf.get("use_parallel_residual", False) else TWO_NORMS
    rows = rows | (QKV_BIAS if hf.get("use_qkv_bias", False) else {})
    return rows | (QK_NORM if hf.get("qk_layernorm", False) else {})


STABLELM = Family(
    model_type="stablelm",
    read=read,
    prefixes=("model.",),
    weights=EMBED | {"ln_final.b": ("model.norm.bias", "d_model -> d_model")},
    layer="model.layers.{}",
    layer_weights=ATTENTION | GATED_MLP,
    variants=variants,
)
