"""Which bytes a checkpoint is made of: the name under which its results are kept."""

import hashlib
import re
from functools import lru_cache
from pathlib import Path

from lens.load.checkpoints import Checkpoints
from lens.load.converted import sha256
from lens.load.files import CONFIG, TOKENIZER_FILES, weights_of
from lens.load.progress import silent
from lens.load.sources import Source, locate

BLOB = re.compile(r"[0-9a-f]{64}")  # a large file of the Hub's cache is named by its SHA-256


def content_of(found: Checkpoints, index: int) -> str:
    """A hash of the config and the weights of one checkpoint, which must be on this machine."""
    source = locate(found.entry, None, silent, checkpoint=(found, found.at(index)))
    files = weights_of(source.folder).files if source.weights is None else (source.weights,)
    return _joined([source.folder / CONFIG, *files])


def reader_of(found: Checkpoints, index: int = 0) -> str:
    """A hash of what turns text into tokens for a run: its config, tokenizer and start token."""
    source: Source = locate(found.entry, None, silent, checkpoint=(found, found.at(index)))
    files = [source.folder / name for name in (CONFIG, *TOKENIZER_FILES) if (source.folder / name).is_file()]
    return f"{_joined(files)}:{source.entry.alias}:{source.entry.start}"


def _joined(files: list[Path]) -> str:
    return hashlib.sha256("".join(map(_digest, files)).encode()).hexdigest()[:32]


def _digest(path: Path) -> str:
    real, stat = path.resolve(), path.stat()
    return real.name if BLOB.fullmatch(real.name) else _hashed(real, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def _hashed(path: Path, size: int, changed: int) -> str:
    return sha256(path)
