"""OLMo (LayerNorm without parameters, clipped q, k, v) and OLMo2 (norms only after attention and MLP, and of q, k)."""

from lens.config import Config
from lens.families.attributes import Attributes
from lens.families.family import Family, Rows
from lens.families.llama import read as read_llama
from lens.families.reading import activation, rotary, sizes
from lens.families.rows import ATTENTION, ATTENTION_BIAS, EMBED, GATED_MLP


def read(hf: Attributes) -> Config:
    """An OLMo config."""
    found = sizes(hf)
    hf.ignore("pretraining_tp")  # a way of computing the same product in slices
    return Config(
        **found,
        **rotary(hf, found["d_head"]),
        norm_eps=1e-5,  # written into the architecture's code, not into its config
        act_fn=activation(hf, "hidden_act", "silu"),
        gated_mlp=True,
        clip_qkv=hf.get("clip_qkv"),
    )


def biases(hf: Attributes) -> Rows:
    """Attention biases, where the config asks for them."""
    return ATTENTION_BIAS if hf.get("attention_bias", False) else {}


OLMO = Family(
    model_type="olmo",
    read=read,
    prefixes=("model.",),
    weights={ours: EMBED[ours] for ours in ("embed.W_E", "unembed.W_U")},
    layer="model.layers.{}",
    layer_weights=ATTENTION | GATED_MLP,
    variants=biases,
)
OLMO2 = Family(
    model_type="olmo2",
    read=lambda hf: read_llama(hf, pre_norm=False, post_norm=True, qk_norm="all"),
    prefixes=("model.",),
    weights=EMBED,
    layer="model.layers.{}",
    layer_weights=ATTENTION
    | GATED_MLP
    | {
        "ln1_post.w": ("post_attention_layernorm.weight", "d_model -> d_model"),
        "ln2_post.w": ("post_feedforward_layernorm.weight", "d_model -> d_model"),
        "attn.q_norm.w": ("self_attn.q_norm.weight", "(head d_head) -> head d_head"),
        "attn.k_norm.w": ("self_attn.k_norm.weight", "(kv_head d_head) -> kv_head d_head"),
    },
    variants=biases,
    defaults={"rms_norm_eps": 1e-5},
)
