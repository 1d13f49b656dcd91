"""Downloading files of one revision of a Hub repository: room on the disk first, then bytes, rate and time left.

A connection that breaks is taken up again where it was. Of a download that ends for good (cancelled, no network) the
whole files stay, and of a weight file what has come; the next download goes on from there (:mod:`lens.load.resume`).
"""

import io
import shutil
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from threading import Event

from lens.load.patterns import WEIGHT_SUFFIXES
from lens.load.resume import Remote, complete, remote
from lens.progress import Progress

POLL = 0.3  # seconds between two looks at a download
WINDOW = 5.0  # seconds over which the rate is averaged


class Stopped(Exception):
    """Raised inside the download's own threads, to end them."""


def download(hub_id: str, revision: str | None, files: Mapping[str, int | None], progress: Progress) -> Path:
    """The cached folder with ``files`` (name → bytes, where known) of a revision.

    Downloads in a thread of its own, so that ``progress`` is always called from the caller's. If ``progress`` raises
    (a cancelled load), the download ends at its next piece of data. OSError if the disk has no room for it.
    """
    from concurrent.futures import ThreadPoolExecutor, wait

    missing = _missing(hub_id, revision, files)
    weights = [remote(hub_id, revision, name) for name in missing if _resumes(name, missing[name])]
    _check_space(hub_id, sum(size or 0 for size in missing.values()) - sum(file.have for file in weights))
    small = sorted(set(files) - {file.name for file in weights})
    stop, small_bars, weight_bars = Event(), [], []
    bars = _silent_bar(small_bars, stop), _silent_bar(weight_bars, stop)
    pool = ThreadPoolExecutor(1, thread_name_prefix="lens-download")
    job = pool.submit(_fetch, hub_id, revision, small, weights, bars)
    pool.shutdown(wait=False)
    speed = Speed(None if None in missing.values() else sum(missing.values()))
    try:
        while not job.done():
            # huggingface_hub shows the same bytes in two bars; there is one for each weight file.
            done = max((bar.n for bar in small_bars), default=0) + sum(bar.n for bar in weight_bars)
            progress(*speed.report(hub_id, done, 0))
            wait([job], timeout=POLL)
    except BaseException:  # whatever the caller cancels with
        stop.set()
        raise
    return job.result()


def _resumes(name: str, size: int | None) -> bool:
    from huggingface_hub.constants import MAX_HTTP_DOWNLOAD_SIZE

    return name.endswith(WEIGHT_SUFFIXES) and (size or 0) < MAX_HTTP_DOWNLOAD_SIZE


def _fetch(hub_id: str, revision: str | None, small: list[str], weights: list[Remote], bars: tuple) -> Path:
    """The small files by huggingface_hub, then the weights one after the other, put where it puts them."""
    from huggingface_hub import hf_hub_download, snapshot_download

    folder = Path(snapshot_download(hub_id, revision=revision, allow_patterns=small, tqdm_class=bars[0]))
    for file in weights:
        complete(file, bars[1])
        # Finds the bytes, and names them; of the very commit that the small files are of, should the branch have moved.
        hf_hub_download(hub_id, file.name, revision=folder.name, tqdm_class=bars[0])
    return folder


class Speed:
    """How far a download is, in words: bytes, rate and time left. ``total`` None: not known beforehand."""

    def __init__(self, total: int | None):
        self.total, self.seen = total, deque[tuple[float, int]]()

    def report(self, what: str, done: int, total: int, now: float | None = None) -> tuple[float, str]:
        """Fraction done and a sentence such as ``Downloading gpt2: 120 of 548 MB, 11.3 MB/s, 38 s left``."""
        now = time.monotonic() if now is None else now
        total = self.total or total
        self.seen.append((now, done))
        while now - self.seen[0][0] > WINDOW:
            self.seen.popleft()
        start, before = self.seen[0]
        rate = (done - before) / (now - start) if now > start else 0.0
        text = f"Downloading {what}"
        if total:
            text += (
                f": {done / 1e6:,.0f} of {total / 1e6:,.0f} MB" if total >= 1e6 else f": {done:,} of {total:,} bytes"
            )
        if rate > 0:
            text += f", {rate / 1e6:.1f} MB/s"
        if rate > 0 and total > done:
            text += f", {time_left((total - done) / rate)} left"
        return (min(1.0, done / total) if total else 0.0), text


def time_left(seconds: float) -> str:
    """Seconds as a person says them: "38 s", "4 min", "1 h 20 min"."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def _missing(hub_id: str, revision: str | None, files: Mapping[str, int | None]) -> dict[str, int | None]:
    from huggingface_hub import try_to_load_from_cache

    here = {name for name in files if isinstance(try_to_load_from_cache(hub_id, name, revision=revision), str)}
    return {name: size for name, size in files.items() if name not in here}


def _check_space(hub_id: str, needed: int) -> None:
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise OSError(
            f"{hub_id!r} needs {needed / 1e6:,.0f} MB; {folder} has room for {free / 1e6:,.0f} MB. "
            "Free some space, or set HF_HOME to a folder on another disk."
        )


def _silent_bar(bars: list, stop: Event) -> type:
    """A progress bar that prints nothing, puts itself into ``bars`` if it counts bytes, and ends when told to."""
    from tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **(kwargs | {"file": io.StringIO(), "disable": False}))
            if self.unit == "B":
                bars.append(self)

        def update(self, n=1):
            if stop.is_set():
                raise Stopped
            return super().update(n)

    return Bar
