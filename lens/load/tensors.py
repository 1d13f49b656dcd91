"""The tensors of a model's weight files, read one at a time."""

import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from lens.load.files import LFS_POINTER, Weights
from lens.progress import Progress, silent
from lens.untrusted import damage

REOPEN_BYTES = 50_000_000  # read for conversion, and then needed no more, before their pages are given back


class _Opened(NamedTuple):
    names: Collection[str]
    read: Callable[[str], Tensor]


class Tensors(Mapping[str, Tensor]):
    """Name in the file → tensor on ``device`` in ``dtype``, read when asked for.

    Files are memory-mapped, so a tensor that needs no conversion is not copied: its pages are read when it is used.
    One file is open at a time. Integer tensors keep their format. Where tensors are converted, the file is opened anew
    from time to time, so that the pages that were read do not stay in memory beside what was made of them.
    """

    def __init__(self, weights: Weights, device: torch.device, dtype: torch.dtype, progress: Progress = silent):
        self.device, self.dtype, self.progress = device, dtype, progress
        self._path, self._opened = weights.files[0], _open(weights.files[0])
        self._where = weights.where or dict.fromkeys(self._opened.names, self._path)
        self._read = self._converted = 0

    def __getitem__(self, name: str) -> Tensor:
        path = self._where[name]
        if path != self._path:
            self._path, self._opened = path, _open(path)
        if name not in self._opened.names:
            raise ValueError(
                f"{path} has no tensor {name!r}, though the index beside it says so. The folder is damaged."
            )
        tensor = self._opened.read(name)
        self._read += 1
        self.progress(min(1.0, self._read / len(self)), "Reading weights")
        made = tensor.to(self.device, self.dtype if tensor.is_floating_point() else tensor.dtype)
        if made is not tensor:
            self._converted += tensor.nbytes
        if self._converted > REOPEN_BYTES:
            self._opened, self._converted = _open(path), 0
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    def __len__(self) -> int:
        return len(self._where)


def _open(path: Path) -> _Opened:
    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise ValueError(
                f"{path} is a Git LFS pointer, not the weights themselves. Run `git lfs pull` in its folder."
            )
    return _open_safetensors(path) if path.suffix == ".safetensors" else _open_pickle(path)


def _open_safetensors(path: Path) -> _Opened:
    with damage(f"{path} is not a whole safetensors file", "It is damaged or truncated."):
        handle = safe_open(path, framework="pt")
    return _Opened(set(handle.keys()), handle.get_tensor)


def _open_pickle(path: Path) -> _Opened:
    with damage(f"{path} was not opened", "It is damaged, truncated, or holds code, which is never run."):
        # Files of torch before 1.6 are no zip archives and cannot be memory-mapped.
        state = torch.load(path, map_location="cpu", mmap=zipfile.is_zipfile(path), weights_only=True)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no plain table of tensors; a PyTorch state dict was wanted.")
    return _Opened(state.keys(), state.__getitem__)
