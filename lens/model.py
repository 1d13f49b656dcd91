"""The forward pass of a decoder-only transformer, readable top to bottom, every activation under the field's name."""

from collections.abc import Mapping
from typing import Self

import torch
from einops import repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lens.components import MLP, Attention, Embed, KeyValues, Norm, Places, PosEmbed, Rotation, Unembed
from lens.config import Config
from lens.hooks import Hooked, HookPoint


class Block(nn.Module):
    """One layer: attention, then the MLP if the model has one, each reading and adding to the residual stream."""

    def __init__(self, cfg: Config, layer: int):
        super().__init__()
        self.cfg = cfg
        self.hook_resid_pre = HookPoint()
        self.hook_q_input, self.hook_k_input, self.hook_v_input = (HookPoint(on_request=True) for _ in range(3))
        self.ln1, self.attn, self.hook_attn_out = Norm(cfg), Attention(cfg, layer), HookPoint()
        if not cfg.attn_only:
            self.hook_resid_mid, self.hook_mlp_in = HookPoint(), HookPoint(on_request=True)
            self.ln2, self.mlp, self.hook_mlp_out = Norm(cfg), MLP(cfg), HookPoint()
        self.hook_resid_post = HookPoint()

    def forward(self, resid_pre: Tensor, places: Places, past: KeyValues | None = None) -> Tensor:
        resid_pre = self.hook_resid_pre(resid_pre)
        attn_out = self.hook_attn_out(self.attn(*self.attention_inputs(resid_pre), places, past))
        if self.cfg.attn_only:
            return self.hook_resid_post(resid_pre + attn_out)
        resid_mid = self.hook_resid_mid(resid_pre + attn_out)
        mlp_out = self.hook_mlp_out(self.mlp(self.ln2(self.hook_mlp_in(resid_mid))))
        return self.hook_resid_post(resid_mid + mlp_out)

    def attention_inputs(self, resid_pre: Float[Tensor, "batch pos d_model"]) -> list[Tensor]:
        """What q, k and v are made from: one shared normalised stream, or one per head where its input is hooked."""
        n_heads, n_kv = self.cfg.n_heads, self.cfg.n_kv_heads
        split = {}
        for name, heads in (("q", n_heads), ("k", n_kv), ("v", n_kv)):
            point = getattr(self, f"hook_{name}_input")
            if point.active:
                one_each = repeat(resid_pre, "batch pos d_model -> batch pos head d_model", head=heads)
                split[name] = self.ln1(point(one_each))
        shared = self.ln1(resid_pre)  # last, so that the cached scale is the one of the stream itself
        return [split.get(name, shared) for name in "qkv"]


class Transformer(Hooked):
    """Tokens in, logits out; or any stretch of the layers in between."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        self.embed, self.hook_embed = Embed(cfg), HookPoint()
        if cfg.positions == "learned":
            self.pos_embed, self.hook_pos_embed = PosEmbed(cfg), HookPoint()
        self.blocks = nn.ModuleList(Block(cfg, layer) for layer in range(cfg.n_layers))
        self.ln_final, self.unembed = Norm(cfg), Unembed(cfg)
        self.setup()

    @classmethod
    def from_state(cls, cfg: Config, state: Mapping[str, Tensor], **attributes) -> Self:
        """A model that uses the tensors of ``state`` themselves, no copies. RuntimeError names what does not fit."""
        with torch.device("meta"):
            model = cls(cfg, **attributes)
        model.load_state_dict(dict(state), assign=True)
        return model

    def forward(
        self,
        tokens: Int[Tensor, "batch pos"] | Float[Tensor, "batch pos d_model"],
        attention_mask: Bool[Tensor, "batch key"] | None = None,
        *,
        start_at_layer: int | None = None,
        stop_at_layer: int | None = None,
        logit_positions: int | slice | Int[Tensor, " n"] | None = None,
        past: KeyValues | None = None,
    ) -> Float[Tensor, "batch pos d_vocab"] | Float[Tensor, "batch pos d_model"]:
        """Logits [batch, pos, d_vocab], only at ``logit_positions`` if given.

        ``attention_mask`` is True at real tokens: no real token sees a pad. ``start_at_layer=L``: the input is the
        residual stream that enters layer L, [batch, pos, d_model]. ``stop_at_layer=L``: the output is that stream.
        ``past``: the input continues what ``past`` holds; the mask then covers past and new positions.
        """
        layers = self.layers_between(start_at_layer, stop_at_layer)
        places = self.places(tokens, attention_mask, past)
        resid = tokens if start_at_layer is not None else self.embed_tokens(tokens, places)
        for layer in layers:
            resid = self.blocks[layer](resid, places, past)
        if stop_at_layer is not None:
            return resid
        if isinstance(logit_positions, int):
            logit_positions = [logit_positions]
        if logit_positions is not None:
            resid = resid[:, logit_positions]
        return self.unembed(self.ln_final(resid))

    def layers_between(self, start: int | None, stop: int | None) -> range:
        """The layers from ``start`` to before ``stop``; negative numbers count from the end, None is the end itself."""
        n_layers = self.cfg.n_layers
        for name, value in (("start_at_layer", start), ("stop_at_layer", stop)):
            if value is not None and not -n_layers <= value <= n_layers:
                raise ValueError(f"{name}={value}: this model has layers 0 … {n_layers - 1}; {n_layers} is the end.")
        return range(n_layers)[start:stop]

    def embed_tokens(self, tokens: Int[Tensor, "batch pos"], places: Places) -> Float[Tensor, "batch pos d_model"]:
        """The residual stream before layer 0."""
        self.check_tokens(tokens)
        embed = self.hook_embed(self.embed(tokens))
        if self.cfg.positions == "learned":
            embed = embed + self.hook_pos_embed(self.pos_embed(places.positions))
        return embed

    def check_tokens(self, tokens: Tensor) -> None:
        """ValueError unless ``tokens`` are ids of this vocabulary, [batch, pos]."""
        if tokens.ndim != 2 or tokens.is_floating_point() or 0 in tokens.shape:
            raise ValueError(
                f"The model reads token ids [batch, pos], at least one; got {tokens.dtype} {list(tokens.shape)}."
            )
        low, high = tokens.min().item(), tokens.max().item()
        if low < 0 or high >= self.cfg.d_vocab:
            raise ValueError(f"Token ids run from {low} to {high}; this vocabulary has 0 … {self.cfg.d_vocab - 1}.")

    def places(self, x: Tensor, attention_mask: Tensor | None = None, past: KeyValues | None = None) -> Places:
        """Positions (a pad takes none), visible keys, and rotary angles for an input of shape [batch, pos, …]."""
        n_past = past.n_pos if past is not None else 0
        n_pos, device = x.shape[1], x.device
        if n_past + n_pos > self.cfg.n_ctx:
            raise ValueError(f"{n_past + n_pos} tokens; this model reads at most {self.cfg.n_ctx}. Shorten the text.")
        key = torch.arange(n_past + n_pos, device=device)
        query = key[n_past:]
        allowed = (key <= query[:, None])[None, None]
        positions = query[None]  # [1, pos] while all rows agree
        if attention_mask is not None:
            if attention_mask.shape != (x.shape[0], n_past + n_pos):
                raise ValueError(
                    f"attention_mask has shape {list(attention_mask.shape)}; wanted {[x.shape[0], n_past + n_pos]}."
                )
            real = attention_mask.bool()
            itself = key == query[:, None]  # a pad sees itself, so that its row of the pattern is still a distribution
            allowed = allowed & (real[:, None, None] | itself)
            positions = (real.cumsum(-1) - 1).clamp(min=0)[:, n_past:]
        rotation = self.rotation(positions) if self.cfg.positions == "rotary" else None
        return Places(positions.expand(x.shape[0], -1), allowed, rotation)

    def rotation(self, positions: Int[Tensor, "batch pos"]) -> Rotation:
        """Cosine and sine of ``position * base^(-2i / rotary_dim)``."""
        half = torch.arange(0, self.cfg.rotary_dim, 2, device=positions.device).float()
        angles = positions[..., None, None] * self.cfg.rotary_base ** (-half / self.cfg.rotary_dim)
        return Rotation(angles.cos().to(self.dtype), angles.sin().to(self.dtype))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embed.W_E.device

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights."""
        return self.embed.W_E.dtype

    def _apply(self, fn, recurse: bool = True) -> Self:
        tied = self.unembed.W_U.data_ptr() == self.embed.W_E.data_ptr() and not self.embed.W_E.is_meta
        super()._apply(fn, recurse)
        if tied:  # .to(...) moves each parameter alone; the two stay one memory
            self.unembed.W_U.data = self.embed.W_E.data.T
        return self
