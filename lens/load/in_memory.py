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

    ValueError for a family, or an attribute of its config, that Lens does not know, and for weights that lie elsewhere.
    """
    config = model.config.to_dict()
    state = model.state_dict()
    away = [key for key, tensor in state.items() if tensor.is_meta]
    if away:
        raise ValueError(f"{called(model)}: {len(away)} weights are not in memory, such as {away[0]}; load them first.")
    tensors: dict[str, Tensor] = {}
    places = set()
    for key, tensor in state.items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride())
        if place not in places:  # an output matrix that is the embedding is no matrix of its own
            tensors[key] = tensor.detach()
        places.add(place)
    family, cfg, note = structure_of(config, tensors)
    weights = convert(family, cfg, tensors)
    return Loaded(cfg, weights, tokenizer, name or called(model), None, note, bos_policy(None, tokenizer))


def called(model: PreTrainedModel) -> str:
    """The last part of where it came from, or the name of its family."""
    return model.config.name_or_path.rstrip("/").rpartition("/")[2] or model.config.model_type
