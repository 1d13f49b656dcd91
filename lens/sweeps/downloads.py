"""Checkpoints of the Hub for a sweep: the next ones are fetched while those before are computed, and few stay.

What is deleted is only what the sweep itself has downloaded: a revision of which the local cache held nothing before.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

from lens.load.checkpoints import Checkpoints
from lens.load.sources import locate
from lens.progress import Progress, silent

if TYPE_CHECKING:
    from huggingface_hub import CachedRepoInfo


class Stopped(Exception):
    """Raised inside a download when the sweep ends before it."""


class Fetched(NamedTuple):
    """One checkpoint after the attempt to bring it to this disk."""

    index: int
    owned: str = ""  # the name by which it can be deleted again; "" for what was here before
    lost: str = ""  # why it is not here


Fetch = Callable[[int, Progress], str]  # brings a checkpoint here; returns ``Fetched.owned``. OSError, ValueError
Forget = Callable[[str], None]


def fetched_ahead(
    indices: Sequence[int], at_once: int, fetch: Fetch, forget: Forget, keep: int | None, progress: Progress = silent
) -> Iterator[list[Fetched]]:
    """The checkpoints in groups of at most ``at_once``; whoever asks for the next group is done with those before.

    While a group is used, the next is fetched, in a thread. Of those that were downloaded for this at most ``keep``
    (None: all) are on the disk at any time: those used longest ago go first. For overlap it takes twice ``at_once``,
    so groups are smaller where less may stay; with one there is none.
    """
    width = at_once if keep is None else max(1, min(at_once, keep // 2))
    groups = [list(indices[start : start + width]) for start in range(0, len(indices), width)]
    used: deque[str] = deque()
    stop = Event()

    def watch(fraction: float, stage: str) -> None:
        if stop.is_set():
            raise Stopped
        progress(fraction, stage)

    def make_room(coming: int, in_use: Sequence[Fetched] = ()) -> None:
        owned = sum(bool(one.owned) for one in in_use)
        while keep is not None and used and len(used) + owned + coming > keep:
            forget(used.popleft())

    with ThreadPoolExecutor(1, thread_name_prefix="lens-sweep") as pool:
        try:
            ahead = pool.submit(_fetch_all, groups[0], fetch, watch) if groups else None
            for number, group in enumerate(groups):
                here = ahead.result()
                coming = groups[number + 1] if number + 1 < len(groups) else []
                overlap = keep is None or len(group) + len(coming) <= keep
                if coming and overlap:
                    make_room(len(coming), here)
                    ahead = pool.submit(_fetch_all, coming, fetch, watch)
                yield here
                used.extend(one.owned for one in here if one.owned)
                if coming and not overlap:
                    make_room(len(coming))
                    ahead = pool.submit(_fetch_all, coming, fetch, watch)
        finally:
            stop.set()


def _fetch_all(indices: Sequence[int], fetch: Fetch, progress: Progress) -> list[Fetched]:
    return [_fetch(index, fetch, progress) for index in indices]


def _fetch(index: int, fetch: Fetch, progress: Progress) -> Fetched:
    """A network that is lost loses this checkpoint; the next is tried again."""
    try:
        return Fetched(index, owned=fetch(index, progress))
    except Stopped:
        return Fetched(index, lost="the sweep was stopped")
    except (OSError, ValueError) as error:
        return Fetched(index, lost=str(error))


def from_hub(run: Checkpoints) -> Fetch:
    """Downloads checkpoints of ``run`` that are not here, and names the commit of those that it may delete again."""

    def fetch(index: int, progress: Progress) -> str:
        if run.is_local(index):
            return ""
        before = commits(run.entry.hub_id)
        commit = locate(run.entry, None, progress, checkpoint=(run, run.at(index))).folder.name
        # Files of one revision cannot be deleted one by one: those stay. So does what was here in part.
        return commit if run.where == "revisions" and commit not in before else ""

    return fetch


def commits(hub_id: str) -> set[str]:
    """The commits of a repository of which the local cache holds something."""
    return {revision.commit_hash for repo in _cached(hub_id) for revision in repo.revisions}


def delete_commit(hub_id: str, commit: str) -> int:
    """Delete one commit of the local cache, and the files that no other commit of it has; bytes that this frees."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.constants import HF_HUB_CACHE

    if commit not in commits(hub_id):
        return 0
    strategy = scan_cache_dir(HF_HUB_CACHE).delete_revisions(commit)
    strategy.execute()
    return strategy.expected_freed_size


def _cached(hub_id: str) -> "list[CachedRepoInfo]":
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.constants import HF_HUB_CACHE

    if not Path(HF_HUB_CACHE).is_dir():
        return []
    return [repo for repo in scan_cache_dir(HF_HUB_CACHE).repos if repo.repo_id == hub_id]
