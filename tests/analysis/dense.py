"""The circuits of small models formed in full, as definitions say: what the fast ways are compared with."""

import torch

from lens.analysis.circuit_weights import EMBEDDINGS
from lens.components import Norm


def embedded(model, layer, embedding="tokens"):
    """[d_vocab, d_model]: the stream of every token alone, through the model's own modules."""
    assert embedding in EMBEDDINGS
    rows = model.embed(torch.arange(model.cfg.d_vocab)[None])[0]
    if embedding == "first_mlp" and layer > 0:
        block = model.blocks[0]
        rows = rows + block.ln2_post(block.mlp(block.ln2(rows)))
    return rows


def linear_norm(norm, x):
    """A norm with its scale left out: centred if it is LayerNorm, times the gain; no bias."""
    if not isinstance(norm, Norm):
        return x
    return (x - x.mean(-1, keepdim=True) if norm.centred else x) * norm.w


def head_weights(model, layer, head):
    """W_Q, W_K, W_V, W_O of one query head."""
    attn, kv = model.blocks[layer].attn, head // model.cfg.group_size
    return attn.W_Q[head], attn.W_K[kv], attn.W_V[kv], attn.W_O[head]


def full_ov(model, layer, head, embedding="tokens"):
    """[d_vocab, d_vocab]: every token through the head to the logits, the mean over logits taken out."""
    block = model.blocks[layer]
    _, _, W_V, W_O = head_weights(model, layer, head)
    writes = linear_norm(block.ln1_post, linear_norm(block.ln1, embedded(model, layer, embedding)) @ W_V @ W_O)
    logits = linear_norm(model.ln_final, writes) @ model.unembed.W_U
    return logits - logits.mean(1, keepdim=True)


def full_qk(model, layer, head, embedding="tokens", rotation=None):
    """[d_vocab, d_vocab]: scores of every query token with every key token, each minus its query's mean."""
    attn = model.blocks[layer].attn
    W_Q, W_K, _, _ = head_weights(model, layer, head)
    x = model.blocks[layer].ln1(embedded(model, layer, embedding))
    q = x @ W_Q + attn.b_Q[head]
    k = x @ W_K + attn.b_K[head // model.cfg.group_size]
    if rotation is not None:
        q, k = rotation(q, k)
    scores = q @ k.T / attn.scale
    return scores - scores.mean(1, keepdim=True)


def sorted_sizes(eigenvalues):
    return eigenvalues.abs().sort(descending=True).values
