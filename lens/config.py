"""What a transformer is made of: sizes and structural choices, never the name of an architecture.

The axis words of the whole project, in shapes and in einops patterns alike:
``batch pos query key layer head kv_head d_head d_model d_mlp d_vocab n_ctx``.
"""

from dataclasses import dataclass, fields
from math import isfinite
from typing import Literal

MOST_LAYERS = 2000  # the deepest models have under 200; a damaged file may say a billion
LARGEST = 2**31 - 1  # of a size
SIZES = ("n_layers", "n_heads", "n_kv_heads", "d_model", "d_head", "d_vocab", "n_ctx")
NUMBERS = ("norm_eps", "embed_scale", "attn_scale", "rotary_base", "rotary_gain", "alibi_scale")
PERHAPS = ("clip_qkv", "attn_softcap", "final_softcap", "local_rotary_base")  # numbers, or None
CHOICES = {
    "norm": ("LN", "RMS", None),
    "qk_norm": ("head", "all", None),
    "positions": ("learned", "rotary", "alibi", "shortformer"),
    "act_fn": ("gelu_new", "gelu", "silu", "relu", "solu"),
}


def _is_whole(value: object) -> bool:
    """Whether a value is a whole number that a size can be."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST


@dataclass(frozen=True, kw_only=True)
class Config:
    """The structure of one model. Two models with equal configs differ only in their weights.

    ``norm``: "LN" subtracts the mean and has a gain and a bias, "RMS" has a gain only; both divide by
    ``sqrt(mean square + norm_eps)``. None: the model has no norms at all.
    ``positions``: "learned" adds a row of W_pos to the embedding; "shortformer" adds it to what q and k are made from,
    in every layer; "rotary" turns the first ``rotary_dim`` dimensions of q and k, the pair (i, i + rotary_dim/2) by
    ``position * rotary_base^(-2i/rotary_dim)``; "alibi" lowers a score by ``slope * distance``, one slope per head.
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
    tied: bool = False  # W_U is W_E transposed, in the same memory

    norm: Literal["LN", "RMS"] | None = "LN"
    norm_eps: float = 1e-5
    pre_norm: bool = True  # attention and MLP read the normalised stream; False: the stream itself
    post_norm: bool = False  # what they write is normalised before it is added
    embed_norm: bool = False  # the embedding is normalised, always by LayerNorm, before layer 0
    final_rms: bool = False  # the final norm is "RMS" whatever the others are
    qk_norm: Literal["head", "all"] | None = None  # q and k are normalised, each head alone or all heads together

    embed_scale: float = 1.0  # the embedding is multiplied by this
    parallel: bool = False  # the MLP reads the stream that attention reads, not what attention wrote
    act_fn: Literal["gelu_new", "gelu", "silu", "relu", "solu"] = "gelu_new"
    gated_mlp: bool = False
    mlp_norm: bool = False  # LayerNorm after the activation function

    attn_scale: float | None = None  # None: sqrt(d_head)
    scale_by_layer: bool = False  # scores of layer l are also divided by l + 1
    clip_qkv: float | None = None  # q, k and v are cut off at ± this
    windows: tuple[int | None, ...] | None = None  # per layer, how many keys a query sees, itself included; None: all
    attn_softcap: float | None = None  # scores become cap * tanh(scores / cap)
    final_softcap: float | None = None  # logits, likewise

    positions: Literal["learned", "rotary", "alibi", "shortformer"] = "learned"
    rotary_dim: int | None = None  # None: the whole head
    rotary_base: float = 10_000.0
    rotary_adjacent: bool = False  # the pairs are (2i, 2i + 1)
    rotary_divisors: tuple[float, ...] | None = None  # the angle of pair i is divided by divisor i
    rotary_gain: float = 1.0  # rotated dimensions are also multiplied by this
    local_rotary_base: float | None = None  # layers with a window turn by this base, unscaled; None: like the others
    alibi_scale: float = 1.0  # all slopes are multiplied by this
    alibi_bf16: bool = False  # slope * position was rounded to bfloat16 in training, so it must be here

    absent: tuple[str, ...] = ()  # biases of 0, gains of 1, never trained: "attn.b_Q" of every layer, "unembed.b_U"
    processed: tuple[str, ...] = ()  # the functions of lens.process that the weights went through

    def __post_init__(self) -> None:
        self._check_kinds()
        filled = {"n_kv_heads": self.n_heads, "attn_scale": self.d_head**0.5, "rotary_dim": self.d_head}
        for name, value in filled.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        self._check()

    def _check_kinds(self) -> None:
        """Sizes are whole numbers, the others finite ones: a config may come from a damaged file."""
        for name in (*SIZES, "d_mlp", "rotary_dim"):
            value, missing = getattr(self, name), name in ("n_kv_heads", "rotary_dim")
            if not _is_whole(value) and not (missing and value is None):
                raise ValueError(f"Config: {name} is {value!r}; a whole number up to {LARGEST:,} was wanted.")
        for name in (*NUMBERS, *PERHAPS):
            value = getattr(self, name)
            if value is not None and not _is_whole(value) and not (isinstance(value, float) and isfinite(value)):
                raise ValueError(f"Config: {name} is {value!r}; a finite number was wanted.")
        for field in fields(self):
            if field.type is bool and not isinstance(getattr(self, field.name), bool):
                raise ValueError(f"Config: {field.name} is {getattr(self, field.name)!r}; yes or no was wanted.")
        if self.n_layers > MOST_LAYERS:
            raise ValueError(f"Config: {self.n_layers} layers; at most {MOST_LAYERS:,} are read.")
        if self.d_mlp < 0:
            raise ValueError(f"Config: d_mlp is {self.d_mlp}; it must be at least 0.")

    def _check(self) -> None:
        for name in SIZES:
            if getattr(self, name) < 1:
                raise ValueError(f"Config: {name} is {getattr(self, name)}; it must be at least 1.")
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"Config: {self.n_heads} query heads cannot share {self.n_kv_heads} key/value heads evenly; "
                "n_kv_heads must divide n_heads."
            )
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                wanted = ", ".join(map(str, allowed))
                raise ValueError(f"Config: {name}={getattr(self, name)!r} is not one of {wanted}.")
        if self.norm is None and (self.post_norm or self.qk_norm):
            raise ValueError("Config: norm=None leaves nothing for post_norm and qk_norm to use; name a kind of norm.")
        if self.positions == "rotary" and (self.rotary_dim % 2 or self.rotary_dim > self.d_head):
            raise ValueError(f"Config: rotary_dim {self.rotary_dim} must be even and at most d_head = {self.d_head}.")
        for name, wanted in (("windows", self.n_layers), ("rotary_divisors", self.rotary_dim // 2)):
            if getattr(self, name) is not None and len(getattr(self, name)) != wanted:
                raise ValueError(f"Config: {name} has {len(getattr(self, name))} entries; wanted {wanted}.")
        if self.windows is not None and any(width is not None and width < 1 for width in self.windows):
            raise ValueError(f"Config: windows={self.windows}; a query sees at least one key, itself.")

    @property
    def attn_only(self) -> bool:
        """Whether the blocks have no MLP."""
        return self.d_mlp == 0

    @property
    def group_size(self) -> int:
        """How many query heads read the same keys and values (1 without grouping)."""
        return self.n_heads // self.n_kv_heads

    @property
    def final_norm(self) -> Literal["LN", "RMS"] | None:
        """Kind of the norm before the unembedding."""
        return "RMS" if self.final_rms else self.norm

    def window(self, layer: int) -> int | None:
        """How many keys a query of ``layer`` sees, itself included; None: all before it."""
        return None if self.windows is None else self.windows[layer]

    @property
    def axes(self) -> dict[str, int]:
        """Size of every axis word that a weight has, for checked einops patterns."""
        return {
            "head": self.n_heads,
            "kv_head": self.n_kv_heads,
            "group": self.group_size,
            "d_model": self.d_model,
            "d_head": self.d_head,
            "d_mlp": self.d_mlp,
            "d_vocab": self.d_vocab,
            "n_ctx": self.n_ctx,
        }

    def __str__(self) -> str:
        return "\n".join(f"{field.name:17} {getattr(self, field.name)}" for field in fields(self))
