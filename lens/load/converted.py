"""The converted copy of a GGUF file: an ordinary model folder in the user's cache, checked by hash.

Converting takes seconds and memory; the copy is then mapped into memory like any other folder of safetensors. At every
load each of its files must have the hash of the manifest; a file is read for that whenever it has changed.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

import numpy as np

from lens.load.digests import cache_root, digests, sha256
from lens.load.files import GENERATION, read_json
from lens.progress import Progress, part, silent

CONVERTER = 2  # raise it whenever the same GGUF gives different files
SHARD_BYTES = 120_000_000  # what is held in memory while converting; one tensor may be larger
MANIFEST = "lens-manifest.json"
STALE = 24 * 3600  # seconds after which an unfinished folder belongs to a process that died


def cache_folder() -> Path:
    """Where converted copies lie: in $LENS_CACHE, or the user's cache folder of this system."""
    return cache_root() / "converted"


def converted_copy(gguf: Path, digest: str, progress: Progress = silent) -> Path:
    """The folder with the converted weights of ``gguf``, whose SHA-256 is ``digest``; made if it is not there yet.

    A damaged copy is thrown away and made again, and ``progress`` says so. Several processes may do this at once.
    ValueError and OSError say what is wrong with the file or the disk; nothing half-written stays behind.
    """
    target = cache_folder() / f"{digest[:32]}-v{CONVERTER}"
    if target.is_dir():
        progress(0.0, "Checking the converted copy")
        if is_whole(target):
            return target
        progress(0.0, "The converted copy is damaged; converting again")
        _discard(target)
    _convert(gguf, digest, target, progress)
    return target


def is_whole(folder: Path) -> bool:
    """Whether every file of a converted copy is there with the hash of its manifest."""
    try:
        wanted = read_json(folder / MANIFEST)["files"]
        return digests(folder / name for name in wanted) == list(wanted.values())
    except (FileNotFoundError, ValueError, KeyError):  # the question has an answer: no
        return False


def manifest_note(folder: Path) -> str:
    """The sentence on precision that belongs to a converted copy."""
    return read_json(folder / MANIFEST)["note"]


def _convert(gguf: Path, digest: str, target: Path, progress: Progress) -> None:
    root = target.parent
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"No converted copy of {gguf.name} can be kept in {root} ({error}). "
            "Set LENS_CACHE to a folder you may write to."
        ) from error
    _remove_stale(root)
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=root) as temporary:
        folder = Path(temporary) / "copy"
        folder.mkdir()
        _write(gguf, digest, folder, progress)
        _publish(folder, target)


def _write(gguf: Path, digest: str, folder: Path, progress: Progress) -> None:
    from lens.load.gguf import read_gguf
    from lens.load.gguf_model import hf_config, hf_tensors, precision_note
    from lens.load.gguf_tokenizer import tokenizer_files

    progress(0.0, f"Reading {gguf.name}")
    file = read_gguf(gguf)
    config = hf_config(file)
    tensors, tokenizer = hf_tensors(file, config), tokenizer_files(file)
    _dump(folder / "config.json", config)
    (folder / "tokenizer.json").write_text(tokenizer.tokenizer, "utf-8")
    _dump(folder / "tokenizer_config.json", tokenizer.config)
    if len(tokenizer.end_ids) > 1:
        _dump(folder / GENERATION, {"eos_token_id": tokenizer.end_ids})
    _write_shards(tensors, len(file.tensors), folder, part(progress, 0.05, 0.95))
    progress(0.95, "Checking the converted copy")
    files = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    source = {"name": gguf.name, "sha256": digest}
    _dump(folder / MANIFEST, {"converter": CONVERTER, "source": source, "note": precision_note(file), "files": files})


def _write_shards(tensors: Iterable[tuple[str, np.ndarray]], n_tensors: int, folder: Path, progress: Progress) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    where: dict[str, str] = {}
    numbers = count(1)
    for shard in _shards(tensors):
        name = f"model-{next(numbers):05}.safetensors"
        try:
            save_file(shard, folder / name, metadata={"format": "pt"})
        except SafetensorError as error:
            raise OSError(
                f"The converted copy could not be written to {folder.parent.parent} ({error}). "
                "Free some space, or set LENS_CACHE to another folder."
            ) from error
        where |= dict.fromkeys(shard, name)
        del shard  # before the next one is made
        progress(len(where) / n_tensors, "Converting weights (first time only)")
    _dump(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": where})


def _shards(tensors: Iterable[tuple[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    """Tensors in groups of at most SHARD_BYTES, one made after the other."""
    shard: dict[str, np.ndarray] = {}
    size = 0
    for name, values in tensors:
        if shard and size + values.nbytes > SHARD_BYTES:
            yield shard
            shard, size = {}, 0
        shard[name] = np.ascontiguousarray(values)
        size += values.nbytes
    yield shard


def _publish(folder: Path, target: Path) -> None:
    """Give a finished folder its name in one step. If another process was faster, its copy stands."""
    try:
        os.replace(folder, target)
    except OSError:
        if not is_whole(target):
            raise


def _discard(folder: Path) -> None:
    """Move a damaged copy aside in one step, then delete it; another process may be doing the same."""
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=folder.parent, ignore_cleanup_errors=True) as temporary:
        try:
            os.replace(folder, Path(temporary) / "damaged")
        except FileNotFoundError:
            return


def _remove_stale(root: Path) -> None:
    for folder in root.glob("unfinished-*"):
        if time.time() - folder.stat().st_mtime > STALE:
            shutil.rmtree(folder, ignore_errors=True)


def _dump(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")
