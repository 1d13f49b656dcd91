"""Embedding and unembedding of a processed model: the raw model's matrices, in the same memory, and a vector for each.

In small models these two matrices are a third of all weights, so a processed model does not hold its own. ``W_E`` and
``W_U`` are what processing made of them, computed at each access; the forward pass reads the raw ones and applies the
rest to the stream, which is the same product in another order.
"""

from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from lens.components import Embed, Norm, Unembed, softcapped


class CentredEmbed(nn.Module):
    """A row of W_E per token, each with mean zero over d_model. The parameter is the raw matrix, ``raw_W_E``."""

    def __init__(self, embed: Embed):
        super().__init__()
        self.raw_W_E, self.scale = embed.W_E, embed.scale

    @property
    def W_E(self) -> Float[Tensor, "d_vocab d_model"]:
        """The centred embedding, made anew at each access."""
        return centre(self.raw_W_E)

    @property
    def stored(self) -> nn.Parameter:
        """The matrix in memory."""
        return self.raw_W_E

    def forward(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
        return centre(F.embedding(tokens, self.raw_W_E)) * self.scale


class FoldedUnembed(nn.Module):
    """Logits of every token, with ``W_U = centre(gain * raw_W_U) - shift``.

    ``gain`` multiplies the rows of ``raw_W_U``, ``centre`` takes each column's mean over d_model away, where a
    LayerNorm was folded in, and ``shift`` is each row's mean over the vocabulary, where W_U was centred.
    """

    def __init__(
        self, unembed: "Unembed | FoldedUnembed", b_U: Tensor, gain: Tensor, shift: Tensor | None, centred: bool
    ):
        super().__init__()
        self.embed, self.softcap = unembed.embed, unembed.softcap
        if not self.embed:
            self.raw_W_U = unembed.stored
        learned = unembed.b_U.requires_grad or bool(b_U.any())  # one that the architecture lacks may begin here
        self.b_U, self.centred = nn.Parameter(b_U, requires_grad=learned), centred
        self.register_buffer("gain", gain)
        self.register_buffer("shift", shift)

    @classmethod
    def of(cls, unembed: "Unembed | FoldedUnembed") -> Self:
        """The same unembedding in this form."""
        if isinstance(unembed, cls):
            return unembed
        return cls(unembed, unembed.b_U, torch.ones_like(unembed.W_U[:, 0]), None, centred=False)

    def after(self, norm: Norm) -> Self:
        """With the gain and bias of the norm before it moved in; once, because a second gain would not commute."""
        b_U = self.b_U + self.read(norm.b) if norm.centred else self.b_U
        shift = self.shift if self.shift is None else norm.centre(norm.w * self.shift)
        return type(self)(self, b_U, norm.w * self.gain, shift, norm.centred)

    def centred_over_vocabulary(self) -> Self:
        """With the mean of every row of W_U, and that of b_U, taken away."""
        shift = centre(self.gain * self.stored.mean(-1), self.centred)
        return type(self)(self, self.b_U - self.b_U.mean(), self.gain, shift, self.centred)

    @property
    def W_U(self) -> Float[Tensor, "d_model d_vocab"]:
        """The folded unembedding, made anew at each access: as large as the raw one. ``directions`` makes columns."""
        return self.directions(slice(None)).T

    @property
    def stored(self) -> Tensor:
        """The matrix in memory: a parameter, or that of the embedding, turned, where the raw model is tied."""
        return self.embed[0].stored.T if self.embed else self.raw_W_U

    def directions(self, tokens: Int[Tensor, "*tokens"] | slice) -> Float[Tensor, "*tokens d_model"]:
        """The columns of W_U of some tokens."""
        rows = centre(self.stored.T[tokens] * self.gain, self.centred)
        return rows if self.shift is None else rows - self.shift

    def read(self, x: Float[Tensor, "*batch d_model"], bias: Tensor | None = None) -> Float[Tensor, "*batch d_vocab"]:
        """``x @ W_U + bias``."""
        out = F.linear(centre(x, self.centred) * self.gain, self.stored.T, bias)
        return out if self.shift is None else out.sub_((x @ self.shift)[..., None])  # in place: logits are large

    def forward(self, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_vocab"]:
        return softcapped(self.read(x, self.b_U), self.softcap)


def centre(x: Float[Tensor, "*batch d_model"], wanted: bool = True) -> Float[Tensor, "*batch d_model"]:
    """``x`` less its mean over d_model, where wanted."""
    return x - x.mean(-1, keepdim=True) if wanted else x


def own_state(model: nn.Module) -> dict[str, Tensor]:
    """The state dict of a raw or processed model, in the names of a raw one: W_E and W_U as they are seen.

    A raw model's is its own memory; for a processed one the two matrices are made.
    """
    inner = ("embed.raw_W_E", "unembed.raw_W_U", "unembed.gain", "unembed.shift")
    state = {name: tensor for name, tensor in model.state_dict().items() if name not in inner}
    return state | {"embed.W_E": model.embed.W_E.detach(), "unembed.W_U": model.unembed.W_U.detach()}
