"""Checkpoints of a run that still trains: which are whole, and which are being written. Opens no weights, no torch."""

import zipfile
from pathlib import Path
from typing import NamedTuple

from lens.load.files import LFS_POINTER, adapter_weights, is_adapter, is_complete, weights_of
from lens.untrusted import parse_json

PICKLE = b"\x80"  # how every binary pickle begins
ARGUMENTS, STATE = "training_args.bin", "trainer_state.json"  # the Trainer writes one with the weights, the other last


class Finished(NamedTuple):
    """A whole checkpoint, and when the last of its files was written, seconds since 1970."""

    name: str
    when: float


class Arrived(NamedTuple):
    """The checkpoint-… folders of a run as they are now, by step."""

    whole: tuple[str, ...]
    unfinished: tuple[str, ...]  # without all files, or with a file that has not all its bytes
    newest: Finished | None  # the one that was finished last; None while there is none


def arrived(run: Path) -> Arrived:
    """What lies in the folder of a run; empty where there is no such folder yet."""
    folders = [path for path in run.glob("checkpoint-*") if path.is_dir() and path.name[11:].isdecimal()]
    finished = {path.name: _finished(path) for path in sorted(folders, key=lambda path: int(path.name[11:]))}
    whole = {name: when for name, when in finished.items() if when is not None}
    unfinished = tuple(name for name in finished if name not in whole)
    newest = max((Finished(*one) for one in whole.items()), key=lambda one: one.when, default=None)
    return Arrived(tuple(whole), unfinished, newest)


def _finished(folder: Path) -> float | None:
    """When the last file of a whole checkpoint was written; None for one that is not whole, or is being deleted."""
    try:
        return max(file.stat().st_mtime for file in folder.iterdir()) if is_whole(folder) else None
    except FileNotFoundError:
        return None


def is_whole(folder: Path) -> bool:
    """Whether a checkpoint has all its files with all their bytes, as far as their own headers say.

    Of one that the Hugging Face Trainer writes: whether it has written the state, which comes last.
    """
    if not is_complete(folder) or ((folder / ARGUMENTS).is_file() and not (folder / STATE).is_file()):
        return False
    state = folder / STATE
    if state.is_file() and not _is_json(state.read_bytes()):
        return False
    files = (adapter_weights(folder),) if is_adapter(folder) else weights_of(folder).files
    return all(has_all_bytes(file) for file in files)


def has_all_bytes(file: Path) -> bool:
    """Whether a weight file is as long as its own header says, or, of a zip archive, has its table at the end.

    A pickle (PyTorch before 1.6) is no zip archive and says nothing of its length: it is there, and so it counts. What
    stands for a file that was not fetched (Git LFS) is all that will come: opening it says what to do.
    """
    from safetensors import SafetensorError, safe_open

    with file.open("rb") as opened:
        start = opened.read(len(LFS_POINTER))
    if start == LFS_POINTER:
        return True
    if file.suffix != ".safetensors":
        return zipfile.is_zipfile(file) or start.startswith(PICKLE)
    try:
        with safe_open(file, "np"):
            return True
    except (SafetensorError, OSError):  # the question has an answer: no
        return False


def _is_json(text: bytes) -> bool:
    try:
        parse_json(text.decode())
    except ValueError:  # the question has an answer: no
        return False
    return True
