"""Falcon: rotary positions or linear biases, shared keys and values, one or two norms before a parallel block."""

from lens.config import Config
from lens.families.attributes import Attributes
from lens.families.family import Family, Rows
from lens.families.reading import activation, rotary


def read(hf: Attributes) -> Config:
    """A Falcon config, of the old or the new decoder architecture."""
    d_model, n_heads = hf["hidden_size"], hf["num_attention_heads"]
    new, parallel = hf.get("new_decoder_architecture", False), hf.get("parallel_attn", True)
    hf.only("n_embed", d_model)
    hf.only("apply_residual_connection_post_layernorm", False)
    hf.only("num_ln_in_parallel_attn", *((1, 2) if new else (1,)))
    if new:
        hf.only("parallel_attn", True)
    hf.ignore("auto_map", "ff_factor")  # old code in the repository, never run; ffn_hidden_size says the same
    grouped, shared = hf.get("num_kv_heads", n_heads), 1 if hf.get("multi_query", True) else n_heads
    d_head = d_model // n_heads
    return Config(
        n_layers=hf["num_hidden_layers"],
        n_heads=n_heads,
        n_kv_heads=grouped if new else shared,
        d_model=d_model,
        d_head=d_head,
        d_mlp=hf.get("ffn_hidden_size", 4 * d_model),
        d_vocab=hf["vocab_size"],
        norm_eps=hf.get("layer_norm_epsilon", 1e-5),
        act_fn=activation(hf, "activation", "gelu"),
        parallel=parallel,
        **positions(hf, d_head),
        tied=hf.get("tie_word_embeddings", True),
    )


def positions(hf: Attributes, d_head: int) -> dict:
    """Rotary, or linear biases that are divided by sqrt(d_head) with the scores and are rounded as in training."""
    if hf.get("alibi", False):
        hf.ignore("rope_parameters", "rope_scaling", "rope_theta")
        n_ctx = hf["max_position_embeddings"]
        return {"positions": "alibi", "alibi_scale": d_head**-0.5, "alibi_bf16": True, "n_ctx": n_ctx}
    return rotary(hf, d_head)


BIASES = {
    "attn.b_Q|attn.b_K|attn.b_V": (
        "self_attention.query_key_value.bias",
        "(kv_head group|1|1 d_head) -> (kv_head group|1|1) d_head",
    ),
    "attn.b_O": ("self_attention.dense.bias", "d_model -> d_model"),
    "mlp.b_in": ("mlp.dense_h_to_4h.bias", "d_mlp -> d_mlp"),
    "mlp.b_out": ("mlp.dense_4h_to_h.bias", "d_model -> d_model"),
}


def norms(first: str, second: str) -> Rows:
    """The norm before attention and the one before the MLP, which may be the same."""
    if first == second:
        return {f"ln1.{p}+ln2.{p}": (f"{first}.{name}", "d_model -> d_model") for p, name in PARAMETERS}
    names = (("ln1", first), ("ln2", second))
    return {f"{ln}.{p}": (f"{theirs}.{name}", "d_model -> d_model") for ln, theirs in names for p, name in PARAMETERS}


PARAMETERS = (("w", "weight"), ("b", "bias"))
ONE_NORM = norms("input_layernorm", "input_layernorm")
TWO_NORMS = norms("ln_attn", "ln_mlp")
SEQUENTIAL_NORMS = norms("input_layernorm", "post_attention_layernorm")


def variants(hf: Attributes) -> Rows:
    """Which norms there are, and whether there are biases."""
    new = hf.get("new_decoder_architecture", False)
    if not hf.get("parallel_attn", True):
        found = SEQUENTIAL_NORMS
    else:
        found = TWO_NORMS if hf.get("num_ln_in_parallel_attn", 2 if new else 1) == 2 else ONE_NORM
    return found | (BIASES if hf.get("bias", False) else {})


FALCON = Family(
    model_type="falcon",
    read=read,
    prefixes=("transformer.",),
    weights={
        "embed.W_E": ("transformer.word_embeddings.weight", "d_vocab d_model -> d_vocab d_model"),
        "ln_final.w": ("transformer.ln_f.weight", "d_model -> d_model"),
        "ln_final.b": ("transformer.ln_f.bias", "d_model -> d_model"),
        "unembed.W_U": ("lm_head.weight", "d_vocab d_model -> d_model d_vocab"),
    },
    layer="transformer.h.{}",
    layer_weights={
        # One packing for all: the queries of a group, then its key and its value.
        "attn.W_Q|attn.W_K|attn.W_V": (
            "self_attention.query_key_value.weight",
            "(kv_head group|1|1 d_head) d_model -> (kv_head group|1|1) d_model d_head",
        ),
        "attn.W_O": ("self_attention.dense.weight", "d_model (head d_head) -> head d_head d_model"),
        "mlp.W_in": ("mlp.dense_h_to_4h.weight", "d_mlp d_model -> d_model d_mlp"),
        "mlp.W_out": ("mlp.dense_4h_to_h.weight", "d_model d_mlp -> d_mlp d_model"),
    },
    variants=variants,
    defaults={"max_position_embeddings": 2048},
)
