"""Weight files of a Hub repository that go on at the byte they reached, after a cancel, an error or a restart.

huggingface_hub writes each file under a name that only this process knows and deletes it when the download ends early,
so it cannot go on later. Weights are therefore fetched by its own ``http_get``, which can start in the middle, into
``blobs/<etag>.incomplete`` of its own cache. A whole file becomes the blob that huggingface_hub would have made.
"""

import re
from pathlib import Path
from typing import NamedTuple

SHA256 = re.compile(r"[0-9a-f]{64}")  # the etag of a large file; that of a small one says nothing about its bytes


class Remote(NamedTuple):
    """One file of a repository, and its place in the local cache."""

    name: str
    url: str
    blob: Path
    size: int | None

    @property
    def partial(self) -> Path:
        """What has come so far. The etag in its name keeps it apart from other versions of the file."""
        return self.blob.with_name(f"{self.blob.name}.incomplete")

    @property
    def have(self) -> int:
        """Bytes that are here already."""
        return self.partial.stat().st_size if self.partial.is_file() else 0


def remote(hub_id: str, revision: str | None, name: str) -> Remote:
    """Ask the Hub for the size and etag of a file."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    url = hf_hub_url(hub_id, name, revision=revision)
    found = get_hf_file_metadata(url)
    if found.etag is None:
        raise OSError(f"The Hub does not say which version of {name} it has ({hub_id}). Try again later.")
    folder = Path(HF_HUB_CACHE) / repo_folder_name(repo_id=hub_id, repo_type="model")
    return Remote(name, url, folder / "blobs" / found.etag, found.size)


def complete(file: Remote, bar: type) -> None:
    """Fetch what is missing of ``file``; ``bar`` is told of every piece and may raise to stop: what came is kept.

    ConnectionError if the connection breaks for good, OSError if what arrived is not the file that was wanted.
    """
    from huggingface_hub import errors
    from huggingface_hub.utils import WeakFileLock

    file.blob.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(file.blob.with_name(f"{file.blob.name}.lock")):  # another process may want the same file
        if file.blob.is_file():
            return
        resumed = file.have > 0
        try:
            _get(file, bar)
        except errors.HfHubHTTPError:
            raise
        except errors.HTTPError as error:
            raise ConnectionError(
                f"The connection to the Hub broke at {file.have:,} of {file.size or 0:,} bytes of {file.name}. "
                "What came is kept: open the model again, and it goes on from there."
            ) from error
        if resumed:
            _check(file)
        file.partial.replace(file.blob)


def _get(file: Remote, bar: type) -> None:
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    with file.partial.open("ab") as out:
        http_get(
            file.url,
            out,
            resume_size=file.have,
            headers=build_hf_headers(),
            expected_size=file.size,
            displayed_filename=file.name,
            tqdm_class=bar,
        )


def _check(file: Remote) -> None:
    """A file made of two downloads is what the Hub has, as far as its etag says."""
    from lens.load.digests import sha256

    if SHA256.fullmatch(file.blob.name) and sha256(file.partial) != file.blob.name:
        file.partial.unlink()
        raise OSError(f"{file.name} did not arrive as it is on the Hub, and was deleted. Open the model again.")
