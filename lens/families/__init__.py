"""The architectures that Lens computes. Each is one file of data; this is the register."""

from collections.abc import Mapping
from typing import Any

from lens.families.family import Family, convert
from lens.families.gpt2 import GPT2
from lens.families.llama import LLAMA

FAMILIES: dict[str, Family] = {family.model_type: family for family in (GPT2, LLAMA)}

__all__ = ["FAMILIES", "Family", "convert", "family_of"]


def family_of(hf_config: Mapping[str, Any]) -> Family:
    """The family of a Hugging Face config; ValueError lists what is supported."""
    model_type = hf_config.get("model_type")
    if model_type not in FAMILIES:
        raise ValueError(
            f"Lens does not compute models of type {model_type!r} yet; it computes {', '.join(sorted(FAMILIES))}."
        )
    return FAMILIES[model_type]
