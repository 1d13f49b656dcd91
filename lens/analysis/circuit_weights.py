"""The ends of every circuit: what a head reads and writes, with the norms around it folded in.

Everything here is linear algebra on a few rows at a time. Folding is done on the way, never on a copy of the model, so
a result is the same whether the model's own norms were folded before or not.
"""

from collections.abc import Iterator
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lens.analysis.names import Head, check_heads
from lens.batching import at_once
from lens.components import Norm, at_least_float32
from lens.config import Config
from lens.model import Transformer
from lens.progress import Progress, silent

Embedding = Literal["tokens", "first_mlp"]
EMBEDDINGS = ("tokens", "first_mlp")
ROWS = 2048  # of the vocabulary held at once
CUT = "Queries, keys and values are cut off at ±{}; the products hold below it."


def read_through(norm: nn.Module, W: Float[Tensor, "*head d_model d_head"]) -> Float[Tensor, "*head d_model d_head"]:
    """What reads a normalised stream, as it reads the stream itself: times the gain, LayerNorm's mean taken out.

    Exact but for the norm's positive scale, one number per position. In float32, or float64 if W is that.
    """
    W = at_least_float32(W)
    if not isinstance(norm, Norm):
        return W
    return norm.centre(norm.w.to(W.dtype)[:, None] * W, dim=-2)


def write_through(norm: nn.Module, W: Float[Tensor, "*head d_head d_model"]) -> Float[Tensor, "*head d_head d_model"]:
    """What is written, past the norm that post-norm blocks put after it: centred if it is LayerNorm, times its gain."""
    W = at_least_float32(W)
    if not isinstance(norm, Norm):
        return W
    return norm.centre(W) * norm.w.to(W.dtype)


def value_weights(model: Transformer, layer: int) -> Float[Tensor, "kv_head d_model d_head"]:
    """W_V of a layer with the norm before it folded in, in float32; not expanded to query heads."""
    return read_through(model.blocks[layer].ln1, model.blocks[layer].attn.W_V.float())


def constant_values(model: Transformer, layer: int) -> Float[Tensor, "head d_head"]:
    """What stands in every value of a layer whatever the text: b_V, and the bias of the norm before it through W_V.

    A pattern's rows sum to 1, so it is written everywhere alike; folding moves it from one bias into another.
    """
    norm, attn = model.blocks[layer].ln1, model.blocks[layer].attn
    values = attn.b_V.float()
    if isinstance(norm, Norm) and norm.centred:
        values = values + torch.einsum("m,hmd->hd", norm.b.float(), attn.W_V.float())
    return values.repeat_interleave(model.cfg.group_size, 0)


def output_weights(model: Transformer, layer: int) -> Float[Tensor, "head d_head d_model"]:
    """W_O of a layer in float32, with the gain of a norm after attention where there is one."""
    return write_through(model.blocks[layer].ln1_post, model.blocks[layer].attn.W_O.float())


def source_rows(
    model: Transformer, ids: Int[Tensor, " token"], embedding: Embedding = "tokens"
) -> Float[Tensor, "token d_model"]:
    """What stands in the stream for each token and nothing else: its embedding, no position.

    "first_mlp" adds what the first MLP makes of it, as if layer 0 attended to nothing: the "effective embedding" that
    later layers see. Source: Wang et al. 2022, "Interpretability in the Wild", copy score.
    """
    rows = model.embed(ids.to(model.device))
    if embedding == "first_mlp":
        block = model.blocks[0]
        rows = rows + block.ln2_post(block.mlp(block.ln2(rows)))
    return rows.float()


def vocabulary_rows(
    model: Transformer, embedding: Embedding = "tokens", progress: Progress = silent
) -> Iterator[tuple[slice, Float[Tensor, "token d_model"]]]:
    """:func:`source_rows` of the whole vocabulary, a few at a time, with the slice of ids they belong to."""
    d_vocab, size = model.cfg.d_vocab, at_once(ROWS)
    for start in range(0, d_vocab, size):
        ids = torch.arange(start, min(start + size, d_vocab), device=model.device)
        yield slice(start, start + len(ids)), source_rows(model, ids, embedding)
        progress((start + len(ids)) / d_vocab, f"vocabulary, {start + len(ids):,} of {d_vocab:,} tokens")


def check_embedding(cfg: Config, embedding: str) -> None:
    """ValueError where there is no such embedding."""
    if embedding not in EMBEDDINGS:
        raise ValueError(f"embedding={embedding!r}; it must be one of {', '.join(EMBEDDINGS)}.")
    if embedding == "first_mlp" and cfg.attn_only:
        raise ValueError(
            "embedding='first_mlp': this model has attention layers only, so there is no first MLP to add. "
            "Use embedding='tokens'."
        )


def check_head(cfg: Config, head: tuple[int, int]) -> None:
    """ValueError if the model has no head (layer, head)."""
    check_heads([Head(*head)], cfg)


def stream_embedding(layer: int, embedding: Embedding) -> Embedding:
    """The embedding that a layer can see: the first MLP writes after the attention of layer 0 has read."""
    return "tokens" if layer == 0 else embedding


def ov_caveats(cfg: Config) -> tuple[str, ...]:
    """What the OV circuit of such a model leaves out, a sentence each; empty where it is exact up to a scale."""
    reasons = (
        (cfg.post_norm, "A norm follows attention: its gain is folded into W_O, its scale at each position is not."),
        (cfg.clip_qkv is not None, CUT.format(cfg.clip_qkv)),
        (cfg.embed_norm, "The embedding is normalised before layer 0; its rows are taken after that norm."),
        (cfg.final_softcap is not None, "Logits are capped at the end; the circuit stands before the cap."),
        (cfg.group_size > 1, f"{cfg.group_size} query heads share each W_V: heads of a group are not independent."),
    )
    return tuple(sentence for holds, sentence in reasons if holds)
