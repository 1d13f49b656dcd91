"""The Hugging Face Hub: find a repository in the local cache, or download what a model needs of it."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from lens.load.files import CONFIG, WEIGHT_ROOTS, is_complete, wanted
from lens.load.progress import Progress, silent

POLL = 0.3  # seconds between two looks at a download


class NoNetwork(ConnectionError):
    """The Hub cannot be reached, and the model is not in the local cache."""


def cached(hub_id: str, revision: str | None = None) -> Path | None:
    """The folder of a repository in the local Hugging Face cache; None unless all its weights are there."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(hub_id, CONFIG, revision=revision)
    if not isinstance(config, str):  # None: unknown; a marker object: known not to exist
        return None
    folder = Path(config).parent
    return folder if is_complete(folder) else None


def cached_ids() -> list[str]:
    """The repositories of the local cache that can be opened without a network."""
    from huggingface_hub.constants import HF_HUB_CACHE

    folders = sorted(Path(HF_HUB_CACHE).glob("models--*"))
    ids = [folder.name.removeprefix("models--").replace("--", "/") for folder in folders]
    return [hub_id for hub_id in ids if cached(hub_id) is not None]


def fetch(hub_id: str, revision: str | None = None, progress: Progress = silent) -> Path:
    """The folder of a repository: the cached one if there is one (newer versions are not looked for), else downloaded.

    Fetches only the config, the tokenizer, and one set of weights, safetensors before pickles. NoNetwork or a
    ValueError (no such repository or revision, no access, no weights) says what to do.
    """
    folder = cached(hub_id, revision)
    if folder is not None:
        return folder
    from huggingface_hub import HfApi

    progress(0.0, f"Asking the Hub about {hub_id}")
    with _clear_errors(hub_id, revision):
        names = [file.rfilename for file in HfApi().model_info(hub_id, revision=revision).siblings or ()]
        files = wanted(names)
        if CONFIG not in files or not set(files) & set(WEIGHT_ROOTS):
            raise ValueError(
                f"{hub_id!r} is no model that Lens reads: it wants {CONFIG} and safetensors or .bin weights."
            )
        return _download(hub_id, revision, files, progress)


def _download(hub_id: str, revision: str | None, files: list[str], progress: Progress) -> Path:
    """Download in a thread of its own, so that ``progress`` is always called from the caller's.

    If ``progress`` raises (a cancelled load), the download goes on in the background and is kept.
    """
    from huggingface_hub import snapshot_download

    bars = []
    pool = ThreadPoolExecutor(1, thread_name_prefix="lens-download")
    job = pool.submit(snapshot_download, hub_id, revision=revision, allow_patterns=files, tqdm_class=_silent_bar(bars))
    pool.shutdown(wait=False)
    while not job.done():
        done, total = max((bar.n for bar in bars), default=0), max((bar.total or 0 for bar in bars), default=0)
        size = f": {done / 1e6:.0f} of {total / 1e6:.0f} MB" if total else ""
        progress(min(1.0, done / total) if total else 0.0, f"Downloading {hub_id}{size}")
        wait([job], timeout=POLL)
    return Path(job.result())


def _silent_bar(bars: list) -> type:
    """A progress bar that prints nothing and puts itself into ``bars`` if it counts bytes."""
    from tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **(kwargs | {"file": io.StringIO(), "disable": False}))
            if self.unit == "B":
                bars.append(self)

    return Bar


@contextmanager
def _clear_errors(hub_id: str, revision: str | None) -> Iterator[None]:
    """The Hub's errors as one sentence each. The order matters: the first ones are kinds of the last ones."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise ValueError(
            f"{hub_id!r} is gated: ask for access at https://huggingface.co/{hub_id}, then log in with `hf auth login`."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ValueError(f"{hub_id!r} has no revision {revision!r}. Give a branch, a tag or a commit of it.") from error
    except errors.RepositoryNotFoundError as error:
        raise ValueError(
            f"The Hub has no public model {hub_id!r}. Check the spelling; for a private one, `hf auth login`."
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise NoNetwork(f"The Hugging Face Hub cannot be reached, and {hub_id!r} is not on this machine.") from error
    except errors.HfHubHTTPError as error:
        raise OSError(
            f"The Hub answered the request for {hub_id!r} with an error: {error}. Try again later."
        ) from error
    except errors.HTTPError as error:  # what is left: no connection, no name service, a time-out
        raise NoNetwork(f"The Hugging Face Hub cannot be reached, and {hub_id!r} is not on this machine.") from error
