"""What each field of a config means, in the order in which to read them, and which of them say nothing of a model."""

from lens.config import Config

GROUPS = {
    "Sizes": (
        *("n_layers", "n_heads", "n_kv_heads", "d_model", "d_head", "d_mlp", "d_vocab", "n_ctx", "tied"),
        *("embed_scale", "absent", "processed"),
    ),
    "Attention": (
        *("attn_scale", "scale_by_layer", "qk_norm", "clip_qkv", "windows", "attn_softcap"),
        *("positions", "rotary_dim", "rotary_base", "rotary_adjacent", "rotary_divisors", "rotary_gain"),
        *("local_rotary_base", "alibi_scale", "alibi_bf16"),
    ),
    "Norms": ("norm", "norm_eps", "pre_norm", "post_norm", "embed_norm", "final_rms"),
    "MLP and output": ("parallel", "act_fn", "gated_mlp", "mlp_norm", "final_softcap"),
}
MEANINGS = {
    "n_layers": "Blocks, each of attention and, usually, an MLP",
    "n_heads": "Attention heads of a layer",
    "n_kv_heads": "Sets of keys and values of a layer; fewer than n_heads where query heads share them",
    "d_model": "Width of the residual stream",
    "d_head": "Width of one head's queries, keys and values",
    "d_mlp": "Neurons of one MLP; 0 where there is none",
    "d_vocab": "Tokens that have a row in W_E and a column in W_U",
    "n_ctx": "The most tokens that are read at once",
    "tied": "Whether W_U is W_E turned, in the same memory",
    "embed_scale": "The embedding is multiplied by this",
    "absent": "Biases and gains that the architecture lacks: 0 and 1 stand for them, and training leaves them alone",
    "processed": "Steps of folding and centring that these weights went through",
    "attn_scale": "Scores q·k are divided by this, usually √d_head",
    "scale_by_layer": "Whether scores of layer l are also divided by l + 1",
    "qk_norm": "Queries and keys are normalised: each head alone, or all heads together",
    "clip_qkv": "Queries, keys and values are cut off at ± this",
    "windows": "Per layer, how many tokens a query sees, itself included; none: all before it",
    "attn_softcap": "Scores become cap · tanh(score / cap)",
    "positions": "How the model knows where a token stands",
    "rotary_dim": "Dimensions of a head that are turned with the position",
    "rotary_base": "Pair i turns by position · base^(−2i / rotary_dim)",
    "rotary_adjacent": "Whether a pair is two neighbours (2i, 2i + 1), or (i, i + half)",
    "rotary_divisors": "The angle of pair i is divided by this: a stretched context",
    "rotary_gain": "What is turned is also multiplied by this",
    "local_rotary_base": "The base of layers with a window; none: the same",
    "alibi_scale": "All slopes, by which distance lowers a score, are multiplied by this",
    "alibi_bf16": "Whether slopes are rounded as they were in training",
    "norm": "LN subtracts the mean and has a gain and a bias; RMS has a gain only",
    "norm_eps": "Added to the mean square before its root is taken",
    "pre_norm": "Whether attention and MLP read the stream through a norm",
    "post_norm": "Whether what they write goes through a norm before it is added",
    "embed_norm": "Whether the embedding is normalised before layer 0",
    "final_rms": "Whether the last norm is RMS, whatever the others are",
    "parallel": "Whether the MLP reads the stream that attention reads, not what attention wrote",
    "act_fn": "What a neuron does with its input",
    "gated_mlp": "Whether each neuron is multiplied by a second, linear one",
    "mlp_norm": "Whether a norm follows the activation function",
    "final_softcap": "Logits become cap · tanh(logit / cap)",
}


def unused(cfg: Config) -> tuple[str, ...]:
    """The fields that say nothing about this structure."""
    names: list[str] = []
    if cfg.positions != "rotary":
        names += [name for name in MEANINGS if "rotary" in name]
    if cfg.positions != "alibi":
        names += ["alibi_scale", "alibi_bf16"]
    if cfg.attn_only:
        names += ["act_fn", "gated_mlp", "mlp_norm", "parallel"]
    if cfg.norm is None:
        names += ["norm_eps", "pre_norm", "post_norm"]
    return tuple(names)
