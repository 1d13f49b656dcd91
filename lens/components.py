"""The parts of a transformer block other than attention: embedding, norm, MLP, unembedding. Each has hook points."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from lens.config import Config
from lens.hooks import HookPoint


def gelu_new(x: Tensor) -> Tensor:
    """GELU, its normal distribution function approximated by a tanh."""
    return F.gelu(x, approximate="tanh")


def solu(x: Float[Tensor, "*axes d_mlp"]) -> Float[Tensor, "*axes d_mlp"]:
    """``x * softmax(x)``. Source: Elhage et al. 2022, "Softmax linear units"."""
    return x * x.softmax(-1)


ACT_FN = {"gelu_new": gelu_new, "gelu": F.gelu, "silu": F.silu, "relu": F.relu, "solu": solu}  # each can be pickled


def weight(cfg: Config, *shape: int) -> nn.Parameter:
    """A random weight matrix of the size that keeps activations near 1."""
    values = torch.empty(shape)
    if not values.is_meta:  # drawing no numbers at all takes torch 1 ms each time, a third of opening a small model
        values.normal_(std=0.8 / cfg.d_model**0.5)
    return nn.Parameter(values)


def bias(*shape: int) -> nn.Parameter:
    """A bias of zeros. Every bias exists, also where an architecture has none, so that code need not ask."""
    return nn.Parameter(torch.zeros(shape))


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` in the format in which norms and softmax are taken: float32, or float64 if it is that already."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


class Norm(nn.Module):
    """LayerNorm, or RMSNorm (no mean, no bias), over the last ``n_axes`` axes.

    ``hook_normalized`` is before the learned gain and bias.
    """

    def __init__(self, kind: str, eps: float, *shape: int, n_axes: int = 1):
        super().__init__()
        self.centred, self.eps = kind == "LN", eps
        self.axes = tuple(range(-n_axes, 0))
        self.w = nn.Parameter(torch.ones(shape))
        if self.centred:
            self.b = bias(*shape)
        self.hook_scale = HookPoint()  # [batch, pos, 1]; of q and k [batch, pos, head or 1, 1]
        self.hook_normalized = HookPoint()  # the shape of the input

    def forward(self, x: Float[Tensor, "*axes d"]) -> Float[Tensor, "*axes d"]:
        exact = self.centre(at_least_float32(x))
        scale = self.hook_scale(self.scale_of(exact))
        normalized = self.hook_normalized((exact / scale).to(x.dtype))
        return normalized * self.w + self.b if self.centred else normalized * self.w

    def centre(self, x: Float[Tensor, "*axes d"], dim: int | None = None) -> Float[Tensor, "*axes d"]:
        """``x`` less its mean over the norm's axes, as LayerNorm takes it out; RMSNorm leaves ``x`` as it is.

        ``dim``: where the norm's axis is in ``x``, if it is not the last: centring what reads centres what is read.
        """
        return x - x.mean(self.axes if dim is None else dim, keepdim=True) if self.centred else x

    def scale_of(self, centred: Float[Tensor, "*axes d"]) -> Float[Tensor, "*axes 1"]:
        """What the norm divides by, of what :meth:`centre` left."""
        return (centred.pow(2).mean(self.axes, keepdim=True) + self.eps).sqrt()


def stream_norm(cfg: Config, wanted: bool = True) -> nn.Module:
    """A norm of the residual stream, or nothing where the model has none."""
    return Norm(cfg.norm, cfg.norm_eps, cfg.d_model) if wanted and cfg.norm is not None else nn.Identity()


class Embed(nn.Module):
    """A row of W_E per token, scaled and normalised where the model does so."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.scale = cfg.embed_scale
        self.W_E = weight(cfg, cfg.d_vocab, cfg.d_model)
        self.ln = Norm("LN", cfg.norm_eps, cfg.d_model) if cfg.embed_norm else nn.Identity()

    @property
    def stored(self) -> nn.Parameter:
        """The matrix in memory; a processed model shares it with the raw one (:mod:`lens.folded`)."""
        return self.W_E

    def forward(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
        embed = F.embedding(tokens, self.W_E)
        if self.scale != 1:  # rounded to the weights' format, as in training
            embed = embed * embed.new_tensor(self.scale)
        return self.ln(embed)


class Unembed(nn.Module):
    """Logits of every token of the vocabulary.

    ``embed`` is the embedding whose matrix this is, turned, in a tuple, since it is no part of this module; empty where
    W_U is a parameter of its own.
    """

    embed: tuple[nn.Module, ...] = ()

    def __init__(self, cfg: Config):
        super().__init__()
        self.softcap = cfg.final_softcap
        self.W_U, self.b_U = weight(cfg, cfg.d_model, cfg.d_vocab), bias(cfg.d_vocab)

    @property
    def stored(self) -> Tensor:
        """The matrix in memory; a processed model shares it with the raw one (:mod:`lens.folded`)."""
        return self.W_U

    def directions(self, tokens: Int[Tensor, "*tokens"] | slice) -> Float[Tensor, "*tokens d_model"]:
        """The columns of W_U of some tokens."""
        return self.W_U.T[tokens]

    def forward(self, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_vocab"]:
        return softcapped(F.linear(x, self.W_U.T, self.b_U), self.softcap)


def same_values(new: Tensor, own: Tensor) -> bool:
    """Whether ``new``, in the format of ``own``, is the same matrix; the shape decides where one has no values yet."""
    if new.shape != own.shape or new.is_meta or own.is_meta:
        return new.shape == own.shape
    same_memory = new.data_ptr() == own.data_ptr() and new.stride() == own.stride() and new.dtype == own.dtype
    return same_memory or torch.equal(new.to(own), own)


class TiedUnembed(Unembed):
    """The unembedding of a model whose W_U is W_E turned: one parameter, which the embedding holds.

    An optimiser moves it once, and a copy of the model has one matrix as well. A state dict still has both names;
    loading one whose W_U is another matrix raises RuntimeError.
    """

    def __init__(self, cfg: Config, embed: Embed):
        nn.Module.__init__(self)
        self.softcap, self.b_U, self.embed = cfg.final_softcap, bias(cfg.d_vocab), (embed,)

    @property
    def W_U(self) -> Float[Tensor, "d_model d_vocab"]:
        """The embedding, turned: a view."""
        return self.embed[0].stored.T

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}W_U"] = self.W_U if keep_vars else self.W_U.detach()
        super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        W_U, errors = state_dict.get(f"{prefix}W_U"), args[-1]
        rest = {name: tensor for name, tensor in state_dict.items() if name != f"{prefix}W_U"}
        super()._load_from_state_dict(rest, prefix, *args)
        if W_U is not None and not same_values(W_U, self.W_U):
            errors.append(
                f"{prefix}W_U is not W_E turned, and this model has one matrix for both. Make it with "
                "dataclasses.replace(cfg, tied=False), which gives W_U memory of its own."
            )


def softcapped(x: Tensor, cap: float | None) -> Tensor:
    """``cap * tanh(x / cap)``; ``x`` itself without a cap."""
    return x if cap is None else cap * torch.tanh(x / cap)


class MLP(nn.Module):
    """``act(x W_in) W_out``, or gated: ``(act(x W_gate) * (x W_in)) W_out``; each product with its bias.

    Some models normalise what comes out of ``act``; then ``hook_mid`` is before that norm.
    """

    def __init__(self, cfg: Config):
        super().__init__()
        self.gated, self.normed, self.act_fn = cfg.gated_mlp, cfg.mlp_norm, ACT_FN[cfg.act_fn]
        self.W_in, self.b_in = weight(cfg, cfg.d_model, cfg.d_mlp), bias(cfg.d_mlp)
        self.W_out, self.b_out = weight(cfg, cfg.d_mlp, cfg.d_model), bias(cfg.d_model)
        self.hook_pre, self.hook_post = HookPoint(), HookPoint()  # [batch, pos, d_mlp]
        if self.gated:
            self.W_gate, self.b_gate = weight(cfg, cfg.d_model, cfg.d_mlp), bias(cfg.d_mlp)
            self.hook_pre_linear = HookPoint()
        if self.normed:
            self.hook_mid, self.ln = HookPoint(), Norm("LN", cfg.norm_eps, cfg.d_mlp)

    def forward(self, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        linear = F.linear(x, self.W_in.T, self.b_in)
        if self.gated:
            gate = self.hook_pre(F.linear(x, self.W_gate.T, self.b_gate))
            post = self.activate(gate) * self.hook_pre_linear(linear)
        else:
            post = self.activate(self.hook_pre(linear))
        return F.linear(self.hook_post(post), self.W_out.T, self.b_out)

    def activate(self, pre: Float[Tensor, "batch pos d_mlp"]) -> Float[Tensor, "batch pos d_mlp"]:
        """The activation function, and the norm after it where there is one."""
        return self.ln(self.hook_mid(self.act_fn(pre))) if self.normed else self.act_fn(pre)
