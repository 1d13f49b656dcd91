"""A model folder in the Hugging Face layout: config.json, weights, and usually a tokenizer."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from lens.config import Config
from lens.families import convert, family_of
from lens.load.files import CONFIG, contents, read_json, weights_of
from lens.load.progress import Progress, silent
from lens.load.tensors import Tensors
from lens.load.tokenizer import read_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Parts(NamedTuple):
    """What a folder holds, in Lens's own terms."""

    cfg: Config
    state: dict[str, Tensor]
    tokenizer: "PreTrainedTokenizerBase | None"


def read_folder(folder: Path, device: torch.device, dtype: torch.dtype, progress: Progress = silent) -> Parts:
    """Config, weights (memory-mapped where the format allows) and tokenizer of ``folder``.

    Errors name what is missing, damaged or not supported. No code from the folder is run.
    """
    if not (folder / CONFIG).is_file():
        raise FileNotFoundError(
            f"{folder} has no {CONFIG}, so it is no model folder. {contents(folder)} "
            "Wanted: config.json, weights and, for text, tokenizer.json; or the path of one .gguf file."
        )
    progress(0.0, "Reading config")
    hf_config = read_json(folder / CONFIG)
    family = family_of(hf_config)
    cfg = family.config(hf_config)
    tokenizer = read_tokenizer(folder, hf_config)
    state = convert(family, cfg, Tensors(weights_of(folder), device, dtype, progress))
    return Parts(cfg, state, tokenizer)
