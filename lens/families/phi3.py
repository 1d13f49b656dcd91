"""Phi-3, Phi-3.5 and Phi-4: LLaMA with q, k and v in one tensor, gate and input of the MLP in another."""

from lens.config import Config
from lens.families.attributes import Attributes
from lens.families.family import Family
from lens.families.llama import read as read_llama
from lens.families.reading import uniform_windows
from lens.families.rows import EMBED, OUT, PRE_NORMS


def read(hf: Attributes) -> Config:
    """A Phi-3 config; the window covers every layer. With "longrope", texts up to the original context length."""
    for name in ("attention_bias", "mlp_bias", "lm_head_bias"):
        hf.only(name, False)
    hf.only("full_attn_mod", 1)
    hf.only("interpolate_factor", 1)
    hf.ignore("auto_map")  # old code in the repository, never run
    return read_llama(hf, windows=uniform_windows(hf))


PHI3 = Family(
    model_type="phi3",
    read=read,
    prefixes=("model.",),
    weights=EMBED,
    layer="model.layers.{}",
    layer_weights=PRE_NORMS
    | OUT
    | {
        "attn.W_Q|attn.W_K|attn.W_V": (
            "self_attn.qkv_proj.weight",
            "(head|kv_head|kv_head d_head) d_model -> head|kv_head|kv_head d_model d_head",
        ),
        "mlp.W_gate|mlp.W_in": ("mlp.gate_up_proj.weight", "d_mlp|d_mlp d_model -> d_model d_mlp|d_mlp"),
        "mlp.W_out": ("mlp.down_proj.weight", "d_model d_mlp -> d_mlp d_model"),
    },
    defaults={"rms_norm_eps": 1e-5},
)
