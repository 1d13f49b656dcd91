"""The Hugging Face Hub: find a repository in the local cache, or download what a model needs of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from lens.load.files import ADAPTER_CONFIG, CONFIG, TOKENIZER_FILES, TOKENIZER_ROOTS, is_complete, wanted, weight_root
from lens.progress import Progress, silent


class NoNetwork(ConnectionError):
    """The Hub cannot be reached, and what was asked for is not in the local cache."""


class Listing(NamedTuple):
    """What one revision of a repository holds."""

    commit: str
    sizes: Mapping[str, int | None]  # file → bytes, None where the Hub does not say


def cached(hub_id: str, revision: str | None = None, weights: str | None = None) -> Path | None:
    """The folder of a repository in the local Hugging Face cache; None unless all its weights are there.

    ``weights``: one file of it, such as a checkpoint, instead of the model's own weights.
    """
    if not _folder(hub_id).is_dir():  # the menu asks for hundreds of names, and what follows takes time to import
        return None
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(hub_id, CONFIG, revision=revision)
    if not isinstance(config, str):  # None: unknown; a marker object: known not to exist
        return None
    folder = Path(config).parent
    here = is_complete(folder) if weights is None else (folder / weights).is_file()
    return folder if here else None


def _folder(hub_id: str) -> Path:
    """Where the local cache keeps a repository, if it does."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE) / f"models--{hub_id.replace('/', '--')}"


def cached_tokenizer(hub_id: str) -> Path | None:
    """The cached folder of a repository from which a tokenizer can be made; None if there is none."""
    from huggingface_hub import try_to_load_from_cache

    files = (try_to_load_from_cache(hub_id, name) for name in TOKENIZER_ROOTS)
    return next((Path(file).parent for file in files if isinstance(file, str)), None)


def cached_ids() -> list[str]:
    """The repositories of the local cache that can be opened without a network."""
    from huggingface_hub.constants import HF_HUB_CACHE

    folders = sorted(Path(HF_HUB_CACHE).glob("models--*"))
    ids = [folder.name.removeprefix("models--").replace("--", "/") for folder in folders]
    return [hub_id for hub_id in ids if cached(hub_id) is not None]


def listing(hub_id: str, revision: str | None = None) -> Listing:
    """The files of a repository, asked of the Hub. NoNetwork or a ValueError says what to do."""
    from huggingface_hub import HfApi

    with clear_errors(hub_id, revision):
        info = HfApi().model_info(hub_id, revision=revision, files_metadata=True)
    return Listing(info.sha or "", {file.rfilename: file.size for file in info.siblings or ()})


def revisions(hub_id: str) -> list[str]:
    """The branches and tags of a repository, asked of the Hub. NoNetwork or a ValueError says what to do."""
    from huggingface_hub import HfApi

    with clear_errors(hub_id, None):
        refs = HfApi().list_repo_refs(hub_id)
    return [ref.name for ref in (*refs.branches, *refs.tags)]


def fetch(hub_id: str, revision: str | None = None, progress: Progress = silent, *, weights: str | None = None) -> Path:
    """The folder of a repository: the cached one if there is one (newer versions are not looked for), else downloaded.

    Fetches only the config, the tokenizer, and one set of weights, safetensors before pickles; or ``weights``, a file
    of the same revision, in its place. NoNetwork or a ValueError (no such repository or revision, no access, no
    weights) says what to do, OSError that the disk is full.
    """
    folder = cached(hub_id, revision, weights)
    if folder is not None:
        return folder
    progress(0.0, f"Asking the Hub about {hub_id}")
    there = listing(hub_id, revision)
    if weights is not None and weights not in there.sizes:
        raise ValueError(f"{hub_id!r} has no file {weights!r} at this revision. Ask `checkpoints` which it has.")
    files = wanted(there.sizes, weights)
    if ADAPTER_CONFIG in files and CONFIG not in files:
        raise ValueError(
            f"{hub_id!r} is an adapter without its base. Run `hf download {hub_id} --local-dir adapter`, open the base "
            "once, and open the folder: Lens merges the two."
        )
    if CONFIG not in files or (weights is None and weight_root(files) is None):
        raise ValueError(f"{hub_id!r} is no model that Lens reads: it wants {CONFIG} and safetensors or .bin weights.")
    return _download(hub_id, revision, there, files, progress)


def fetch_tokenizer(hub_id: str, progress: Progress = silent) -> Path:
    """The folder with the tokenizer of a repository, and nothing else of it, from the cache or downloaded."""
    folder = cached_tokenizer(hub_id)
    if folder is not None:
        return folder
    there = listing(hub_id)
    files = [name for name in TOKENIZER_FILES if name in there.sizes]
    if not set(files) & set(TOKENIZER_ROOTS):
        raise ValueError(f"{hub_id!r} holds no tokenizer: wanted {' or '.join(TOKENIZER_ROOTS)}.")
    return _download(hub_id, None, there, files, progress)


def _download(hub_id: str, revision: str | None, there: Listing, files: list[str], progress: Progress) -> Path:
    from lens.load.download import download

    with clear_errors(hub_id, revision):
        return download(hub_id, revision, {name: there.sizes[name] for name in files}, progress)


@contextmanager
def clear_errors(hub_id: str, revision: str | None) -> Iterator[None]:
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
