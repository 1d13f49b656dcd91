"""The two circuits of every head as matrices, and how heads compose, from the weights alone."""

import torch
from jaxtyping import Float
from torch import Tensor

from lens.composition import composition_scores
from lens.factored import FactoredMatrix


class CircuitViews:
    """``model.QK``, ``model.OV`` [layer, head, d_model, d_model] and what follows from them. Needs ``WeightViews``."""

    @property
    def QK(self) -> FactoredMatrix:
        """W_Q W_Kᵀ of every head: which stream asks, which answers. No scale, bias, norm or rotation is in it."""
        return FactoredMatrix(self.W_Q, self.W_K.mT)

    @property
    def OV(self) -> FactoredMatrix:
        """W_V W_O of every head: what is written when a stream is attended to. Biases and norms are not in it."""
        return FactoredMatrix(self.W_V, self.W_O)

    @torch.no_grad()
    def all_composition_scores(self, mode: str) -> Float[Tensor, "layer head layer head"]:
        """How strongly each head (first two axes) feeds each head of a later layer (last two), through Q, K or V.

        ``‖W_OV W_QK‖`` (Q), ``‖W_OV W_QKᵀ‖`` (K) or ``‖W_OV W_OV‖`` (V), over the product of both norms; random heads
        give about 1/√d_model. 0 for the same and for earlier layers. Source: Elhage et al. 2021.
        """
        receivers = {"Q": lambda: self.QK, "K": lambda: self.QK.T, "V": lambda: self.OV}
        if mode not in receivers:
            raise ValueError(f"all_composition_scores: mode={mode!r}; it must be 'Q', 'K' or 'V'.")
        scores = composition_scores(self.OV, receivers[mode]())
        layer = torch.arange(self.cfg.n_layers, device=scores.device)
        return scores * (layer[:, None, None, None] < layer[:, None])

    def accumulated_bias(
        self, layer: int, mlp_input: bool = False, include_mlp_biases: bool = True
    ) -> Float[Tensor, " d_model"]:
        """What the output biases b_O and b_out of the layers before ``layer`` add to the stream.

        ``mlp_input``: also b_O of ``layer`` itself. ValueError where a norm makes it depend on the text.
        """
        if self.cfg.post_norm:
            raise ValueError(
                f"{self.name} normalises what its layers write, so their biases add no fixed vector. "
                "lens.decompose.whole(cache) has the term for each position."
            )
        blocks = list(self.blocks)
        biases = [block.attn.b_O for block in blocks[: layer + mlp_input]]
        if include_mlp_biases and not self.cfg.attn_only:
            biases += [block.mlp.b_out for block in blocks[:layer]]
        return sum(biases, torch.zeros_like(blocks[0].attn.b_O))
