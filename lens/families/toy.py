"""Neel Nanda's toy models: their own config files, and state dicts that are nearly ours already.

Attention-only, GELU and SoLU models, some with positions only in q and k ("shortformer"), some with no norms at all.
Sources: https://huggingface.co/NeelNanda, and the code that trained them.
"""

import re
from collections.abc import Container, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lens.config import Config
from lens.families.attributes import Attributes
from lens.families.family import absent, in_memory_order, parameter_shapes, with_neutral
from lens.model import within_layer

NORMS = {None: None, "LN": "LN", "LNPre": "LN", "RMS": "RMS", "RMSPre": "RMS"}  # …Pre: gains were folded away
# The files say "gelu" for models that were trained with the tanh form.
ACTIVATIONS = {"gelu": "gelu_new", "gelu_new": "gelu_new", "solu": "solu", "solu_ln": "solu", "relu": "relu"}
BUFFERS = (".mask", ".IGNORE")  # the causal mask and its value, stored with the weights


class ToyModel(NamedTuple):
    """What a model is made of."""

    cfg: Config
    state: dict[str, Tensor]


def is_toy(config: Mapping[str, Any]) -> bool:
    """Whether this is the config of such a model: no ``model_type``, and our own names of the sizes."""
    return "model_type" not in config and {"d_model", "n_layers", "n_heads", "d_head", "d_vocab"} <= set(config)


def toy_config(config: Mapping[str, Any]) -> Config:
    """Our config from theirs; ValueError names what Lens does not compute."""
    theirs = Attributes({"model_type": "toy"} | dict(config))
    attn_only, norm = theirs.get("attn_only", False), theirs.get("normalization", theirs.get("normalization_type"))
    act_fn = theirs.get("act_fn", "gelu")
    for name, value, known in (("normalization", norm, NORMS), ("act_fn", act_fn, ACTIVATIONS)):
        if value not in known:
            raise ValueError(f"The config says {name}={value!r}; Lens knows {', '.join(map(str, known))}.")
    return Config(
        **{name: theirs[name] for name in ("n_layers", "n_heads", "d_model", "d_head", "d_vocab", "n_ctx")},
        d_mlp=0 if attn_only else theirs["d_mlp"],
        norm=NORMS[norm],
        norm_eps=theirs.get("eps", 1e-5),
        final_rms=theirs.get("final_rms", False),
        act_fn=ACTIVATIONS[act_fn],
        mlp_norm=not attn_only and act_fn == "solu_ln",
        positions="shortformer" if theirs.get("shortformer_pos", False) else "learned",
    )


def read_toy(config: Mapping[str, Any], tensors: Mapping[str, Tensor], *, old: bool = False) -> ToyModel:
    """Config and state dict of such a model. ``old``: a repository whose name ends in ``_old``.

    What the file holds counts more than what the config says of the norms: a norm with a bias is LayerNorm, one with a
    gain alone RMSNorm, one with neither was folded. ValueError names what has no place or the wrong shape.
    """
    cfg = toy_config(config)
    state = {name: tensor for name, tensor in tensors.items() if not name.endswith(BUFFERS)}
    if old:
        state = {_renamed(name): tensor for name, tensor in state.items()}
        state = {name: tensor.mT if _turned(name, cfg.n_layers) else tensor for name, tensor in state.items()}
    norm, final = _kind("blocks.0.ln1", state, cfg.norm), _kind("ln_final", state, cfg.final_norm)
    cfg = replace(cfg, norm=norm, final_rms=final == "RMS" and norm != "RMS")
    shapes = parameter_shapes(cfg)
    wrong = [f"{name} {list(state[name].shape)}" for name in sorted(state) if state[name].shape != shapes.get(name)]
    if wrong:
        raise ValueError(f"{len(wrong)} tensors have no place in this structure, for example {', '.join(wrong[:3])}.")
    exact = {name: tensor.float() if tensor.dtype == torch.bfloat16 else tensor for name, tensor in state.items()}
    cfg = replace(cfg, absent=absent(cfg, {within_layer(name) for name in state}))
    return ToyModel(cfg, with_neutral(cfg, {name: in_memory_order(name, tensor) for name, tensor in exact.items()}))


def _kind(norm: str, names: Container[str], said: str | None) -> str | None:
    if f"{norm}.w" not in names:
        return said
    return "LN" if f"{norm}.b" in names else "RMS"


def _renamed(name: str) -> str:
    return re.sub(r"^ln\.", "ln_final.", name.replace("norm", "ln"))


def _turned(name: str, n_layers: int) -> bool:
    """Whether the file holds this matrix as [out, in]: all of them in the first models, then W_pos alone."""
    if "W_pos" in name:
        return n_layers <= 8
    return "W_" in name and n_layers <= 6
