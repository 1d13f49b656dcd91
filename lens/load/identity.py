"""Which bytes a checkpoint is made of: the name under which its results are kept."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from lens.load.checkpoints import Checkpoints
from lens.load.digests import digests
from lens.load.files import ADAPTER_CONFIG, CONFIG, TOKEN_COUNTS, TOKENIZER_FILES, adapter_weights, weights_of
from lens.load.sources import Source, locate
from lens.progress import silent

BLOB = re.compile(r"[0-9a-f]{64}")  # a large file of the Hub's cache is named by its SHA-256


def content_of(run: Checkpoints, index: int) -> str:
    """A hash of the config and the weights of one checkpoint, which must be on this machine."""
    source = locate(run.entry, None, silent, checkpoint=(run, run.at(index)))
    files = weights_of(source.folder).files if source.weights is None else (source.weights,)
    adapter = () if source.adapter is None else (source.adapter / ADAPTER_CONFIG, adapter_weights(source.adapter))
    return _joined([source.folder / CONFIG, *files, *adapter])


def identical(contents: Mapping[int, str]) -> tuple[tuple[int, ...], ...]:
    """Checkpoints that are the same bytes, as groups of indices; ``contents``: index → what :func:`content_of` says."""
    groups: dict[str, list[int]] = {}
    for index, content in sorted(contents.items()):
        groups.setdefault(content, []).append(index)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def reader_of(run: Checkpoints, index: int = 0) -> str:
    """A hash of what turns text into tokens for a run: its config, tokenizer, start token and counts."""
    source: Source = locate(run.entry, None, silent, checkpoint=(run, run.at(index)))
    named = [source.folder / name for name in (CONFIG, TOKEN_COUNTS)]
    files = [file for file in (*named, *(source.text_folder / name for name in TOKENIZER_FILES)) if file.is_file()]
    return f"{_joined(files)}:{source.entry.alias}:{source.entry.start}"


def _joined(files: list[Path]) -> str:
    real = [file.resolve() for file in files]
    unnamed = [file for file in real if not BLOB.fullmatch(file.name)]
    found = dict(zip(unnamed, digests(unnamed), strict=True))
    return hashlib.sha256("".join(found.get(file) or file.name for file in real).encode()).hexdigest()[:32]
