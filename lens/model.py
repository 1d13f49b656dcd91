"""The forward pass of a decoder-only transformer, readable top to bottom, every activation under the field's name."""

import re
from collections.abc import Mapping
from typing import Self

import torch
from einops import repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lens.attention import Attention, KeyValues
from lens.components import MLP, Embed, Norm, TiedUnembed, Unembed, stream_norm
from lens.config import Config
from lens.hooks import Hooked, HookPoint
from lens.positions import Places, PosEmbed, find_places


class Block(nn.Module):
    """One layer: attention, then the MLP if the model has one, each reading and adding to the residual stream.

    In a parallel block the MLP reads what attention reads, and there is no ``hook_resid_mid``.
    """

    def __init__(self, cfg: Config, layer: int):
        super().__init__()
        self.cfg = cfg
        self.hook_resid_pre = HookPoint()
        self.hook_q_input, self.hook_k_input, self.hook_v_input = (HookPoint(on_request=True) for _ in range(3))
        self.ln1, self.attn = stream_norm(cfg, cfg.pre_norm), Attention(cfg, layer)
        self.ln1_post, self.hook_attn_out = stream_norm(cfg, cfg.post_norm), HookPoint()
        if not cfg.attn_only:
            if not cfg.parallel:
                self.hook_resid_mid = HookPoint()
            self.hook_mlp_in, self.ln2, self.mlp = HookPoint(on_request=True), stream_norm(cfg, cfg.pre_norm), MLP(cfg)
            self.ln2_post, self.hook_mlp_out = stream_norm(cfg, cfg.post_norm), HookPoint()
        self.hook_resid_post = HookPoint()

    @property
    def device(self) -> torch.device:
        """Where the weights of this layer are."""
        return self.attn.W_Q.device

    def forward(self, resid_pre: Tensor, places: Places, past: KeyValues | None = None) -> Tensor:
        places = places.to(self.device)  # a model may lie on several devices, layer by layer
        resid_pre = self.hook_resid_pre(resid_pre.to(self.device))
        attn_out = self.ln1_post(self.attn(*self.attention_inputs(resid_pre, places), places, past))
        resid = resid_pre + self.hook_attn_out(attn_out)
        if self.cfg.attn_only:
            return self.hook_resid_post(resid)
        if not self.cfg.parallel:
            resid = self.hook_resid_mid(resid)
        mlp_in = self.hook_mlp_in(resid_pre if self.cfg.parallel else resid)
        mlp_out = self.ln2_post(self.mlp(self.ln2(mlp_in)))
        return self.hook_resid_post(resid + self.hook_mlp_out(mlp_out))

    def attention_inputs(self, resid_pre: Float[Tensor, "batch pos d_model"], places: Places) -> list[Tensor]:
        """What q, k and v are made from: one shared normalised stream, or one per head where its input is hooked."""
        n_heads, n_kv = self.cfg.n_heads, self.cfg.n_kv_heads
        split = {}
        for name, heads in (("q", n_heads), ("k", n_kv), ("v", n_kv)):
            point = getattr(self, f"hook_{name}_input")
            if point.active:
                one_each = repeat(resid_pre, "batch pos d_model -> batch pos head d_model", head=heads)
                split[name] = self.ln1(point(one_each))
        shared = self.ln1(resid_pre)  # last, so that the cached scale is the one of the stream itself
        inputs = {name: split.get(name, shared) for name in "qkv"}
        if places.pos_embed is not None:
            for name in "qk":
                per_head = inputs[name].ndim == 4
                inputs[name] = inputs[name] + (places.pos_embed[:, :, None] if per_head else places.pos_embed)
        return list(inputs.values())


class Transformer(Hooked):
    """Tokens in, logits out; or any stretch of the layers in between."""

    name = "This model"  # in sentences; a model with a tokenizer has one of its own

    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        self.embed, self.hook_embed = Embed(cfg), HookPoint()
        if cfg.positions in ("learned", "shortformer"):
            self.pos_embed, self.hook_pos_embed = PosEmbed(cfg), HookPoint()
        self.blocks = nn.ModuleList(Block(cfg, layer) for layer in range(cfg.n_layers))
        final = cfg.final_norm
        self.ln_final = nn.Identity() if final is None else Norm(final, cfg.norm_eps, cfg.d_model)
        self.unembed = TiedUnembed(cfg, self.embed) if cfg.tied else Unembed(cfg)
        self._leave_absent_untrained()
        self.setup()

    def _leave_absent_untrained(self) -> None:
        if self.cfg.absent:
            for name, parameter in self.named_parameters():
                parameter.requires_grad_(within_layer(name) not in self.cfg.absent)

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
        if attention_mask is not None and start_at_layer is None:  # a pad is never read: it may be no id of W_E
            tokens = tokens.masked_fill(~attention_mask.bool()[:, -tokens.shape[1] :], 0)
        resid = tokens if start_at_layer is not None else self.embed_tokens(tokens, places)
        for layer in layers:
            resid = self.blocks[layer](resid, places, past)
        if stop_at_layer is not None:
            return resid
        if isinstance(logit_positions, int):
            logit_positions = [logit_positions]
        if logit_positions is not None:
            resid = resid[:, logit_positions]
        return self.unembed(self.ln_final(resid.to(self.unembed.b_U.device)))

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
        """Where the tokens of an input [batch, pos, …] stand and what they may see; see :func:`find_places`."""
        places = find_places(self.cfg, x, attention_mask, past.n_pos if past is not None else 0, self.dtype)
        if self.cfg.positions == "shortformer":
            return places._replace(pos_embed=self.hook_pos_embed(self.pos_embed(places.positions)))
        return places

    @property
    def device(self) -> torch.device:
        """Where the embedding is, and so the tokens; of a model on one device, all of it."""
        return self.embed.stored.device

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights."""
        return self.embed.stored.dtype


def within_layer(name: str) -> str:
    """The name of a parameter inside its layer: ``blocks.3.attn.b_Q`` → ``attn.b_Q``; outside the layers, its own."""
    return re.sub(r"^blocks\.\d+\.", "", name)
