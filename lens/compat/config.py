"""``transformer_lens.HookedTransformerConfig``: a model's structure in the classic words, beside Lens's own.

``STRUCTURE`` says which classic field is which field of :class:`~lens.config.Config`. What is in none of the tables is
refused by name.
"""

from copy import copy
from dataclasses import FrozenInstanceError, fields
from pprint import pformat
from typing import Any, NamedTuple, Self

import torch

from lens.config import Config

APPLIED = "applied"
UNSET = -1  # the classic config's word for "not given", in fields that hold numbers

POSITIONS = {"standard": "learned", "rotary": "rotary", "alibi": "alibi", "shortformer": "shortformer"}
NORMS = {"LN": "LN", "LNPre": "LN", "RMS": "RMS", "RMSPre": "RMS", None: None}
ACT_FN = {
    "gelu": ("gelu", False),
    "gelu_new": ("gelu_new", False),
    "gelu_fast": ("gelu_new", False),  # the same formula
    "gelu_pytorch_tanh": ("gelu_new", False),
    "silu": ("silu", False),
    "relu": ("relu", False),
    "solu": ("solu", False),
    "solu_ln": ("solu", True),  # with LayerNorm after it
}


class Row(NamedTuple):
    """A classic field that is one field of Config, and its default there."""

    ours: str
    default: Any


STRUCTURE = {
    "eps": Row("norm_eps", 1e-5),
    "n_key_value_heads": Row("n_kv_heads", None),
    "scale_attn_by_inverse_layer_idx": Row("scale_by_layer", False),
    "parallel_attn_mlp": Row("parallel", False),
    "post_embedding_ln": Row("embed_norm", False),
    "rotary_adjacent_pairs": Row("rotary_adjacent", False),
    "rotary_base_local": Row("local_rotary_base", None),
    "use_normalization_before_and_after": Row("post_norm", False),
    "attn_scores_soft_cap": Row("attn_softcap", UNSET),
    "output_logits_soft_cap": Row("final_softcap", UNSET),
    "final_rms": Row("final_rms", False),
    "gated_mlp": Row("gated_mlp", False),
    "rotary_dim": Row("rotary_dim", None),
    "rotary_base": Row("rotary_base", 10000),
}

SETTINGS = {  # what a notebook may read and change, and no number depends on
    "model_name": "custom",
    "device": None,
    "dtype": torch.float32,
    "seed": None,
    "init_weights": True,
    "init_mode": "gpt2",
    "initializer_range": UNSET,
    "default_prepend_bos": None,
    "tokenizer_name": None,
    "d_vocab_out": UNSET,
    "original_architecture": None,
    "from_checkpoint": False,
    "checkpoint_index": None,
    "checkpoint_label_type": None,
    "checkpoint_value": None,
    "use_attn_result": False,
    "use_split_qkv_input": False,
    "use_hook_mlp_in": False,
    "processing": {},  # what was done to the weights: name of the step → "applied", or why it was not
}

ONLY = {  # what Lens does not compute: the field must have this value
    "attention_dir": "causal",
    "n_devices": 1,
    "use_attn_in": False,
    "use_hook_tokens": False,
    "ungroup_grouped_query_attention": False,
    "tie_word_embeddings": False,
    "num_experts": None,
    "experts_per_token": None,
    "use_NTK_by_parts_rope": False,
    "load_in_4bit": False,
    "trust_remote_code": False,
    "relative_attention_max_distance": None,
    "relative_attention_num_buckets": None,
    "decoder_start_token_id": None,
}
DERIVED = {  # worked out from several fields, by _structure
    "attn_only",
    "normalization_type",
    "positional_embedding_type",
    "use_attn_scale",
    "use_local_attn",
    "window_size",
    "attn_types",
    "use_qk_norm",
}
IGNORED = {  # without effect, or said by another field
    "tokenizer_prepends_bos",
    "NTK_by_parts_low_freq_factor",
    "NTK_by_parts_high_freq_factor",
    "NTK_by_parts_factor",
    "NTK_original_ctx_len",
    "n_params",
}


class HookedTransformerConfig(Config):
    """The classic config. It is a Config, which the model computes from, and answers to the classic names as well.

    What changes the numbers is fixed once it is made; ``device``, ``use_attn_result`` and the like may be set. A field
    that Lens does not compute raises ValueError with its name.
    """

    def __init__(self, n_layers: int, d_model: int, n_ctx: int, d_head: int, **given: Any):
        given = {"n_layers": n_layers, "d_model": d_model, "n_ctx": n_ctx, "d_head": d_head, "d_vocab": UNSET, **given}
        _refuse(given)
        for name, default in SETTINGS.items():
            object.__setattr__(self, name, given.get(name, copy(default)))
        ours = {field.name: given[field.name] for field in fields(Config) if field.name in given}
        object.__setattr__(self, "_given", given)
        super().__init__(**(ours | _structure(given)))
        if self.d_vocab_out == UNSET:
            self.d_vocab_out = self.d_vocab

    @property
    def counts_vocab(self) -> bool:
        """Whether d_vocab is still to be counted from a tokenizer."""
        return self._given.get("d_vocab", self.d_vocab) == UNSET

    def with_vocab(self, d_vocab: int) -> Self:
        """This config with the size of a vocabulary that it did not give."""
        return type(self)(**(self._given | {"d_vocab": d_vocab}))

    @classmethod
    def of(cls, config: Config, **settings: Any) -> Self:
        """The classic face of ``config``."""
        same = {field.name: getattr(config, field.name) for field in fields(Config)}
        made = cls.__new__(cls)
        Config.__init__(made, **same)
        for name, value in (SETTINGS | {"d_vocab_out": config.d_vocab, "processing": {}} | settings).items():
            object.__setattr__(made, name, value)
        object.__setattr__(made, "_given", {})
        return made

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any]) -> Self:
        """The config with these fields."""
        return cls(**config_dict)

    @classmethod
    def unwrap(cls, config: "dict[str, Any] | Config") -> Self:
        """A config from a dictionary, from Lens's own Config, or itself."""
        if isinstance(config, dict):
            return cls.from_dict(config)
        return config if isinstance(config, cls) else cls.of(config)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in SETTINGS:
            raise FrozenInstanceError(
                f"cfg.{name} cannot be changed: the model is built already. Make a new config and a new model."
            )
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # asked by copy and pickle before there is anything to answer from
            raise AttributeError(name)
        classic = _classic(self)
        if name in classic:
            return classic[name]
        if name in ONLY:
            return ONLY[name]
        raise AttributeError(f"HookedTransformerConfig has no field {name!r}. It has {', '.join(self.to_dict())}.")

    def to_dict(self) -> dict[str, Any]:
        """Every field under its classic name."""
        settings = {name: getattr(self, name) for name in SETTINGS}
        same = {name: getattr(self, name) for name in ("n_layers", "d_model", "n_ctx", "d_head", "n_heads", "d_vocab")}
        return same | _classic(self) | settings

    def __repr__(self) -> str:
        return "HookedTransformerConfig:\n" + pformat(self.to_dict())

    __str__ = __repr__


def _refuse(given: dict[str, Any]) -> None:
    """ValueError for a field that does not exist, or asks for what Lens does not compute."""
    ours = {field.name for field in fields(Config)}
    known = {*ours, *SETTINGS, *STRUCTURE, *ONLY, *IGNORED, *DERIVED}
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"HookedTransformerConfig has no field {name!r}.")
        if name in ONLY and value != ONLY[name]:
            raise ValueError(f"HookedTransformerConfig: Lens does not compute {name}={value!r}, only {ONLY[name]!r}.")


def _structure(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of Config that the classic fields mean."""
    ours: dict[str, Any] = {}
    for classic, row in STRUCTURE.items():
        if classic in given:
            ours[row.ours] = None if given[classic] == UNSET and row.default == UNSET else given[classic]
    if given.get("n_heads", UNSET) == UNSET:
        ours["n_heads"] = given["d_model"] // given["d_head"]
    if given.get("d_vocab", UNSET) == UNSET:
        ours["d_vocab"] = 1  # until a tokenizer says how many; see counts_vocab
    if "normalization_type" in given:
        ours["norm"] = _choice("normalization_type", given, NORMS)
    if "positional_embedding_type" in given:
        ours["positions"] = _choice("positional_embedding_type", given, POSITIONS)
    if given.get("attn_scale", UNSET) == UNSET:
        ours["attn_scale"] = None if given.get("use_attn_scale", True) else 1.0
    if given.get("use_qk_norm"):
        ours["qk_norm"] = "head"
    if given.get("use_local_attn"):
        kinds, width = given["attn_types"], given["window_size"]
        ours["windows"] = tuple(width if kind == "local" else None for kind in kinds)
    return ours | _mlp(given)


def _mlp(given: dict[str, Any]) -> dict[str, Any]:
    if given.get("attn_only"):
        return {"d_mlp": 0, "act_fn": Config.act_fn, "mlp_norm": False}
    d_mlp = given.get("d_mlp")
    sizes = {"d_mlp": 4 * given["d_model"] if d_mlp is None else d_mlp}
    if given.get("act_fn") is None:
        raise ValueError("HookedTransformerConfig: act_fn must be given, unless attn_only is True.")
    act_fn, normed = _choice("act_fn", given, ACT_FN)
    return sizes | {"act_fn": act_fn, "mlp_norm": normed or given.get("mlp_norm", False)}


def _choice(name: str, given: dict[str, Any], table: dict) -> Any:
    if given[name] not in table:
        wanted = ", ".join(map(str, table))
        raise ValueError(f"HookedTransformerConfig: Lens does not compute {name}={given[name]!r}, only {wanted}.")
    return table[given[name]]


def _classic(cfg: HookedTransformerConfig) -> dict[str, Any]:
    """The classic fields that are said otherwise in Config."""
    classic = {name: getattr(cfg, row.ours) for name, row in STRUCTURE.items()}
    classic = {name: STRUCTURE[name].default if value is None else value for name, value in classic.items()}
    grouped = cfg.n_kv_heads != cfg.n_heads
    folded = cfg.processing.get("fold_ln") == APPLIED
    kind = cfg._given.get("normalization_type", cfg.norm)
    windows = cfg.windows or ()
    return classic | {
        "n_key_value_heads": cfg.n_kv_heads if grouped else None,
        "normalization_type": f"{cfg.norm}Pre" if folded and cfg.norm else kind,
        "positional_embedding_type": {ours: theirs for theirs, ours in POSITIONS.items()}[cfg.positions],
        "act_fn": "solu_ln" if cfg.act_fn == "solu" and cfg.mlp_norm else cfg.act_fn,
        "d_mlp": cfg.d_mlp,
        "attn_only": cfg.attn_only,
        "attn_scale": cfg.attn_scale,
        "use_attn_scale": cfg.attn_scale != 1,
        "use_qk_norm": cfg.qk_norm is not None,
        "use_local_attn": any(windows),
        "window_size": next((width for width in windows if width is not None), None),
        "attn_types": [("local" if width else "global") for width in windows] or None,
        # The classic count: weight matrices of the layers, without embeddings, biases and gains.
        "n_params": cfg.n_layers
        * (4 * cfg.d_model * cfg.d_head * cfg.n_heads + cfg.d_model * cfg.d_mlp * (2 + cfg.gated_mlp)),
    }
