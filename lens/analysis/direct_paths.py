"""What each head adds to the logits by itself, on few tokens, gathered during one forward pass of many sequences."""

from collections.abc import Callable

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.circuit_weights import constant_values, output_weights, read_through
from lens.components import Norm, at_least_float32
from lens.model import Transformer

PATH = "The head's direct path: its output through the final norm, its scale as in that run, and W_U"


class DirectPaths:
    """The direct path of every head of every layer, read along the ``candidates`` of each sequence only.

    A subclass says what to keep of a layer: where the queries look (``see_pattern``) and what is written (``see_z``).
    Its logits lack the final norm's scale, which is known after the last layer only: divide by ``scale``.
    """

    def __init__(self, model: Transformer, candidates: Int[Tensor, "sequence token"], queries: slice) -> None:
        n_queries = queries.stop - queries.start
        self.model, self.queries = model, queries
        self.candidates = candidates.to(model.device)
        self.reads = token_readers(model, self.candidates)
        shape = (len(candidates), model.cfg.n_layers, n_queries, 1)
        self.scale: Float[Tensor, "sequence layer query 1"] = torch.ones(shape, device=model.device)

    def visits(self) -> dict[str, Callable[[int, slice, Tensor], None]]:
        """What to look at, in the order of the forward pass: for :func:`lens.analysis.streaming.stream`."""
        found, cfg = {}, self.model.cfg
        for layer in range(cfg.n_layers):
            found |= {f"blocks.{layer}.attn.hook_pattern": self.see_pattern, f"blocks.{layer}.attn.hook_z": self.see_z}
            if cfg.post_norm:
                found[f"blocks.{layer}.ln1_post.hook_scale"] = self.see_post_scale
        return found | {f"blocks.{cfg.n_layers - 1}.hook_resid_post": self.see_end}

    def see_pattern(self, layer: int, rows: slice, pattern: Float[Tensor, "batch head query key"]) -> None:
        """Where each query looks."""
        raise NotImplementedError

    def see_z(self, layer: int, rows: slice, z: Float[Tensor, "batch pos head d_head"]) -> None:
        """What every head writes."""
        raise NotImplementedError

    def along(self, layer: int, rows: slice) -> Float[Tensor, "batch head d_head token"]:
        """How far each entry of a head's values moves the logits of the candidates; times the scale."""
        # W_O meets the few candidates first: a head's write is never formed in the stream's width.
        return einsum(
            output_weights(self.model, layer), self.reads[rows],
            "head d_head d_model, batch token d_model -> batch head d_head token",
        )  # fmt: skip

    def logits(
        self, z: Float[Tensor, "batch pos head d_head"], along: Float[Tensor, "batch head d_head token"]
    ) -> Float[Tensor, "batch query head token"]:
        """What every head adds to the logits of the candidates, minus its mean over the vocabulary; times the scale."""
        return einsum(
            z[:, self.queries].float(), along,
            "batch query head d_head, batch head d_head token -> batch query head token",
        )  # fmt: skip

    def see_post_scale(self, layer: int, rows: slice, scale: Float[Tensor, "batch pos 1"]) -> None:
        """What a norm after attention divides by."""
        self.scale[rows, layer] *= scale[:, self.queries]

    def see_end(self, layer: int, rows: slice, resid: Float[Tensor, "batch pos d_model"]) -> None:
        """What the final norm divides by, once the last layer has written."""
        self.scale[rows] *= final_scale(self.model, resid[:, self.queries])[:, None]


def head_parts(
    model: Transformer, layer: int, z: Float[Tensor, "n head d_head"], onto: Float[Tensor, "n d_model"]
) -> Float[Tensor, "n head"]:
    """What each head of a layer adds along a direction of the stream, without what stands in all of its values.

    Times the scale of the norm after attention, where there is one.
    """
    along = einsum(
        onto, output_weights(model, layer).to(onto.device), "n d_model, head d_head d_model -> n head d_head"
    )
    return ((z.to(onto) - constant_values(model, layer).to(onto.device)) * along).sum(-1)


def final_scale(model: Transformer, resid: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos 1"]:
    """What the final norm divides by at each position; 1 where there is no final norm."""
    norm = model.ln_final
    if not isinstance(norm, Norm):
        return torch.ones_like(resid[..., :1])
    return norm.scale_of(norm.centre(at_least_float32(resid)))


def token_readers(model: Transformer, ids: Int[Tensor, "sequence token"]) -> Float[Tensor, "sequence token d_model"]:
    """The direction of the stream that raises each token against the average token, final norm folded in."""
    W_U = model.unembed.W_U
    columns = W_U.T[ids].float() - W_U.float().mean(1)
    return read_through(model.ln_final, columns.mT).mT
