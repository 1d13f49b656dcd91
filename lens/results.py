"""Results on disk, so that a sweep over a training run is computed once: checked at every read, bounded in size.

Any number of processes may read and write at once: a result is there as a whole or not at all.

A key names everything that a result depends on: the content of the weights, the tokens, the analysis, its parameters
and the source code that computed it. Whoever changes any of these gets another key, never an old number. Who changes
code that has no part in it, of pages, of figures or of training, keeps what was computed.
"""

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np

from lens.load.digests import cache_root

PACKAGE = Path(__file__).parent
IMPORT = re.compile(r"^\s*(?:from (lens[\w.]*) import (\([^)]*\)|.*)|import (lens[\w.]*))", re.MULTILINE)
DIGEST = 32  # bytes of a SHA-256
MOST_BYTES = 1_000_000_000  # of all kept results; beyond it the ones longest unused go
UNFINISHED = "unfinished-"  # begins the name of a file that is being written
STALE = 3600  # seconds after which an unfinished file belongs to a process that died
LOG = logging.getLogger(__name__)


class Result(NamedTuple):
    """Arrays by name, and the plain facts (numbers, texts) that belong to them."""

    arrays: dict[str, np.ndarray]
    facts: dict[str, Any]


def results_folder() -> Path:
    """Where results lie: in $LENS_CACHE, or in the user's cache folder of this system."""
    return cache_root() / "results"


@cache
def code_version(module: str) -> str:
    """Names the code that computes: a hash of ``module``, of all of Lens that it imports, and of torch's version."""
    from importlib.metadata import version

    digest = hashlib.sha256(version("torch").encode())
    for path in sorted(sources(module)):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def sources(module: str) -> set[Path]:
    """The files of ``module`` ("lens.analysis.dynamics") and of every module of Lens that it imports, however deep.

    Read from the import statements, also those inside functions; an import that is made of a text at run time is not
    among them.
    """
    todo, files = _with_packages(module), set()
    while todo:
        path = _file(todo.pop())
        if path is not None and path not in files:
            files.add(path)
            todo += _imports(path.read_text(encoding="utf-8"))
    return files


def _file(module: str) -> Path | None:
    """The file of a module or package; None for what is neither, such as a function."""
    place = PACKAGE.joinpath(*module.split(".")[1:])
    return next((path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()), None)


def _imports(source: str) -> list[str]:
    """What follows ``from`` or ``import``, and what may be modules among the names that are taken from a package."""
    modules = []
    for package, names, plain in IMPORT.findall(source):
        modules += _with_packages(package or plain)
        modules += [f"{package}.{name}" for name in re.findall(r"\w+", names)]
    return modules


def _with_packages(module: str) -> list[str]:
    """ "lens.load.hub" → "lens", "lens.load", "lens.load.hub"; all three run when it is imported."""
    return list(accumulate(module.split("."), "{}.{}".format))


def result_key(analysis: str, module: str, **parts: Any) -> str:
    """A file name for one result; ``parts`` are plain values (numbers, texts, lists) that JSON can write exactly.

    ``module``: the one that computes it, ``__name__``; its code is part of the key.
    """
    text = json.dumps({"analysis": analysis, "code": code_version(module), **parts}, sort_keys=True, allow_nan=False)
    return f"{analysis}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def remembered(key: str, compute: Callable[[], Result]) -> Result:
    """The result of ``key``: the one on disk if it is whole, else computed now and kept.

    A damaged file is deleted and its result computed again. Where nothing can be written, the log says so and the
    result is computed each time.
    """
    found = load(key)
    if found is not None:
        return found
    made = compute()
    save_if_possible(key, made)
    return made


def save_if_possible(key: str, result: Result) -> None:
    """Keep ``result``; where nothing can be written, the log says so."""
    try:
        save(key, result)
    except OSError as error:
        LOG.warning("A result could not be kept: %s", error)


def load(key: str) -> Result | None:
    """The kept result of ``key``; None if there is none, or none that is whole."""
    from safetensors import SafetensorError, numpy

    path = results_folder() / key
    try:
        with path.open("rb") as file:
            data, inode = file.read(), os.fstat(file.fileno()).st_ino
    except (FileNotFoundError, NotADirectoryError):
        return None
    digest, payload = data[:DIGEST], data[DIGEST:]
    if hashlib.sha256(payload).digest() == digest:
        try:
            arrays = numpy.load(payload)
            facts = json.loads(bytes(arrays.pop("facts")).decode())
        except (SafetensorError, KeyError, ValueError):  # whole, but not written by this format: as good as damaged
            LOG.warning("%s is no kept result; it is computed again", path)
        else:
            with suppress(OSError):  # another process made room meanwhile, or the folder is read-only
                os.utime(path)  # the last ones used stay longest
            return Result(arrays, facts)
    else:
        LOG.warning("%s is damaged; it is computed again", path)
    _delete(path, inode)
    return None


def _delete(path: Path, inode: int) -> None:
    """Delete the file that was read, not a whole one that another process has put in its place since."""
    with suppress(FileNotFoundError):
        if path.stat().st_ino == inode:
            path.unlink()


def save(key: str, result: Result) -> None:
    """Keep ``result`` in one step: another process sees all of it or nothing. OSError names the folder."""
    from safetensors import numpy

    folder = results_folder()
    facts = np.frombuffer(json.dumps(result.facts).encode(), np.uint8)
    arrays = {name: np.asarray(array, order="C") for name, array in result.arrays.items()}  # a single number stays one
    payload = numpy.save({**arrays, "facts": facts})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _make_room(folder, MOST_BYTES - len(payload))
        _write(folder, key, hashlib.sha256(payload).digest() + payload)
    except OSError as error:
        raise OSError(
            f"{folder} cannot hold results ({error}). Set LENS_CACHE to a folder you may write to."
        ) from error


def _write(folder: Path, name: str, data: bytes) -> None:
    """All of a file or nothing; on a full disk nothing half-written stays in the way.

    Readable by whoever the user's umask lets read: a folder may be shared.
    """
    unfinished = folder / f"{UNFINISHED}{uuid4().hex}"
    try:
        unfinished.write_bytes(data)
        os.replace(unfinished, folder / name)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def _make_room(folder: Path, at_most: int) -> None:
    """Delete the results longest unused until the others take ``at_most`` bytes, and what dead processes left.

    Files come and go while this looks: other processes write, and make room, too. What they are writing stays.
    """
    files: dict[Path, os.stat_result] = {}
    for entry in os.scandir(folder):
        with suppress(FileNotFoundError):
            files[Path(entry.path)] = entry.stat()
    total = sum(stat.st_size for stat in files.values())
    for path in sorted(files, key=lambda path: files[path].st_mtime):
        unfinished = path.name.startswith(UNFINISHED)
        if time.time() - files[path].st_mtime > STALE if unfinished else total > at_most:
            path.unlink(missing_ok=True)
            total -= files[path].st_size
