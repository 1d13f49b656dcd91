"""GGUF, the single-file format of llama.cpp: metadata, and tensors as they lie in the file."""

from pathlib import Path
from typing import Any, NamedTuple

import gguf
import numpy as np

from lens.load.gguf_header import check_header

MAGIC = b"GGUF"
STRING = gguf.GGUFValueType.STRING


class Packed(NamedTuple):
    """One tensor, still quantised: the bytes of its rows, in the shape that ``gguf.dequantize`` reads."""

    type: gguf.GGMLQuantizationType
    shape: tuple[int, ...]  # of the numbers, rows first
    data: np.ndarray  # memory-mapped


class GGUFFile(NamedTuple):
    """What a GGUF file holds. ``tensors`` are views of the mapped file: nothing of them is read yet."""

    path: Path
    fields: dict[str, Any]
    tensors: dict[str, Packed]


def read_gguf(path: Path) -> GGUFFile:
    """The metadata of a GGUF file and its mapped tensors, parsed once.

    ValueError if it is no GGUF file, is damaged, ends too early, or is of a version that Lens does not read.
    """
    with path.open("rb") as file:
        start = file.read(len(MAGIC))
    if start != MAGIC:
        raise ValueError(f"{path} is no GGUF file: it starts with {start!r}, not {MAGIC!r}.")
    try:
        check_header(path)
        reader = gguf.GGUFReader(path)
        fields = {name: _value(field) for name, field in reader.fields.items()}
    except (ValueError, IndexError, KeyError, OverflowError) as error:  # what its reader raises at a wrong length
        raise ValueError(f"{path} is damaged, truncated or of another version: {error}. Get the file again.") from error
    if reader.endianess != gguf.GGUFEndian.LITTLE:
        raise ValueError(f"{path} is a big-endian GGUF; Lens reads little-endian ones.")
    tensors = {tensor.name: _packed(tensor) for tensor in reader.tensors}
    return GGUFFile(path, fields, tensors)


def _value(field: gguf.ReaderField) -> Any:
    """A number, a text, or a list of them."""
    if field.types[-1] == STRING and len(field.types) > 1:  # contents() decodes these through numpy, one by one
        return [field.parts[index].tobytes().decode() for index in field.data]
    return field.contents()


def _packed(tensor: gguf.ReaderTensor) -> Packed:
    shape = tuple(int(size) for size in reversed(tensor.shape))  # the file counts the fastest axis first
    return Packed(tensor.tensor_type, shape, tensor.data)
