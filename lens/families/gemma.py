"""Gemma 1, 2 and 3 (text): norm gains stored minus one, scaled embedding; later local layers, caps and more norms."""

from lens.config import Config
from lens.families.attributes import Attributes
from lens.families.family import Family, Rows
from lens.families.reading import activation, sizes, windows
from lens.families.rope import rotary, rotary_by_layer
from lens.families.rows import ATTENTION, ATTENTION_BIAS, EMBED, GATED_MLP, PRE_NORMS, QK_NORM


def read(hf: Attributes, **more) -> Config:
    """What the three have in common; ``more``: what the later ones add."""
    found = sizes(hf, tied=True)
    hf.only("use_bidirectional_attention", False)
    hf.ignore("sliding_window_size")  # an older name of sliding_window, beside it
    act = activation(hf, "hidden_activation", activation(hf, "hidden_act", "gelu_new"))
    return Config(
        **found,
        norm="RMS",
        norm_eps=hf.get("rms_norm_eps", 1e-6),
        act_fn="gelu_new" if act == "gelu" else act,  # the first release says gelu and means the tanh form
        gated_mlp=True,
        embed_scale=found["d_model"] ** 0.5,
        **more,
    )


def read1(hf: Attributes) -> Config:
    """A Gemma 1 config."""
    return read(hf, **rotary(hf, hf["head_dim"]))


def read2(hf: Attributes) -> Config:
    """A Gemma 2 config: every second layer is local, from the first on."""
    return read(
        hf,
        **rotary(hf, hf["head_dim"]),
        post_norm=True,
        windows=windows(hf, hf["num_hidden_layers"], is_local=lambda layer: layer % 2 == 0),
        attn_scale=hf["query_pre_attn_scalar"] ** 0.5,
        attn_softcap=hf.get("attn_logit_softcapping"),
        final_softcap=hf.get("final_logit_softcapping"),
    )


def read3(hf: Attributes) -> Config:
    """A Gemma 3 config: every sixth layer is global, and has a rotary base, perhaps scaled, of its own."""
    period = hf.get("sliding_window_pattern", hf.get("_sliding_window_pattern", 6))
    hf.only("attn_logit_softcapping")
    return read(
        hf,
        **rotary_by_layer(hf, hf["head_dim"], base=1_000_000.0, local_base=10_000.0),
        qk_norm="head",
        post_norm=True,
        windows=windows(hf, hf["num_hidden_layers"], is_local=lambda layer: (layer + 1) % period != 0),
        attn_scale=hf["query_pre_attn_scalar"] ** 0.5,
        final_softcap=hf.get("final_logit_softcapping"),
    )


def read_text_of_gemma3(hf: Attributes) -> Config:
    """The language model inside a Gemma 3 that can also see; pictures cannot be given to it here."""
    text = Attributes(GEMMA3.defaults | {"model_type": "gemma3_text"} | dict(hf["text_config"]), "text_config")
    cfg = read3(text)
    text.only("attention_bias", False)
    text.refuse_unread()
    hf.ignore("vision_config", "mm_tokens_per_image", "boi_token_index", "eoi_token_index", "image_token_index")
    hf.ignore("tie_word_embeddings")  # the language model's own counts
    return cfg


def biases(hf: Attributes) -> Rows:
    """Attention biases, where the config asks for them."""
    return ATTENTION_BIAS if hf.get("attention_bias", False) else {}


POST_NORMS = {
    "ln1.w": ("input_layernorm.weight", "d_model -> d_model"),
    "ln1_post.w": ("post_attention_layernorm.weight", "d_model -> d_model"),
    "ln2.w": ("pre_feedforward_layernorm.weight", "d_model -> d_model"),
    "ln2_post.w": ("post_feedforward_layernorm.weight", "d_model -> d_model"),
}
SIZES3 = {
    "vocab_size": 262_208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131_072,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
}  # what the config files of Gemma 3 leave out

GEMMA = Family(
    model_type="gemma",
    read=read1,
    prefixes=("model.",),
    weights=EMBED,
    layer="model.layers.{}",
    layer_weights=PRE_NORMS | ATTENTION | GATED_MLP,
    variants=biases,
    gain_offset=1.0,
)
GEMMA2 = Family(
    model_type="gemma2",
    read=read2,
    prefixes=("model.",),
    weights=EMBED,
    layer="model.layers.{}",
    layer_weights=POST_NORMS | ATTENTION | GATED_MLP,
    variants=biases,
    gain_offset=1.0,
)
GEMMA3 = Family(
    model_type="gemma3_text",
    read=read3,
    prefixes=("model.",),
    weights=EMBED,
    layer="model.layers.{}",
    layer_weights=POST_NORMS | ATTENTION | GATED_MLP | QK_NORM,
    variants=biases,
    gain_offset=1.0,
    defaults=SIZES3,
)
GEMMA3_WITH_VISION = Family(
    model_type="gemma3",
    read=read_text_of_gemma3,
    prefixes=("model.", "language_model.model.", "model.language_model."),
    weights=EMBED
    | {"unembed.W_U": ("lm_head.weight or language_model.lm_head.weight", "d_vocab d_model -> d_model d_vocab")},
    layer="model.layers.{}",
    layer_weights=POST_NORMS | ATTENTION | GATED_MLP | QK_NORM,
    gain_offset=1.0,
    unused=(r"(model\.)?(vision_tower|multi_modal_projector)\..*",),
)
