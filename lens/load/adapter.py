"""LoRA adapters: the low-rank change that a fine-tune makes to a model's matrices, added when the model is opened.

Source: Hu et al. 2021, "LoRA"; the scale alpha / sqrt(r) is that of Kalajdzievski 2023 (rank-stabilised). Files as the
package peft writes them. What is more than such a sum is refused by name.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from lens.families import Family
from lens.load.files import ADAPTER_CONFIG, Weights, adapter_weights, read_json
from lens.load.tensors import Tensors

if TYPE_CHECKING:
    from transformers import PreTrainedModel

READ = {"r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "base_model_name_or_path"}
# How the matrices came to be and for whom, or what the tensors of the file show anyway. peft itself corrects
# fan_in_fan_out by the kind of the layer.
HARMLESS = re.compile(
    r"(auto_mapping|corda_config|eva_config|exclude_modules|fan_in_fan_out|inference_mode|layers_pattern|"
    r"layers_to_transform|loftq_config|lora_dropout|lora_ga_config|megatron_core|modules_to_save|peft_version|"
    r"qalora_group_size|revision|runtime_config|target_modules|task_type|unsloth_\w+)"
)
ALLOWED = {  # other ways of beginning take something away from the base's own weights
    "peft_type": ("LORA",),
    "bias": ("none",),
    "init_lora_weights": (True, "gaussian", "eva", "orthogonal"),
}
NOTHING = (None, False, {}, [], "")
FACTOR = re.compile(
    r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<letter>[AB])(\.weight)?"
)


class Scaling(NamedTuple):
    """By how much the product of the two factors of a module counts."""

    rank: int
    alpha: float
    rank_stabilised: bool
    ranks: Mapping[str, int]  # pattern of module names → rank, where it is another
    alphas: Mapping[str, float]

    def of(self, module: str, found_rank: int) -> float:
        """alpha / r of a module, or alpha / sqrt(r); ValueError if its factors are not of the rank that was said."""
        rank, alpha = _by_pattern(self.ranks, module, self.rank), _by_pattern(self.alphas, module, self.alpha)
        if rank != found_rank:
            raise ValueError(f"{module}: the factors have rank {found_rank}, {ADAPTER_CONFIG} says {rank}.")
        return alpha / rank**0.5 if self.rank_stabilised else alpha / rank


def _by_pattern(patterns: Mapping[str, float], module: str, default: float) -> float:
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module)), default)


def scaling_of(config: Mapping[str, Any]) -> Scaling:
    """What adapter_config.json says; ValueError names what is not plain LoRA."""
    beyond = [
        f"{name}={value!r}"
        for name, value in config.items()
        if name not in READ
        and not HARMLESS.fullmatch(name)
        and value not in NOTHING
        and value not in ALLOWED.get(name, ())
    ]
    if beyond or config.get("peft_type") != "LORA":
        said = ", ".join(beyond) or f"peft_type={config.get('peft_type')!r}"
        raise ValueError(
            f"{ADAPTER_CONFIG} says {said}: more than plain LoRA, which is all that Lens merges. Merge it with peft "
            "(PeftModel.from_pretrained(…).merge_and_unload().save_pretrained(folder)) and open that folder."
        )
    try:
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{ADAPTER_CONFIG} lacks r or lora_alpha, or they are no numbers ({error}).") from error
    patterns = (config.get("rank_pattern") or {}, config.get("alpha_pattern") or {})
    return Scaling(rank, alpha, bool(config.get("use_rslora")), *patterns)


class Merged(Mapping[str, Tensor]):
    """The tensors of a base model with the changes of an adapter, each made when it is asked for.

    ``copies``: names that the base's files do not have → the tensor that stands for it (an output matrix that was the
    embedding, once one of the two is changed alone).
    """

    def __init__(
        self, base: Mapping[str, Tensor], changes: Mapping[str, Callable[[Tensor], Tensor]], copies: Mapping[str, str]
    ):
        self.base, self.changes, self.copies = base, changes, copies

    def __getitem__(self, name: str) -> Tensor:
        tensor = self.base[self.copies.get(name, name)]
        return self.changes[name](tensor) if name in self.changes else tensor

    def __iter__(self) -> Iterator[str]:
        return iter((*self.base, *self.copies))

    def __len__(self) -> int:
        return len(self.base) + len(self.copies)


def with_adapter(base: Mapping[str, Tensor], folder: Path, family: Family, device: torch.device) -> Merged:
    """``base`` with the adapter in ``folder``; ValueError names what is more than plain LoRA or does not fit it."""
    config = read_json(folder / ADAPTER_CONFIG)
    parts = Tensors(Weights((adapter_weights(folder),), None), device, torch.float32)
    return merge(base, parts, scaling_of(config), family)


def merge(base: Mapping[str, Tensor], parts: Mapping[str, Tensor], scaling: Scaling, family: Family) -> Merged:
    """``base`` plus scale · B A for every pair of factors in ``parts``; other tensors there replace the base's.

    The sum is formed in float32 at least.
    """
    names, changes = set(base), {}
    factors: dict[tuple[str, bool], dict[str, str]] = {}
    copies: dict[str, str] = {}
    for name in parts:
        match = FACTOR.fullmatch(name)
        if match is not None:
            factors.setdefault((match["module"], match["embedding"] is not None), {})[match["letter"]] = name
            continue
        bare = re.sub(r"\.(modules_to_save|base_layer)(?=\.)", "", name.removeprefix("base_model.model."))
        changes[_target(family, names, bare, copies)] = partial(_replaced, by=name, parts=parts)
    for (module, embedding), pair in factors.items():
        if set(pair) != {"A", "B"}:
            raise ValueError(f"The adapter has one factor of {module} only; its file is incomplete.")
        target = _target(family, names, f"{module}.weight", copies)
        turned = embedding or (family.x_at_W and re.search(r"\.\d+\.", target) is not None)
        scale = scaling.of(module, parts[pair["A"]].shape[0])
        changes[target] = partial(_sum, pair=pair, parts=parts, scale=scale, turned=turned, name=target)
    if not changes:
        raise ValueError("The adapter's file holds no tensors, so it changes nothing. It is damaged or not finished.")
    embed = family.find(family.weights["embed.W_E"][0], names)
    if embed in changes and not family.heads(names):  # an output matrix that is the embedding stays what it was
        copies["lm_head.weight"] = embed
    return Merged(base, changes, copies)


def _target(family: Family, names: set[str], name: str, copies: dict[str, str]) -> str:
    """The name in the base's file of what an adapter changes; of its output matrix also where that is the embedding."""
    if family.heads([name]):
        found = family.heads(names)
        if not found:
            copies["lm_head.weight"] = family.find(family.weights["embed.W_E"][0], names)
        return found[0] if found else "lm_head.weight"
    try:
        return family.find(name, names)
    except ValueError as error:
        raise ValueError(
            f"The adapter changes {name}, which its base, a {family.model_type} model, does not have."
        ) from error


def _replaced(tensor: Tensor, by: str, parts: Mapping[str, Tensor]) -> Tensor:
    return parts[by].to(tensor.dtype)


def _sum(
    tensor: Tensor, pair: Mapping[str, str], parts: Mapping[str, Tensor], scale: float, turned: bool, name: str
) -> Tensor:
    change = scale * (parts[pair["B"]] @ parts[pair["A"]])  # [out, in]
    change = change.T if turned else change
    if change.shape != tensor.shape:
        raise ValueError(
            f"The adapter's change of {name} has shape {list(change.shape)}, the base's tensor {list(tensor.shape)}: "
            "they are of different models."
        )
    return (tensor.to(torch.promote_types(tensor.dtype, torch.float32)) + change).to(tensor.dtype)


class InMemory(NamedTuple):
    """A model of transformers without adapters, and what every figure must say of that; empty if it never had one."""

    model: "PreTrainedModel"
    note: str


def merged_in_memory(hf_model: Any) -> InMemory:
    """``hf_model`` itself, or for a model of the package peft a copy with its adapters merged, which stays as it is.

    ValueError for adapters that no sum of weights stands for, such as prompts.
    """
    adapters = getattr(hf_model, "peft_config", None)
    if not adapters:
        return InMemory(hf_model, "")
    kinds = ", ".join(sorted({str(getattr(one.peft_type, "value", one.peft_type)) for one in adapters.values()}))
    if getattr(hf_model, "merge_and_unload", None) is None:
        raise ValueError(
            f"hf_model has an adapter ({kinds}) that cannot be merged from where it is. For LoRA, open it as "
            "peft.PeftModel.from_pretrained(base, folder), or give Lens the folder; prompts are not weights."
        )
    if any(getattr(module, "disable_adapters", False) is True for module in hf_model.modules()):
        raise ValueError(
            f"hf_model has an adapter ({kinds}) that is switched off. Call unload() for the base, or switch it on."
        )
    return InMemory(deepcopy(hf_model).merge_and_unload(), f"Its {kinds} adapter was merged into the weights.")
