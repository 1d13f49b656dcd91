"""The loss of an attention-only model, written for speed: the same function of the same weights as its forward pass.

Attention and the large products are taken in bfloat16, norms, softmax and loss in float32; with ``exact`` everything
is float32, which is what the test compares with :class:`lens.model.Transformer`.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from lens.model import Block, Transformer


def training_loss(model: Transformer, tokens: Int[Tensor, "batch pos"], exact: bool = False) -> Float[Tensor, ""]:
    """Mean loss at the next token, nats, over every position of ``tokens``."""
    dtype = torch.float32 if exact else torch.bfloat16
    n_pos = tokens.shape[1] - 1
    resid = F.embedding(tokens[:, :-1], model.embed.W_E) + model.pos_embed.W_pos[:n_pos]
    hidden = torch.full((n_pos, n_pos), -torch.inf, dtype=dtype).triu(1)
    for block in model.blocks:
        resid = resid + attention(block, resid, hidden, dtype)
    final = normed(model.ln_final, resid).to(dtype)
    logits = (final.flatten(0, 1) @ model.unembed.W_U.to(dtype)).float()
    return F.cross_entropy(logits, tokens[:, 1:].flatten())


def normed(norm: torch.nn.Module, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
    """LayerNorm with the module's gain and bias."""
    return F.layer_norm(x, x.shape[-1:], norm.w, norm.b, norm.eps)


def attention(block: Block, resid: Tensor, hidden: Float[Tensor, "query key"], dtype: torch.dtype) -> Tensor:
    """What the heads of one layer write. The models have no biases in attention: they stay zero, and are not read."""
    attn = block.attn
    n_heads, d_head = attn.cfg.n_heads, attn.cfg.d_head
    W = torch.cat([attn.W_Q / attn.scale, attn.W_K, attn.W_V]).permute(1, 0, 2).flatten(1).to(dtype)
    qkv = normed(block.ln1, resid).to(dtype) @ W
    q, k, v = qkv.unflatten(-1, (3, n_heads, d_head)).permute(2, 0, 3, 1, 4)  # [batch, head, pos, d_head] each
    pattern = (q @ k.mT + hidden).softmax(-1)
    z = (pattern @ v).transpose(1, 2).flatten(2)
    return (z @ attn.W_O.flatten(0, 1).to(dtype)).float()
