"""LLaMA 1–3 and its likes (SmolLM2, TinyLlama): RMSNorm, rotary positions, grouped keys and values, gated MLP."""

from lens.config import Config
from lens.families.attributes import Attributes
from lens.families.family import Family, Rows
from lens.families.reading import activation, rotary, sizes
from lens.families.rows import ATTENTION, ATTENTION_BIAS, EMBED, GATED_MLP, GATED_MLP_BIAS, PRE_NORMS


def read(hf: Attributes, **more) -> Config:
    """A LLaMA config; grouped keys and values and a head size of its own are allowed. ``more``: what a kin adds."""
    found = sizes(hf)
    hf.only("rope_interleaved", False)
    hf.ignore("pretraining_tp")  # a way of computing the same product in slices
    hf.ignore("is_llama_config")
    return Config(
        **found,
        **rotary(hf, found["d_head"]),
        norm="RMS",
        norm_eps=hf.get("rms_norm_eps", 1e-6),
        act_fn=activation(hf, "hidden_act", "silu"),
        gated_mlp=True,
        **more,
    )


def biases(hf: Attributes) -> Rows:
    """Biases that the config asks for."""
    attention = ATTENTION_BIAS if hf.get("attention_bias", False) else {}
    return attention | (GATED_MLP_BIAS if hf.get("mlp_bias", False) else {})


LLAMA = Family(
    model_type="llama",
    read=read,
    prefixes=("model.",),
    weights=EMBED,
    layer="model.layers.{}",
    layer_weights=PRE_NORMS | ATTENTION | GATED_MLP,
    variants=biases,
)
