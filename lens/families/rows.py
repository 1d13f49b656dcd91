"""Rows of weight tables that several architectures share, as they name things."""

EMBED = {
    "embed.W_E": ("model.embed_tokens.weight", "d_vocab d_model -> d_vocab d_model"),
    "ln_final.w": ("model.norm.weight", "d_model -> d_model"),
    "unembed.W_U": ("lm_head.weight", "d_vocab d_model -> d_model d_vocab"),
}
QKV = {
    "attn.W_Q": ("self_attn.q_proj.weight", "(head d_head) d_model -> head d_model d_head"),
    "attn.W_K": ("self_attn.k_proj.weight", "(kv_head d_head) d_model -> kv_head d_model d_head"),
    "attn.W_V": ("self_attn.v_proj.weight", "(kv_head d_head) d_model -> kv_head d_model d_head"),
}
QKV_BIAS = {
    "attn.b_Q": ("self_attn.q_proj.bias", "(head d_head) -> head d_head"),
    "attn.b_K": ("self_attn.k_proj.bias", "(kv_head d_head) -> kv_head d_head"),
    "attn.b_V": ("self_attn.v_proj.bias", "(kv_head d_head) -> kv_head d_head"),
}
OUT = {"attn.W_O": ("self_attn.o_proj.weight", "d_model (head d_head) -> head d_head d_model")}
OUT_BIAS = {"attn.b_O": ("self_attn.o_proj.bias", "d_model -> d_model")}
ATTENTION, ATTENTION_BIAS = QKV | OUT, QKV_BIAS | OUT_BIAS
GATED_MLP = {
    "mlp.W_in": ("mlp.up_proj.weight", "d_mlp d_model -> d_model d_mlp"),
    "mlp.W_gate": ("mlp.gate_proj.weight", "d_mlp d_model -> d_model d_mlp"),
    "mlp.W_out": ("mlp.down_proj.weight", "d_model d_mlp -> d_mlp d_model"),
}
GATED_MLP_BIAS = {
    "mlp.b_in": ("mlp.up_proj.bias", "d_mlp -> d_mlp"),
    "mlp.b_gate": ("mlp.gate_proj.bias", "d_mlp -> d_mlp"),
    "mlp.b_out": ("mlp.down_proj.bias", "d_model -> d_model"),
}
PRE_NORMS = {
    "ln1.w": ("input_layernorm.weight", "d_model -> d_model"),
    "ln2.w": ("post_attention_layernorm.weight", "d_model -> d_model"),
}
# One gain per dimension of a head, the same for all heads.
QK_NORM = {
    "attn.q_norm.w": ("self_attn.q_norm.weight", "d_head -> head d_head"),
    "attn.k_norm.w": ("self_attn.k_norm.weight", "d_head -> kv_head d_head"),
}
