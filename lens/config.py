"""What a transformer is made of: sizes and structural choices, never the name of an architecture.

The axis words of the whole project, in shapes and in einops patterns alike:
``batch pos query key layer head kv_head d_head d_model d_mlp d_vocab n_ctx``.
"""

from dataclasses import dataclass, fields
from typing import Literal

NORMS = ("LN", "RMS")
POSITIONS = ("learned", "rotary")
ACTIVATIONS = ("gelu_new", "gelu", "silu", "relu")


@dataclass(frozen=True, kw_only=True)
class Config:
    """The structure of one model. Two models with equal configs differ only in their weights.

    ``norm``: "LN" subtracts the mean and has a gain and a bias, "RMS" has a gain only; both divide by
    ``sqrt(mean square + norm_eps)``. ``positions``: "learned" adds a row of W_pos to the embedding, "rotary" turns
    the first ``rotary_dim`` dimensions of q and k, the pair (i, i + rotary_dim/2) by
    ``position * rotary_base^(-2i/rotary_dim)``.
    Attention scores are divided by ``attn_scale``. ``d_mlp`` is 0 in an attention-only model.
    """

    n_layers: int
    n_heads: int
    d_model: int
    d_head: int
    d_vocab: int
    n_ctx: int
    d_mlp: int = 0
    n_kv_heads: int | None = None  # None: every query head has its own keys and values
    norm: Literal["LN", "RMS"] = "LN"
    norm_eps: float = 1e-5
    act_fn: Literal["gelu_new", "gelu", "silu", "relu"] = "gelu_new"
    gated_mlp: bool = False
    positions: Literal["learned", "rotary"] = "learned"
    rotary_dim: int | None = None  # None: the whole head
    rotary_base: float = 10_000.0
    attn_scale: float | None = None  # None: sqrt(d_head)
    scale_by_layer: bool = False  # scores of layer l are also divided by l + 1
    tied: bool = False  # W_U is W_E transposed, in the same memory

    def __post_init__(self) -> None:
        filled = {"n_kv_heads": self.n_heads, "attn_scale": self.d_head**0.5, "rotary_dim": self.d_head}
        for name, value in filled.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        for name in ("n_layers", "n_heads", "n_kv_heads", "d_model", "d_head", "d_vocab", "n_ctx"):
            if getattr(self, name) < 1:
                raise ValueError(f"Config: {name} is {getattr(self, name)}; it must be at least 1.")
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"Config: {self.n_heads} query heads cannot share {self.n_kv_heads} key/value heads evenly; "
                "n_kv_heads must divide n_heads."
            )
        for name, allowed in (("norm", NORMS), ("positions", POSITIONS), ("act_fn", ACTIVATIONS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"Config: {name}={getattr(self, name)!r} is not one of {', '.join(allowed)}.")
        if self.positions == "rotary" and (self.rotary_dim % 2 or self.rotary_dim > self.d_head):
            raise ValueError(f"Config: rotary_dim {self.rotary_dim} must be even and at most d_head = {self.d_head}.")

    @property
    def attn_only(self) -> bool:
        """Whether the blocks have no MLP."""
        return self.d_mlp == 0

    @property
    def group_size(self) -> int:
        """How many query heads read the same keys and values (1 without grouping)."""
        return self.n_heads // self.n_kv_heads

    @property
    def axes(self) -> dict[str, int]:
        """Size of every axis word that a weight has, for checked einops patterns."""
        return {
            "head": self.n_heads,
            "kv_head": self.n_kv_heads,
            "d_model": self.d_model,
            "d_head": self.d_head,
            "d_mlp": self.d_mlp,
            "d_vocab": self.d_vocab,
            "n_ctx": self.n_ctx,
            "qkv": 3,
        }

    def __str__(self) -> str:
        return "\n".join(f"{field.name:12} {getattr(self, field.name)}" for field in fields(self))
