"""A direction given as numbers, pasted or in a file: read as data, checked, and never run."""

import io
import re

import numpy as np
from jaxtyping import Float

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
AROUND = " \t\r\n[](),;"
QUOTED = 20  # characters of a word that is no number
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_vector(text: str, d_model: int) -> Float[np.ndarray, " d_model"]:
    """The numbers of ``text``, apart by commas, spaces or lines, with or without brackets round them; float32.

    ValueError for what is no finite number, and for another count than ``d_model``.
    """
    words = [word for word in re.split(r"[\s,;]+", text.strip(AROUND)) if word]
    for place, word in enumerate(words, start=1):
        if NOT_FINITE.fullmatch(word):
            raise ValueError(f"number {place} is {word}; every number must be finite.")
        if not NUMBER.fullmatch(word):
            raise ValueError(
                f"{_short(word)} in place {place} is not a number; give numbers with commas or spaces between them."
            )
    return _checked(np.array(words, dtype=np.float64), d_model)


def read_vector_file(name: str, data: bytes, d_model: int) -> Float[np.ndarray, " d_model"]:
    """The numbers of a file: a NumPy array where its name ends in .npy, else text as of :func:`read_vector`.

    ValueError also for an array that holds objects, which only running code could read, or whose size is not that of
    its file.
    """
    if not name.lower().endswith(".npy"):
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError("the file is not text; give .json or .csv with numbers, or a .npy array.") from error
        return read_vector(text, d_model)
    return _checked(_array(data), d_model)


def _array(data: bytes) -> np.ndarray:
    """A .npy file's numbers as float64. The header is believed only where as many bytes follow it."""
    stream = io.BytesIO(data)
    try:
        shape, _, dtype = HEADERS[np.lib.format.read_magic(stream)](stream)
    except Exception as error:  # what a damaged header makes of NumPy's parser has no name in common
        raise ValueError("the file is no NumPy array; save it with numpy.save.") from error
    if dtype.kind not in "fiu":
        raise ValueError(f"the array holds {dtype}; give real numbers, such as float32.")
    left, count = len(data) - stream.tell(), int(np.prod(shape, dtype=object))
    if left != count * dtype.itemsize:
        raise ValueError(f"the array claims {count} numbers, and its file holds {left // dtype.itemsize}.")
    if max(shape, default=1) != count:
        raise ValueError(f"the array has shape {list(shape)}; give one row of numbers.")
    return np.frombuffer(data, dtype, offset=stream.tell()).astype(np.float64)


def _checked(values: np.ndarray, d_model: int) -> Float[np.ndarray, " d_model"]:
    if len(values) != d_model:
        numbers = "number" if len(values) == 1 else "numbers"
        raise ValueError(f"got {len(values):,} {numbers}; this model's residual stream has {d_model:,}.")
    with np.errstate(over="ignore"):
        vector = values.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(vector))
    if len(bad):
        raise ValueError(f"number {bad[0] + 1} is {values[bad[0]]:g}; every number must be finite as float32.")
    if not vector.any():
        raise ValueError("all numbers are 0, which points nowhere; give a direction.")
    return vector


def _short(word: str) -> str:
    return repr(word if len(word) <= QUOTED else word[: QUOTED - 1] + "…")
