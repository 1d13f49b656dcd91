"""The residual stream as a sum: of layers, of heads, of neurons, with biases, so that nothing is left over.

``layer`` is always the layer that reads the stream; None or −1 is the unembedding, after the last layer. Every result
keeps the batch and position axes of the cache. ``pos``: only these positions (:func:`indexed`).
"""

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from lens.arrays import as_tensor
from lens.components import Norm

if TYPE_CHECKING:
    from lens.cache import ActivationCache

Index: TypeAlias = int | slice | list | Tensor | None  # of one axis; a list or tensor of indices or of booleans
KINDS = ("embed", "attn", "mlp")


class Stack(NamedTuple):
    """Components of a residual stream, or several streams, one per label."""

    values: Float[Tensor, "component *batch_and_pos d_model"]
    labels: list[str]


def indexed(x: Tensor, dim: int, index: Index) -> Tensor:
    """``x`` at some places of axis ``dim``: an int drops the axis, a list keeps its order, None is ``x`` itself."""
    if index is None:
        return x
    if isinstance(index, tuple):
        raise ValueError(f"{index}: a tuple may be a range or a choice; give slice(start, stop) or a list.")
    if not isinstance(index, (int, slice)):
        index = as_tensor(index).to(x.device)
    return x[(..., index, *[slice(None)] * (-1 - dim if dim < 0 else x.ndim - 1 - dim))]


def reader(cache: "ActivationCache", layer: int | None) -> int:
    """The layer as a number from 0 to n_layers, which stands for the unembedding. ValueError outside."""
    n_layers = cache.model.cfg.n_layers
    if layer is None or layer == -1:
        return n_layers
    if not 0 <= layer <= n_layers:
        raise ValueError(f"layer={layer}: this model has layers 0 … {n_layers - 1}; {n_layers}, −1 or None is the end.")
    return layer


def stream(cache: "ActivationCache", layer: int | None = None, mlp_input: bool = False, pos: Index = None) -> Tensor:
    """The stream that ``layer`` reads; with ``mlp_input`` the one that its MLP reads."""
    layer = _checked(cache, reader(cache, layer), mlp_input)
    if mlp_input and not cache.model.cfg.parallel:
        return indexed(cache["resid_mid", layer], -2, pos)
    return indexed(cache["resid_post", layer - 1] if layer else cache["resid_pre", 0], -2, pos)


def _checked(cache: "ActivationCache", layer: int, mlp_input: bool) -> int:
    if mlp_input and (cache.model.cfg.attn_only or layer == cache.model.cfg.n_layers):
        raise ValueError(f"mlp_input=True: there is no MLP at layer {layer} of {cache.model.name}.")
    return layer


def streams(
    cache: "ActivationCache",
    layer: int | None = None,
    incl_mid: bool = False,
    mlp_input: bool = False,
    pos: Index = None,
) -> Stack:
    """The stream that each layer up to ``layer`` reads, "0_pre", "1_pre", …, "final_post".

    ``incl_mid`` adds what stands between attention and MLP, "0_mid", …; parallel and attention-only blocks have no such
    place. ``mlp_input`` adds it for ``layer`` itself.
    """
    cfg, layer = cache.model.cfg, _checked(cache, reader(cache, layer), mlp_input)
    has_mid = not (cfg.attn_only or cfg.parallel)
    rows, labels = [], []
    for one in range(layer + 1):
        rows.append(cache["resid_pre", one] if one < cfg.n_layers else cache["resid_post", one - 1])
        labels.append(f"{one}_pre" if one < cfg.n_layers else "final_post")
        if has_mid and ((incl_mid and one < layer) or (mlp_input and one == layer)):
            rows.append(cache["resid_mid", one])
            labels.append(f"{one}_mid")
    return Stack(torch.stack([indexed(row, -2, pos) for row in rows]), labels)


def by_layer(
    cache: "ActivationCache",
    layer: int | None = None,
    mlp_input: bool = False,
    kinds: tuple[str, ...] = KINDS,
    pos: Index = None,
) -> Stack:
    """What embedding, attention layers and MLPs add to the stream that ``layer`` reads: "embed", "0_attn_out", ….

    All ``kinds`` together sum to that stream exactly.
    """
    cfg, layer = cache.model.cfg, _checked(cache, reader(cache, layer), mlp_input)
    names = []
    if "embed" in kinds:
        names += [("embed", "hook_embed")]
        names += [("pos_embed", "hook_pos_embed")] if cfg.positions == "learned" else []
    parts = [part for part in ("attn", "mlp") if part in kinds and not (part == "mlp" and cfg.attn_only)]
    names += [(f"{one}_{part}_out", (f"{part}_out", one)) for one in range(layer) for part in parts]
    if mlp_input and "attn" in kinds and not cfg.parallel:
        names += [(f"{layer}_attn_out", ("attn_out", layer))]
    rows = [indexed(cache[key], -2, pos) for _, key in names]
    return Stack(torch.stack(rows) if rows else _none(cache, pos), [label for label, _ in names])


def _none(cache: "ActivationCache", pos: Index) -> Tensor:
    like = stream(cache, 0, pos=pos)
    return like.new_zeros(0, *like.shape)


def head_writes(
    cache: "ActivationCache", layer: int, pos: Index = None
) -> Float[Tensor, "*batch_and_pos head d_model"]:
    """What each head of ``layer`` adds to the stream, b_O not included.

    Where a norm follows attention, it is applied as the linear map it was at each position (its scale frozen).
    """
    if ("result", layer) in cache:
        result = indexed(cache["result", layer], -3, pos)
    else:
        z = indexed(cache["z", layer], -3, pos)
        result = torch.einsum("...hd,hdm->...hm", z, cache.model.blocks[layer].attn.W_O)
    return _after(cache, layer, "ln1_post", result, pos)


def neuron_writes(
    cache: "ActivationCache",
    layer: int,
    neurons: Index = None,
    pos: Index = None,
    onto: Float[Tensor, "d_model *output"] | None = None,
) -> Float[Tensor, "*batch_and_pos neuron d_model"]:
    """What each neuron of ``layer`` adds to the stream: its activation times its row of W_out, b_out not included.

    Large: d_mlp x d_model numbers for every position. ``onto``: only their products with these directions, one
    [d_model] or several [d_model, output], in place of the last axis; W_out is multiplied by them first.
    """
    neurons = [neurons] if isinstance(neurons, int) else neurons
    post = indexed(indexed(cache["post", layer], -2, pos), -1, neurons)
    W_out = indexed(cache.model.blocks[layer].mlp.W_out, 0, neurons)
    if onto is None:
        return _after(cache, layer, "ln2_post", post[..., None] * W_out, pos)
    read = W_out @ _before(cache, layer, "ln2_post", onto.to(W_out))
    return _over_scale(cache, layer, "ln2_post", post[..., None] * read if onto.ndim == 2 else post * read, pos)


def _before(cache: "ActivationCache", layer: int, name: str, onto: Tensor) -> Tensor:
    """Directions [d_model, *output] of the stream as directions of what enters the norm before it, but for its scale.

    Centring a direction centres what it reads.
    """
    norm = getattr(cache.model.blocks[layer], name)
    if not isinstance(norm, Norm):
        return onto
    onto = onto * (norm.w[:, None] if onto.ndim == 2 else norm.w)
    return norm.centre(onto, dim=0)


def _over_scale(cache: "ActivationCache", layer: int, name: str, x: Tensor, pos: Index) -> Tensor:
    """``x`` [..., pos, part, *output] over the scale that the norm had at each position."""
    if not isinstance(getattr(cache.model.blocks[layer], name), Norm):
        return x
    scale = indexed(cache[f"blocks.{layer}.{name}.hook_scale"], -2, pos)  # [..., pos, 1]
    return (x / scale.reshape(*scale.shape, *[1] * (x.ndim - scale.ndim))).to(x.dtype)


def _after(cache: "ActivationCache", layer: int, name: str, x: Tensor, pos: Index) -> Tensor:
    """``x`` [..., pos, part, d_model] as it reaches the stream, past the norm that may follow."""
    norm = getattr(cache.model.blocks[layer], name)
    if not isinstance(norm, Norm):
        return x
    scale = indexed(cache[f"blocks.{layer}.{name}.hook_scale"], -2, pos)[..., None, :]
    return (norm.centre(x) / scale).to(x.dtype) * norm.w


def by_head(cache: "ActivationCache", layer: int | None = None, pos: Index = None) -> Stack:
    """What each head before ``layer`` adds to the stream: "L0H0", "L0H1", …."""
    n_heads, layer = cache.model.cfg.n_heads, reader(cache, layer)
    rows = [head_writes(cache, one, pos).movedim(-2, 0) for one in range(layer)]
    labels = [f"L{one}H{head}" for one in range(layer) for head in range(n_heads)]
    return Stack(torch.cat(rows) if rows else _none(cache, pos), labels)


def by_neuron(
    cache: "ActivationCache",
    layer: int | None = None,
    neurons: Index = None,
    pos: Index = None,
    onto: Float[Tensor, "d_model *output"] | None = None,
) -> Stack:
    """What each neuron before ``layer`` adds to the stream: "L0N0", "L0N1", …; see :func:`neuron_writes`."""
    layer = reader(cache, layer)
    part = -1 if onto is not None and onto.ndim == 1 else -2
    rows = [neuron_writes(cache, one, neurons, pos, onto).movedim(part, 0) for one in range(layer)]
    chosen = indexed(torch.arange(cache.model.cfg.d_mlp), 0, neurons).reshape(-1).tolist()
    labels = [f"L{one}N{neuron}" for one in range(layer) for neuron in chosen]
    return Stack(torch.cat(rows) if rows else projected(_none(cache, pos), onto), labels)


def projected(values: Float[Tensor, "*rest d_model"], onto: Float[Tensor, "d_model *output"] | None) -> Tensor:
    """``values`` as products with the directions ``onto``, in place of the last axis; themselves where that is None."""
    return values if onto is None else values @ onto.to(values)


def biases(
    cache: "ActivationCache",
    layer: int | None = None,
    mlp_input: bool = False,
    incl_mlp: bool = True,
    pos: Index = None,
) -> Float[Tensor, "*batch_and_pos d_model"]:
    """What b_O, b_out (``incl_mlp``) and the biases of norms after them add to the stream that ``layer`` reads."""
    blocks, layer = cache.model.blocks, _checked(cache, reader(cache, layer), mlp_input)
    total = torch.zeros_like(stream(cache, 0, pos=pos))
    with_attn = layer + (mlp_input and not cache.model.cfg.parallel)
    terms = [(one, "ln1_post", blocks[one].attn.b_O) for one in range(with_attn)]
    if incl_mlp and not cache.model.cfg.attn_only:
        terms += [(one, "ln2_post", blocks[one].mlp.b_out) for one in range(layer)]
    for one, name, bias in terms:
        total = total + _after(cache, one, name, bias.expand(*total.shape)[..., None, :], pos)[..., 0, :]
        norm = getattr(blocks[one], name)
        if isinstance(norm, Norm) and norm.centred:
            total = total + norm.b
    return total


def whole(
    cache: "ActivationCache",
    layer: int | None = None,
    mlp_input: bool = False,
    expand_neurons: bool = True,
    pos: Index = None,
    onto: Float[Tensor, "d_model *output"] | None = None,
) -> Stack:
    """Heads, neurons (or MLP layers), embedding and biases: components that sum to the stream that ``layer`` reads.

    ``onto``: their products with these directions; then the neurons are never held in full.
    """
    layer, attn_only = reader(cache, layer), cache.model.cfg.attn_only
    parts = [by_head(cache, layer + (mlp_input and not cache.model.cfg.parallel), pos)]
    if not attn_only and not expand_neurons:
        parts.append(by_layer(cache, layer, kinds=("mlp",), pos=pos))
    neurons = not attn_only and expand_neurons
    ends = [by_layer(cache, layer, kinds=("embed",), pos=pos)]
    ends.append(Stack(biases(cache, layer, mlp_input, incl_mlp=expand_neurons, pos=pos)[None], ["bias"]))
    every = [part._replace(values=projected(part.values, onto)) for part in (*parts, *ends)]
    if neurons:
        every.insert(1, by_neuron(cache, layer, pos=pos, onto=onto))
    return Stack(torch.cat([part.values for part in every]), [label for part in every for label in part.labels])
