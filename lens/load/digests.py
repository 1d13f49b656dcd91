"""SHA-256 of files, computed again only when a file has changed since it was last computed.

What is remembered lies beside the converted copies: for each file its size, times, inode and hash. Whoever writes to a
file moves its time of change (ctime), which no program can set back; damage that the disk does behind the system's
back is not seen. A file that changed within the last seconds is hashed every time, because another write could fall
into the same tick of the file system's clock.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

SETTLED = 2.0  # seconds since its last change after which a file's stamp tells it from any later state
RECORD = "digests.json"


def cache_root() -> Path:
    """Where Lens keeps what it can make again: $LENS_CACHE, or the user's cache folder of this system."""
    import platformdirs

    return Path(os.environ.get("LENS_CACHE") or platformdirs.user_cache_dir("lens"))


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read now."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(paths: Iterable[Path]) -> list[str]:
    """The SHA-256 of each file; those that have not changed since they were last asked for are not read.

    FileNotFoundError names a file that is not there.
    """
    paths = [path.resolve() for path in paths]
    known, stamps = _read(), [_stamp(path) for path in paths]
    new = [path for path, stamp in zip(paths, stamps, strict=True) if known.get(str(path), {}).get("stamp") != stamp]
    with ThreadPoolExecutor() as pool:  # hashing releases the interpreter
        found = dict(zip(new, pool.map(sha256, new), strict=True))
    answer = [found.get(path) or known[str(path)]["sha256"] for path in paths]
    _remember(known, {path: (stamp, found[path]) for path, stamp in zip(paths, stamps, strict=True) if path in found})
    return answer


def digest(path: Path) -> str:
    """The SHA-256 of one file, as :func:`digests`."""
    return digests([path])[0]


def _stamp(path: Path) -> list[int]:
    about = path.stat()
    return [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino]


def _read() -> dict[str, dict]:
    """What is remembered; nothing if that is nothing, or no longer readable: then files are hashed again."""
    record = cache_root() / RECORD
    try:
        return _parse(record, tuple(_stamp(record)))
    except (OSError, ValueError):
        return {}


@lru_cache(maxsize=1)
def _parse(record: Path, _stamped: tuple[int, ...]) -> dict[str, dict]:
    """The lines of a record as it is under this stamp; not to be changed."""
    lines = json.loads(record.read_text("utf-8"))
    whole = isinstance(lines, dict) and all(isinstance(line, dict) for line in lines.values())
    return lines if whole else {}


def _remember(known: dict[str, dict], found: dict[Path, tuple[list[int], str]]) -> None:
    """Write down what was found of files that have settled and are still what was read.

    Processes that do this at once may undo each other's lines, and a cache that may not be written keeps none: the
    price is a hash. Lines of files that have gone are dropped.
    """
    old_enough = time.time_ns() - int(SETTLED * 1e9)
    kept = {
        str(path): {"stamp": stamp, "sha256": value}
        for path, (stamp, value) in found.items()
        if max(stamp[1:3]) < old_enough and _stamp(path) == stamp
    }
    if not kept:
        return
    lines = {name: line for name, line in known.items() if Path(name).exists()} | kept
    root = cache_root()
    with contextlib.suppress(OSError):
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=root, delete=False) as file:
            json.dump(lines, file, indent=1)
        os.replace(file.name, root / RECORD)
