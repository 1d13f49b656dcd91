"""How a layer or the unembedding reads a stream: through its norm, with the scale the norm had in that run."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lens.components import Norm
from lens.decompose import Index, indexed, reader

if TYPE_CHECKING:
    from lens.cache import ActivationCache


def norm_before(cache: "ActivationCache", layer: int, mlp_input: bool = False) -> tuple[str, nn.Module]:
    """Name and module of the norm through which ``layer`` (n_layers: the unembedding) reads the stream."""
    if layer == cache.model.cfg.n_layers:
        if mlp_input:
            raise ValueError(f"mlp_input=True: there is no MLP at layer {layer}; that is the unembedding.")
        return "ln_final", cache.model.ln_final
    name = "ln2" if mlp_input else "ln1"
    return f"blocks.{layer}.{name}", getattr(cache.model.blocks[layer], name)


def scaled_components(
    cache: "ActivationCache",
    values: Float[Tensor, "component *batch_and_pos d_model"],
    layer: int | None = None,
    mlp_input: bool = False,
    pos: Index = None,
) -> Float[Tensor, "component *batch_and_pos d_model"]:
    """Parts of one stream, as its reader sees them: centred (LayerNorm) and divided by the scale of the whole stream.

    The scale is the one of the run, at each position; the learned gain and bias are not applied. Linear: the parts
    still sum to the whole. Do not use it on streams of other layers, which have scales of their own.
    """
    name, norm = norm_before(cache, reader(cache, layer), mlp_input)
    if not isinstance(norm, Norm):
        return values
    scale = indexed(cache[f"{name}.hook_scale"], -2, pos)
    return (norm.centre(values) / scale).to(values.dtype)


def centred_directions(
    cache: "ActivationCache", onto: Float[Tensor, "d_model *output"], layer: int | None = None, mlp_input: bool = False
) -> Float[Tensor, "d_model *output"]:
    """Directions whose products with raw parts are, over :func:`scale_of_reader`, those with parts as a reader sees.

    Centring the direction centres what it reads.
    """
    _, norm = norm_before(cache, reader(cache, layer), mlp_input)
    return norm.centre(onto, dim=0) if isinstance(norm, Norm) else onto


def scale_of_reader(
    cache: "ActivationCache", layer: int | None = None, mlp_input: bool = False, pos: Index = None
) -> Float[Tensor, "*batch_and_pos 1"]:
    """What the norm before ``layer`` divided the stream by at each position; one where there is no norm."""
    name, norm = norm_before(cache, reader(cache, layer), mlp_input)
    return indexed(cache[f"{name}.hook_scale"], -2, pos) if isinstance(norm, Norm) else torch.ones(1)


def normalised_streams(
    cache: "ActivationCache",
    values: Float[Tensor, "stream *batch_and_pos d_model"],
    layer: int | None = None,
    mlp_input: bool = False,
) -> Float[Tensor, "stream *batch_and_pos d_model"]:
    """Whole streams through the norm that reads at ``layer``, each with its own statistics; gain and bias applied."""
    _, norm = norm_before(cache, reader(cache, layer), mlp_input)
    if not isinstance(norm, Norm):
        return values
    exact = norm.centre(values.float())
    normalised = (exact / norm.scale_of(exact)).to(values.dtype) * norm.w
    return normalised + norm.b if norm.centred else normalised


def logit_contributions(
    cache: "ActivationCache",
    values: Float[Tensor, "component *batch_and_pos d_model"],
    direction: Float[Tensor, "*batch_and_pos d_model"],
    pos: Index = None,
) -> Float[Tensor, "component *batch_and_pos"]:
    """What each part of the final stream adds to a logit (or difference of logits), in logits.

    ``((x − mean x) / σ) · (γ ⊙ direction)``, σ the final norm's scale at that position in the run; RMSNorm has no mean.
    ``direction`` is a column of W_U, or the difference of two. The same with weights folded or not. What the final
    norm's bias and b_U add belongs to no part: β · direction + Δb_U. A softcap of the logits comes after the sum.
    """
    norm = cache.model.ln_final
    if not isinstance(norm, Norm):
        return (values * direction).sum(-1)
    reads = norm.centre(direction * norm.w)  # centring the direction centres x
    scale = indexed(cache["ln_final.hook_scale"], -2, pos)
    read = (
        values @ reads if reads.ndim == 1 else torch.einsum("c...d,...d->c...", values, reads.expand(values.shape[1:]))
    )
    return read / scale[..., 0]
