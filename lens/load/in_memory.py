"""A model that is in memory already, as transformers made it: the same weights, in the structure of Lens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from lens.families import convert, structure_of
from lens.load import Loaded
from lens.load.tokenizer import bos_policy

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def read_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None, name: str = "") -> Loaded:
    """Config and weights of ``model``, on its device and in its precision; a weight that needs no change is shared.

    ValueError for a family, or an attribute of its config, that Lens does not know.
    """
    config = model.config.to_dict()
    tensors: dict[str, Tensor] = {}
    places = set()
    for key, tensor in model.state_dict().items():
        if tensor.data_ptr() not in places:  # an output matrix that is the embedding is no matrix of its own
            tensors[key] = tensor.detach()
        places.add(tensor.data_ptr())
    family, cfg, note = structure_of(config, tensors)
    state = convert(family, cfg, tensors)
    return Loaded(cfg, state, tokenizer, name or called(model), None, note, bos_policy(None, tokenizer))


def called(model: PreTrainedModel) -> str:
    """The last part of where it came from, or the name of its family."""
    return model.config.name_or_path.rstrip("/").rpartition("/")[2] or model.config.model_type
