"""The architectures that Lens computes. Each is one file of data; this is the register."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from torch import Tensor

from lens.config import Config
from lens.families.attributes import ignoring
from lens.families.bloom import BLOOM
from lens.families.falcon import FALCON
from lens.families.family import Family, convert, has_head_of_its_own
from lens.families.gemma import GEMMA, GEMMA2, GEMMA3, GEMMA3_WITH_VISION
from lens.families.gpt2 import GPT2
from lens.families.gpt_neo import GPT_NEO
from lens.families.gpt_neox import GPT_NEOX
from lens.families.gptj import GPTJ
from lens.families.llama import LLAMA
from lens.families.mistral import MISTRAL
from lens.families.mpt import MPT
from lens.families.olmo import OLMO, OLMO2, OLMO3
from lens.families.opt import OPT
from lens.families.phi import PHI
from lens.families.phi3 import PHI3
from lens.families.qwen import QWEN2, QWEN3
from lens.families.refused import refusal
from lens.families.stablelm import STABLELM

ALL = (
    *(BLOOM, FALCON, GEMMA, GEMMA2, GEMMA3, GEMMA3_WITH_VISION, GPT2, GPT_NEO, GPT_NEOX, GPTJ, LLAMA, MISTRAL, MPT),
    *(OLMO, OLMO2, OLMO3, OPT, PHI, PHI3, QWEN2, QWEN3, STABLELM),
)
FAMILIES: dict[str, Family] = {family.model_type: family for family in ALL}

UNTIED = (
    "Its file has an output matrix of its own, though its config says the embedding is used twice: the file counts."
)

__all__ = ["FAMILIES", "Family", "Structure", "convert", "family_of", "structure_of"]


def family_of(hf_config: Mapping[str, Any]) -> Family:
    """The family of a Hugging Face config; ValueError says what kind of model it is, or lists what is supported."""
    model_type = hf_config.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise ValueError(refusal(model_type if isinstance(model_type, str) else None, sorted(FAMILIES)))
    return FAMILIES[model_type].bound_to(hf_config)


class Structure(NamedTuple):
    """What a config and the tensors beside it make. ``note``: what every figure must say of that; may be empty."""

    family: Family
    cfg: Config
    note: str


def structure_of(hf_config: Mapping[str, Any], tensors: Mapping[str, Tensor], ignore: Sequence[str] = ()) -> Structure:
    """Family and config of a model: what its config says, as if it did not say ``ignore``, and what its tensors show.

    A config that says the output matrix is the embedding is not believed where the file has another one.
    """
    shorter, note = ignoring(hf_config, ignore)
    family = family_of(shorter)
    cfg = family.config(shorter)
    if cfg.tied and has_head_of_its_own(family, tensors):
        cfg, note = replace(cfg, tied=False), " ".join(filter(None, (note, UNTIED)))
    return Structure(family, cfg, note)
