"""A model folder: config.json, weights, and usually a tokenizer. In the Hugging Face layout, or that of toy models."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from lens.config import Config
from lens.families import convert, family_of, structure_of
from lens.families.attributes import ignoring
from lens.families.family import as_it_is
from lens.families.toy import is_toy, read_toy
from lens.load.adapter import with_adapter
from lens.load.entries import STARTS
from lens.load.files import CONFIG, TOKEN_COUNTS, Weights, contents, read_json, weights_of
from lens.load.placement import DeviceMap, moved, place
from lens.load.sources import Source
from lens.load.tensors import Tensors
from lens.load.tokenizer import bos_policy, read_end_ids, read_tokenizer, tokenizer_of
from lens.progress import Progress, part, silent
from lens.tokens import BosPolicy

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OLD_TOY = re.compile(r"SoLU_\d+L_v\d+_\w+\.pth")  # the layout of the oldest toy models


class Parts(NamedTuple):
    """What a folder holds, in Lens's own terms."""

    cfg: Config
    state: dict[str, Tensor]
    tokenizer: "PreTrainedTokenizerBase | None"
    bos: BosPolicy
    token_counts: Tensor | None  # of the training text, if its folder says
    end_ids: tuple[int, ...]  # tokens with which a text ends
    note: str  # what every figure must say of how the files were read; may be empty


def read_folder(
    source: Source,
    device: torch.device,
    dtype: torch.dtype,
    progress: Progress = silent,
    device_map: DeviceMap | None = None,
    ignore: Sequence[str] = (),
) -> Parts:
    """Config, weights (memory-mapped where the format allows), tokenizer and start token of a model's files.

    Errors name what is missing, damaged or not supported. No code from the folder is run.
    """
    config = read_config(source.folder)
    toy = is_toy(config)
    start = source.entry.start or (STARTS["toy"] if toy else None)
    progress(0.0, "Reading config")
    if toy:  # before the weights: it may have to be fetched
        tokenizer, missing = tokenizer_of(source, config, part(progress, 0.0, 0.2))
        bos = bos_policy(start, tokenizer, missing)
    else:
        tokenizer = read_tokenizer(source.text_folder, config)
        bos = bos_policy(start, tokenizer)
    made = read_weights(source, device, dtype, part(progress, 0.2 if toy else 0.0, 1.0), device_map, ignore)
    counts = read_token_counts(source.folder, made.cfg.d_vocab)
    return Parts(made.cfg, made.state, tokenizer, bos, counts, read_end_ids(source.folder, config), made.note)


def read_token_counts(folder: Path, d_vocab: int) -> Tensor | None:
    """How often each id occurs in the training text, [d_vocab]; None if the folder does not say."""
    file = folder / TOKEN_COUNTS
    if not file.is_file():
        return None
    counts = read_json(file).get("counts")
    if not isinstance(counts, list) or len(counts) != d_vocab or not all(type(n) is int and n >= 0 for n in counts):
        raise ValueError(f"{file}: wanted 'counts', {d_vocab} whole numbers of 0 or more, one for each token id.")
    return torch.tensor(counts)


def read_config(folder: Path) -> dict[str, Any]:
    """config.json; FileNotFoundError says what else the folder holds."""
    if not (folder / CONFIG).is_file():
        raise FileNotFoundError(
            f"{folder} has no {CONFIG}, so it is no model folder. {contents(folder)} "
            "Wanted: config.json, weights and, for text, tokenizer.json; or the path of one .gguf file. "
            "A training run is opened at one of its checkpoints (checkpoint_index=-1)."
        )
    return read_json(folder / CONFIG)


class Structured(NamedTuple):
    """A structure, weights that fit it, and what every figure must say of how they were read; may be empty."""

    cfg: Config
    state: dict[str, Tensor]
    note: str


def read_weights(
    source: Source,
    device: torch.device,
    dtype: torch.dtype,
    progress: Progress = silent,
    device_map: DeviceMap | None = None,
    ignore: Sequence[str] = (),
) -> Structured:
    """Config and state dict alone: what loading another checkpoint of the same model costs.

    With a ``device_map``, tensors are read to ``device`` and each goes on to its own. ``ignore``: attributes of the
    config that are treated as if they were not there.
    """
    config = read_config(source.folder)
    weights = weights_of(source.folder) if source.weights is None else Weights((source.weights,), None)
    if is_toy(config):
        if source.adapter is not None:
            raise ValueError(
                f"{source.adapter} is an adapter of a toy model; Lens merges those of transformers' models."
            )
        old = OLD_TOY.fullmatch(weights.files[0].name) is not None
        shorter, note = ignoring(config, ignore)
        cfg, state = read_toy(shorter, Tensors(weights, device, dtype, progress), old=old)
        put = _placing(cfg, device_map, dtype)
        # Toy files in bfloat16 are exact in float32; what was asked for is what is given.
        return Structured(cfg, {name: put(name, tensor.to(dtype)) for name, tensor in state.items()}, note)
    tensors: Mapping[str, Tensor] = Tensors(weights, device, dtype, progress)
    if source.adapter is not None:
        tensors = with_adapter(tensors, source.adapter, family_of(config), device)
    family, cfg, note = structure_of(config, tensors, ignore)
    return Structured(cfg, convert(family, cfg, tensors, _placing(cfg, device_map, dtype)), note)


def _placing(cfg: Config, device_map: DeviceMap | None, dtype: torch.dtype) -> Callable[[str, Tensor], Tensor]:
    return as_it_is if device_map is None else partial(moved, devices=place(cfg, device_map, dtype))
