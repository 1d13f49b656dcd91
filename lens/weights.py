"""Weights of all layers at once, under the field's names."""

import torch
from jaxtyping import Float
from torch import Tensor


class WeightViews:
    """``model.W_Q [layer, head, d_model, d_head]`` and so on, stacked anew at each call (a copy).

    Keys and values of a grouped-query model are expanded: one entry per query head. The blocks hold the weights
    themselves: ``model.blocks[3].attn.W_K`` is [kv_head, d_model, d_head].
    """

    @property
    def W_E(self) -> Float[Tensor, "d_vocab d_model"]:
        """The embedding, before ``cfg.embed_scale`` and the norm that some models put after it.

        Of a model with centred writing weights it is made at each access (:mod:`lens.folded`).
        """
        return self.embed.W_E

    @property
    def W_U(self) -> Float[Tensor, "d_model d_vocab"]:
        """The unembedding; of a processed model it is made at each access (:mod:`lens.folded`)."""
        return self.unembed.W_U

    @property
    def b_U(self) -> Float[Tensor, " d_vocab"]:
        """Bias of the logits."""
        return self.unembed.b_U

    @property
    def W_pos(self) -> Float[Tensor, "n_ctx d_model"]:
        """The learned positions; ValueError where positions are not learned."""
        if self.cfg.positions not in ("learned", "shortformer"):
            raise ValueError(f"{self.name} has no W_pos: its positions are {self.cfg.positions}.")
        return self.pos_embed.W_pos

    def _attn(self, name: str) -> Tensor:
        return torch.stack([getattr(block.attn, name).to(self.device) for block in self.blocks])

    def _per_query_head(self, name: str) -> Tensor:
        stacked, group = self._attn(name), self.cfg.group_size
        return stacked if group == 1 else stacked.repeat_interleave(group, dim=1)

    def _mlp(self, name: str) -> Tensor:
        if self.cfg.attn_only:
            raise ValueError(f"{self.name} has no {name}: it has attention layers only.")
        return torch.stack([getattr(block.mlp, name).to(self.device) for block in self.blocks])

    @property
    def W_Q(self) -> Float[Tensor, "layer head d_model d_head"]:
        """Query weights."""
        return self._attn("W_Q")

    @property
    def W_K(self) -> Float[Tensor, "layer head d_model d_head"]:
        """Key weights, one entry per query head."""
        return self._per_query_head("W_K")

    @property
    def W_V(self) -> Float[Tensor, "layer head d_model d_head"]:
        """Value weights, one entry per query head."""
        return self._per_query_head("W_V")

    @property
    def W_O(self) -> Float[Tensor, "layer head d_head d_model"]:
        """Output weights of the heads."""
        return self._attn("W_O")

    @property
    def b_Q(self) -> Float[Tensor, "layer head d_head"]:
        """Query biases."""
        return self._attn("b_Q")

    @property
    def b_K(self) -> Float[Tensor, "layer head d_head"]:
        """Key biases, one entry per query head."""
        return self._per_query_head("b_K")

    @property
    def b_V(self) -> Float[Tensor, "layer head d_head"]:
        """Value biases, one entry per query head."""
        return self._per_query_head("b_V")

    @property
    def b_O(self) -> Float[Tensor, "layer d_model"]:
        """Output biases of the attention layers."""
        return self._attn("b_O")

    @property
    def W_in(self) -> Float[Tensor, "layer d_model d_mlp"]:
        """Input weights of the MLPs; ValueError in an attention-only model."""
        return self._mlp("W_in")

    @property
    def W_gate(self) -> Float[Tensor, "layer d_model d_mlp"]:
        """Gate weights of the MLPs; ValueError where there is no gate."""
        if not self.cfg.gated_mlp:
            raise ValueError(f"{self.name} has no W_gate: its MLPs are not gated.")
        return self._mlp("W_gate")

    @property
    def W_out(self) -> Float[Tensor, "layer d_mlp d_model"]:
        """Output weights of the MLPs; ValueError in an attention-only model."""
        return self._mlp("W_out")

    @property
    def b_in(self) -> Float[Tensor, "layer d_mlp"]:
        """Input biases of the MLPs; ValueError in an attention-only model."""
        return self._mlp("b_in")

    @property
    def b_out(self) -> Float[Tensor, "layer d_model"]:
        """Output biases of the MLPs; ValueError in an attention-only model."""
        return self._mlp("b_out")

    def all_head_labels(self) -> list[str]:
        """ "L0H0", "L0H1", … in the order of ``W_Q.flatten(0, 1)``."""
        return [f"L{layer}H{head}" for layer in range(self.cfg.n_layers) for head in range(self.cfg.n_heads)]
