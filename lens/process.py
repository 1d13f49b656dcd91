"""Processing of weights: the same log-probabilities from weights that are easier to read. Pure, optional, repeatable.

Each function returns a new model that shares the memory of every tensor it did not have to change, and that of W_E and
W_U always (:mod:`lens.folded`), and notes itself in ``cfg.processed``; a model that has been through a step comes back
as it is. A step that would change a probability raises ValueError with the reason. Source: the LayerNorm and bias
identities of Elhage et al. 2021.
"""

from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import TypeVar

import torch
from einops import einsum
from torch import Tensor, nn

from lens.components import Norm
from lens.config import Config
from lens.factored import FactoredMatrix
from lens.folded import CentredEmbed, FoldedUnembed, centre
from lens.model import Transformer, within_layer

Model = TypeVar("Model", bound=Transformer)
READERS = ("W_Q", "W_K", "W_V")
SEEN_CHANGED = ("fold_layer_norm", "center_writing_weights", "center_unembed")  # after these W_U is not W_E transposed


def why_inexact(cfg: Config, step: str) -> str | None:
    """Why a step would change the probabilities of such a model, or would do nothing; None if neither."""
    layer_norms = cfg.norm == "LN" and cfg.pre_norm and not cfg.post_norm and not cfg.final_rms
    shortformer = cfg.positions == "shortformer" and cfg.norm is not None
    values_and_outputs = [
        (cfg.clip_qkv is not None, "queries, keys and values are cut off"),
        (cfg.group_size > 1, "query heads share keys and values"),
        (cfg.d_head > cfg.d_model, "heads are wider than the stream"),
    ]
    reasons: dict[str, list[tuple[bool, str]]] = {
        "fold_layer_norm": [
            (cfg.norm is None, "the model has no norms"),
            (shortformer, "positions are added after the norm"),
        ],
        "center_writing_weights": [
            (not layer_norms, "not everything that reads the stream subtracts its mean"),
            (shortformer, "positions are added after the norm"),
            (cfg.embed_norm, "the embedding is normalised after it is written"),
        ],
        "center_unembed": [(cfg.final_softcap is not None, "the logits are capped, so a constant shift matters")],
        "fold_value_biases": [(cfg.clip_qkv is not None, "values are cut off after their bias")],
        "refactor_factored_attn_matrices": [
            (cfg.positions in ("rotary", "shortformer"), "positions act between query and key"),
            (cfg.qk_norm is not None, "queries and keys are normalised"),
            *values_and_outputs,
        ],
        "refactor_values_and_outputs": values_and_outputs,
    }
    return next((reason for holds, reason in reasons[step] if holds), None)


@torch.no_grad()
def fold_layer_norm(model: Model) -> Model:
    """Gains and biases of the norms moved into what reads them: the norms only centre and scale.

    ``b_U`` then carries what the final norm's bias says of every token, the learned unigram bias. What reads a
    LayerNorm is also centred along its input, which its zero mean makes exact. Norms of writes, and of q and k, stay.
    """
    if not _starts(model, "fold_layer_norm"):
        return model
    changes: dict[str, Tensor] = {}
    cfg = model.cfg
    for block in (f"blocks.{layer}" for layer in range(cfg.n_layers)):
        for which in READERS if cfg.pre_norm else ():
            _fold(changes, model, f"{block}.ln1", f"{block}.attn", which)
        if cfg.attn_only:
            continue
        for which in (("W_in", "W_gate") if cfg.gated_mlp else ("W_in",)) if cfg.pre_norm else ():
            _fold(changes, model, f"{block}.ln2", f"{block}.mlp", which)
        if cfg.mlp_norm:
            _fold(changes, model, f"{block}.mlp.ln", f"{block}.mlp", "W_out")
    changes |= _neutral("ln_final", model.ln_final)
    says = model.ln_final.centred and bool(model.ln_final.b.any())
    made = _rebuilt(model, changes, "fold_layer_norm", ("unembed.b_U",) if says else ())
    made.unembed = FoldedUnembed.of(made.unembed).after(model.ln_final)
    return made


def _fold(changes: dict[str, Tensor], model: Transformer, norm_name: str, name: str, which: str) -> None:
    """``(n * w + b) @ W + bias``, as ``n @ W' + bias'``; W is [..., d_in, d_out]."""
    bias_name = which.replace("W_", "b_")
    norm, reader = model.get_submodule(norm_name), model.get_submodule(name)
    W = reader.get_parameter(which)
    folded = norm.w[:, None] * W
    if norm.centred:
        changes[f"{name}.{bias_name}"] = reader.get_parameter(bias_name) + norm.b @ W
    changes[f"{name}.{which}"] = norm.centre(folded, dim=-2)
    changes.update(_neutral(norm_name, norm))


def _neutral(name: str, norm: Norm) -> dict[str, Tensor]:
    """Gain and bias of a norm that only centres and scales."""
    ones = {f"{name}.w": torch.ones_like(norm.w)}
    return ones | {f"{name}.b": torch.zeros_like(norm.b)} if norm.centred else ones


@torch.no_grad()
def center_writing_weights(model: Model) -> Model:
    """Everything that is written to the stream gets mean zero, which every LayerNorm would subtract anyway."""
    if not _starts(model, "center_writing_weights"):
        return model
    writers = ["pos_embed.W_pos"] if model.cfg.positions == "learned" else []
    for layer in range(model.cfg.n_layers):
        writers += [f"blocks.{layer}.attn.{name}" for name in ("W_O", "b_O")]
        if not model.cfg.attn_only:
            writers += [f"blocks.{layer}.mlp.{name}" for name in ("W_out", "b_out")]
    changes = {name: model.get_parameter(name) for name in writers}
    changes = {name: centre(weight) for name, weight in changes.items()}
    made = _rebuilt(model, changes, "center_writing_weights")
    made.embed = CentredEmbed(made.embed)
    if made.unembed.embed:
        made.unembed.embed = (made.embed,)
    return made


@torch.no_grad()
def center_unembed(model: Model) -> Model:
    """W_U and b_U get mean zero over the vocabulary: logits move by a constant per position, probabilities do not."""
    if not _starts(model, "center_unembed"):
        return model
    made = _rebuilt(model, {}, "center_unembed")
    made.unembed = FoldedUnembed.of(made.unembed).centred_over_vocabulary()
    return made


@torch.no_grad()
def fold_value_biases(model: Model) -> Model:
    """b_V moved into b_O: the rows of a pattern sum to 1, so every query gets all of it. Zero ablation of z changes."""
    if not _starts(model, "fold_value_biases"):
        return model
    changes = {}
    for layer, block in enumerate(model.blocks):
        attn, name = block.attn, f"blocks.{layer}.attn"
        b_V = attn.b_V.repeat_interleave(model.cfg.group_size, dim=0)
        changes[f"{name}.b_O"] = attn.b_O + einsum(b_V, attn.W_O, "head d_head, head d_head d_model -> d_model")
        changes[f"{name}.b_V"] = torch.zeros_like(attn.b_V)
    return _rebuilt(model, changes, "fold_value_biases")


@torch.no_grad()
def refactor_factored_attn_matrices(model: Model) -> Model:
    """Each head's QK and OV products split anew by their singular values: columns of W_Q, W_K, W_V orthogonal, ordered.

    Q and K take the roots of the singular values, biases included; W_O takes those of OV; b_V moves into b_O.
    """
    if not _starts(model, "refactor_factored_attn_matrices"):
        return model
    model = refactor_values_and_outputs(model)
    changes = {}
    for layer, block in enumerate(model.blocks):
        attn, name = block.attn, f"blocks.{layer}.attn"
        queries = torch.cat([attn.W_Q, attn.b_Q[:, None]], dim=1)
        keys = torch.cat([attn.W_K, attn.b_K[:, None]], dim=1)
        U, S, Vh = FactoredMatrix(queries, keys.mT).svd()
        root = S.sqrt()[..., None, :]
        for letter, both in (("Q", U * root), ("K", Vh * root)):  # Vh has its vectors in columns
            changes[f"{name}.W_{letter}"], changes[f"{name}.b_{letter}"] = both[:, :-1], both[:, -1]
    return _rebuilt(model, changes, "refactor_factored_attn_matrices")


@torch.no_grad()
def refactor_values_and_outputs(model: Model) -> Model:
    """The OV half of :func:`refactor_factored_attn_matrices`, exact also where positions act between query and key."""
    if not _starts(model, "refactor_values_and_outputs"):
        return model
    model = fold_value_biases(model)
    changes = {}
    for layer, block in enumerate(model.blocks):
        name = f"blocks.{layer}.attn"
        U, S, Vh = FactoredMatrix(block.attn.W_V, block.attn.W_O).svd()
        changes[f"{name}.W_V"], changes[f"{name}.W_O"] = U, S[..., :, None] * Vh.mT
    return _rebuilt(model, changes, "refactor_values_and_outputs")


def _starts(model: Transformer, step: str) -> bool:
    """Whether ``step`` is still to be done; ValueError if it would not be exact."""
    reason = why_inexact(model.cfg, step)
    if reason is not None:
        raise ValueError(f"{step}: not exact for this model, because {reason}.")
    return step not in model.cfg.processed


def _rebuilt(model: Model, changes: Mapping[str, Tensor], step: str, present: Collection[str] = ()) -> Model:
    """A copy of the model's structure with parameters of its own in the same memory, but for ``changes``.

    Of its own, so that moving or swapping the weights of one model leaves the other as it is. Biases that are no longer
    0, and those in ``present``, are no longer absent (``cfg.absent``).
    """
    biases = {name: weight for name, weight in changes.items() if within_layer(name) in model.cfg.absent}
    filled = {within_layer(name) for name, weight in biases.items() if not name.endswith(".w") and weight.any()}
    absent = tuple(name for name in model.cfg.absent if name not in filled and name not in present)
    kept = {id(value): value for name, value in vars(model).items() if not name.startswith("_")}
    shared = {id(one): nn.Parameter(one.detach(), one.requires_grad) for one in model.parameters()}
    made = deepcopy(model, kept | shared)
    for name, weight in changes.items():
        path, leaf = name.rsplit(".", 1)
        if leaf in READERS:  # the memory order that the forward reads without re-arranging
            weight = weight.mT.contiguous().mT
        setattr(made.get_submodule(path), leaf, nn.Parameter(weight, within_layer(name) not in absent))
    tied = model.cfg.tied and step not in SEEN_CHANGED
    cfg = replace(model.cfg, processed=(*model.cfg.processed, step), tied=tied, absent=absent)
    for module in made.modules():
        if vars(module).get("cfg") is model.cfg:
            module.cfg = cfg
    return made
