"""``transformer_lens.HookedTransformer``: Lens's model with the arguments, names and defaults of the classic one."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from lens.compat import loading_from_pretrained as loading
from lens.compat.cache import ActivationCache
from lens.compat.config import HookedTransformerConfig
from lens.compat.hook_points import HookedRootModule
from lens.compat.initial import init_weights_
from lens.compat.text import ClassicText
from lens.config import Config
from lens.folded import own_state
from lens.hooked import HookedTransformer as Plain
from lens.hooked import LogitsAndLoss
from lens.hooks import NamesFilter
from lens.load.device import pick_device, pick_dtype
from lens.load.tokenizer import bos_policy, kept_policy, with_bos
from lens.tokens import BosPolicy

SWITCHES = {  # points that are computed on request → the flag of cfg that asks for them in every cache
    "hook_result": "use_attn_result",
    "hook_q_input": "use_split_qkv_input",
    "hook_k_input": "use_split_qkv_input",
    "hook_v_input": "use_split_qkv_input",
    "hook_mlp_in": "use_hook_mlp_in",
}
NORMS = re.compile(r"(blocks\.\d+\.(mlp\.)?ln\w*|ln_final)\.")
NOT_WEIGHTS = re.compile(r"\.(mask|IGNORE|rotary_sin|rotary_cos|alibi)$")  # buffers of the classic library's files


class HookedTransformer(ClassicText, HookedRootModule, Plain):
    """The classic model. ``model.cfg`` is a :class:`~lens.compat.config.HookedTransformerConfig`.

    Different from the classic library, always: texts of different lengths are masked, so padding changes no number; the
    loss leaves padding out; keys and values of grouped-query models keep their own heads in hooks; a hook of one thread
    is not seen by another.
    """

    def __init__(
        self,
        cfg: HookedTransformerConfig | Config | dict[str, Any],
        tokenizer: Any = None,
        move_to_device: bool = True,
        default_padding_side: str = "right",
        *,
        bos: BosPolicy | None = None,
        name: str | None = None,
    ):
        cfg = HookedTransformerConfig.unwrap(cfg)
        if tokenizer is None and cfg.tokenizer_name is not None and bos is None:
            tokenizer = loading.tokenizer_of(cfg.tokenizer_name)
        if cfg.counts_vocab:
            cfg = cfg.with_vocab(_vocabulary(tokenizer))
        bos = bos_policy(None, tokenizer) if bos is None else bos
        tokenizer = with_bos(tokenizer, bos)  # notebooks ask the tokenizer, and are told the model's policy
        if cfg.default_prepend_bos is None:
            cfg.default_prepend_bos = bos.prepend
        Plain.__init__(self, cfg, tokenizer, bos, name or cfg.model_name)
        self.default_padding_side, self.dataset = default_padding_side, None
        self._fit_to_config()
        if not self.embed.W_E.is_meta:
            if cfg.init_weights:
                init_weights_(self)
            place = pick_device(cfg.device) if move_to_device else torch.device("cpu")
            self.to(device=place, dtype=pick_dtype(cfg.dtype))

    def _fit_to_config(self) -> None:
        if self.cfg.d_vocab_out != self.cfg.d_vocab:
            self.unembed.W_U = nn.Parameter(self.unembed.W_U.new_empty(self.cfg.d_model, self.cfg.d_vocab_out))
            self.unembed.b_U = nn.Parameter(self.unembed.b_U.new_zeros(self.cfg.d_vocab_out))
            nn.init.normal_(self.unembed.W_U, std=0.8 / self.cfg.d_model**0.5)
        if str(self.cfg.normalization_type).endswith("Pre"):  # norms without parameters: ours stay 1 and 0
            for name, parameter in self.named_parameters():
                if NORMS.match(name):
                    parameter.requires_grad_(False)

    @classmethod
    def of(cls, model: Plain, **settings: Any) -> Self:
        """The classic face of a model: the same tensors, no copies, but for W_E and W_U of a processed one."""
        known = {"model_name": model.name, "device": str(model.device), "dtype": model.dtype}
        cfg = HookedTransformerConfig.of(model.cfg, **(known | settings))
        made = cls.from_state(cfg, own_state(model), tokenizer=model.tokenizer, bos=model.bos, name=model.name)
        made.revision, made.note, made.end_ids, made.ignored = model.revision, model.note, model.end_ids, model.ignored
        return made.train(model.training)

    @classmethod
    def from_pretrained(cls, model_name: str, *args: Any, **flags: Any) -> Self:
        """A trained model, its weights processed.

        ``from_pretrained(model_name, fold_ln=None, center_writing_weights=None, center_unembed=None,
        refactor_factored_attn_matrices=False, checkpoint_index=None, checkpoint_value=None, hf_model=None, device=None,
        n_devices=1, tokenizer=None, move_to_device=True, fold_value_biases=None, default_prepend_bos=None,
        default_padding_side="right", dtype=torch.float32, revision=None, ignore=())``

        A step that is None is done where it changes no probability; True where it would raises ValueError. Of
        ``refactor_factored_attn_matrices`` the OV half is done where only that is exact, and what is left out is
        printed. ``cfg.processing`` says what was done and what not, and why. ``ignore``: attributes of its config that
        Lens does not know and shall not mind.
        """
        return loading.from_pretrained(cls, model_name, *args, **flags)

    @classmethod
    def from_pretrained_no_processing(cls, model_name: str, **flags: Any) -> Self:
        """A trained model with the weights of its file."""
        return loading.from_pretrained(cls, model_name, **(dict.fromkeys(loading.STEPS, False) | flags))

    def forward(
        self,
        input: str | Sequence[str] | Tensor,
        return_type: str | None = "logits",
        loss_per_token: bool = False,
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
        start_at_layer: int | None = None,
        tokens: Tensor | None = None,
        shortformer_pos_embed: Tensor | None = None,
        attention_mask: Tensor | None = None,
        stop_at_layer: int | None = None,
        past_kv_cache: Any = None,
        **stretch: Any,
    ) -> Any:
        """As :meth:`lens.hooked.HookedTransformer.forward`. ``tokens``: for a loss with ``start_at_layer``."""
        if shortformer_pos_embed is not None:
            raise ValueError("shortformer_pos_embed is found by the model itself; leave it out.")
        if not isinstance(input, Tensor):
            input, mask = self.tokenize(input, prepend_bos, padding_side)
            attention_mask = None if mask.all() else mask
        given = {"start_at_layer": start_at_layer, "stop_at_layer": stop_at_layer, "past": past_kv_cache, **stretch}
        given = {name: value for name, value in given.items() if value is not None}
        mask = attention_mask.bool() if attention_mask is not None else None
        if start_at_layer is None or stop_at_layer is not None or return_type not in ("loss", "both"):
            return super().forward(input, return_type, loss_per_token, attention_mask=mask, **given)
        if tokens is None:
            raise ValueError("A loss with start_at_layer needs to know which tokens it is about: give tokens.")
        logits = super().forward(input, "logits", attention_mask=mask, **given)
        loss = self.checked_loss(logits, tokens, mask, loss_per_token)
        return loss if return_type == "loss" else LogitsAndLoss(logits, loss)

    def loss_fn(
        self, logits: Tensor, tokens: Tensor, attention_mask: Tensor | None = None, per_token: bool = False
    ) -> Tensor:
        """Next-token loss in nats; with a mask, predictions from and of padding are NaN per token."""
        mask = attention_mask.bool() if attention_mask is not None else None
        return self.checked_loss(logits, tokens.to(logits.device), mask, per_token)

    def meant(self, names: NamesFilter) -> NamesFilter:
        """None and predicates leave out the costly points whose switch is off; a predicate may mean only those."""
        if names is not None and not callable(names):
            return names
        chosen = [name for name in self.hook_dict if names is None or names(name)]
        kept = [name for name in chosen if not self.hook_dict[name].on_request or self._switched_on(name)]
        return kept if kept or names is None else chosen

    def _switched_on(self, name: str) -> bool:
        return bool(getattr(self.cfg, SWITCHES.get(name.rsplit(".", 1)[-1], ""), False))

    def run_with_cache(
        self, *model_args: Any, return_cache_object: bool = True, remove_batch_dim: bool = False, **kwargs: Any
    ) -> tuple[Any, ActivationCache | dict[str, Tensor]]:
        """The output and the activations, as an ActivationCache or a dictionary."""
        out, cache = super().run_with_cache(*model_args, remove_batch_dim=remove_batch_dim, **kwargs)
        return out, ActivationCache(cache, self, not remove_batch_dim) if return_cache_object else cache

    @property
    def W_E_pos(self) -> Tensor:
        """Embeddings of tokens, then of positions, [d_vocab + n_ctx, d_model]."""
        return torch.cat([self.W_E, self.W_pos])

    def init_weights(self) -> None:
        """New random weights, as ``cfg.init_mode``, ``cfg.initializer_range`` and ``cfg.seed`` say."""
        init_weights_(self)

    def set_tokenizer(self, tokenizer: Any, default_padding_side: str = "right") -> None:
        """Use this tokenizer from now on; the token that begins a text stays, if this one has it."""
        self.bos = kept_policy(self.bos, tokenizer)
        self.tokenizer = with_bos(tokenizer, self.bos)
        self.default_padding_side = default_padding_side

    def set_use_attn_result(self, use_attn_result: bool) -> None:
        """Whether caches hold ``hook_result`` without being asked; a hook that names it always works."""
        self.cfg.use_attn_result = use_attn_result

    def set_use_split_qkv_input(self, use_split_qkv_input: bool) -> None:
        """Whether caches hold ``hook_q_input``, ``hook_k_input``, ``hook_v_input`` without being asked."""
        self.cfg.use_split_qkv_input = use_split_qkv_input

    def set_use_hook_mlp_in(self, use_hook_mlp_in: bool) -> None:
        """Whether caches hold ``hook_mlp_in`` without being asked."""
        self.cfg.use_hook_mlp_in = use_hook_mlp_in

    def set_use_attn_in(self, use_attn_in: bool) -> None:
        """Refused: there is no ``hook_attn_in``; the inputs of q, k and v have hooks of their own."""
        if use_attn_in:
            raise ValueError("Lens has no hook_attn_in. Hook hook_q_input, hook_k_input and hook_v_input instead.")

    def set_ungroup_grouped_query_attention(self, ungroup_grouped_query_attention: bool) -> None:
        """Refused for grouped queries: ``hook_k`` and ``hook_v`` have one head for each group."""
        if ungroup_grouped_query_attention and self.cfg.group_size > 1:
            raise ValueError(
                f"hook_k and hook_v of {self.name} have {self.cfg.n_kv_heads} heads, each shared by "
                f"{self.cfg.group_size} query heads; patching one for a single query head is not defined in this model."
            )

    def to(self, *args: Any, print_details: bool = True, **kwargs: Any) -> Self:
        """This model on another device or in another format; ``cfg.device`` and ``cfg.dtype`` follow."""
        return super().to(*args, **kwargs)

    def mps(self) -> Self:
        """This model on Apple's GPU."""
        return self.to("mps")

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self.cfg.device, self.cfg.dtype = str(self.device), self.dtype
        return self

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False) -> Any:
        """Weights under their names. The classic library's files fit: their masks are left out, its norms without
        parameters and its gates without bias keep what is here.
        """
        state = {name.replace(".attn._", ".attn."): x for name, x in state_dict.items() if not NOT_WEIGHTS.search(name)}
        bare_norms = str(self.cfg.normalization_type).endswith("Pre")
        lacks = [name for name in self.state_dict() if name.endswith("b_gate") or (bare_norms and NORMS.match(name))]
        state = {name: self.state_dict()[name] for name in lacks} | state
        return super().load_state_dict(state, strict=strict, assign=assign)

    def process_weights_(self, **flags: bool | None) -> None:
        """Process the weights of this model in place; the flags of ``from_pretrained``."""
        done = loading.process(loading.plain(self), **flags)
        self.load_state_dict(own_state(done.model), assign=True)
        self.cfg.processing = {**self.cfg.processing, **done.report}

    def load_and_process_state_dict(self, state_dict: Mapping[str, Tensor], **flags: bool | None) -> None:
        """Weights under their names, then processed."""
        self.load_state_dict(state_dict)
        self.process_weights_(**flags)


def _vocabulary(tokenizer: Any) -> int:
    if tokenizer is None:
        raise ValueError("HookedTransformer: give d_vocab in the config, or a tokenizer to count it from.")
    return int(np.max(list(tokenizer.get_vocab().values()))) + 1
