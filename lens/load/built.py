"""Models that have no files: their weights are computed by a function of the package."""

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from lens.config import Config
from lens.load.entries import Entry
from lens.load.tokenizer import bos_policy
from lens.tokens import BosPolicy

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Built(NamedTuple):
    """What the builder of a model returns, with its tokenizer and start token; the fields of a folder's ``Parts``."""

    cfg: Config
    state: dict[str, Tensor]
    tokenizer: "PreTrainedTokenizerBase"
    bos: BosPolicy


def read_built(entry: Entry, revision: str | None, device: torch.device, dtype: torch.dtype) -> Built:
    """The model that the functions ``build(alias)`` and ``make_tokenizer()`` of the entry's modules make."""
    if revision is not None:
        raise ValueError(
            f"{entry.alias} is built by Lens and has no revisions; got revision={revision!r}. Leave it out."
        )
    cfg, state = import_module(f"{entry.built}.weights").build(entry.alias)
    tokenizer = import_module(f"{entry.built}.tokenizer").make_tokenizer()
    state = {name: weight.to(device, dtype) for name, weight in state.items()}
    return Built(cfg, state, tokenizer, bos_policy(entry.start, tokenizer))
