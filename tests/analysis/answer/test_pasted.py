"""Directions given as numbers: what is read is what was written, and what is no direction is refused with a reason."""

import io
import json

import numpy as np
import pytest

from lens.analysis.answer.pasted import read_vector, read_vector_file

WANTED = np.random.default_rng(0).standard_normal(7).astype(np.float32)
AS_TEXT = {
    "json": json.dumps(WANTED.tolist()),
    "one row of json": json.dumps([WANTED.tolist()]),
    "csv": ",".join(map(str, WANTED)),
    "column": "\n".join(map(str, WANTED)) + "\n",
    "spaces": " ".join(map(str, WANTED)),
    "as torch prints it": f"tensor({WANTED.tolist()})".removeprefix("tensor"),
}


def saved(array, **how) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **how)
    return stream.getvalue()


@pytest.mark.parametrize("text", AS_TEXT.values(), ids=AS_TEXT)
def test_numbers_are_read_exactly_however_they_are_written(text):
    assert read_vector(text, 7).tolist() == WANTED.tolist()
    assert read_vector_file("v.csv", b"\xef\xbb\xbf" + text.encode(), 7).tolist() == WANTED.tolist()


@pytest.mark.parametrize("array", [WANTED, WANTED[None], WANTED[:, None], WANTED.astype(">f8"), WANTED.astype(float)])
def test_arrays_are_read_exactly(array):
    assert read_vector_file("v.NPY", saved(array), 7).tolist() == WANTED.tolist()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 2 3", "got 3 numbers; this model's residual stream has 7"),
        ("4", "got 1 number; this"),
        ("", "got 0 numbers"),
        ("1 2 NaN 4 5 6 7", "number 3 is NaN"),
        ("1 2 3 4 5 6 -Infinity", "number 7 is -Infinity"),
        ("1 2 3 4 5 6 1e39", "number 7 is 1e"),
        ("1 2 3 4 5 6 1e999", "number 7 is inf"),
        ("0 0 0 0 0 0 0", "points nowhere"),
        ("1 2 x 4 5 6 7", "'x' in place 3 is not a number"),
        ("__import__('os') 2", "is not a number"),
        ("1_0 2 3 4 5 6 7", "'1_0' in place 1"),
        ("[" * 100_000 + "1", "got 1 number"),
        ("z" * 100_000, "'z{19}…' in place 1"),
    ],
)  # fmt: skip
def test_text_that_is_no_direction_of_this_model_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        read_vector(text, 7)


def huge() -> bytes:
    """An array that claims more numbers than any machine holds."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (10**13,)})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("v.npy", saved(np.array([{}] * 7, object), allow_pickle=True), "holds object"),
        ("v.npy", saved(WANTED.astype(complex)), "holds complex128"),
        ("v.npy", saved(np.array(["1"] * 7)), "holds <U1"),
        ("v.npy", huge(), "claims 10000000000000 numbers, and its file holds 0"),
        ("v.npy", saved(WANTED)[:-4], "claims 7 numbers, and its file holds 6"),
        ("v.npy", saved(WANTED.repeat(4).reshape(7, 4)), r"has shape \[7, 4\]"),
        ("v.npy", saved(WANTED[:5]), "got 5 numbers"),
        ("v.npy", saved(np.full(7, np.nan)), "number 1 is nan"),
        ("v.npy", b"PK\x03\x04", "no NumPy array"),
        ("v.npy", b"", "no NumPy array"),
        ("v.csv", saved(WANTED), "not text"),
    ],
)
def test_files_that_hold_no_direction_are_refused_and_never_unpickled(name, data, words):
    with pytest.raises(ValueError, match=words):
        read_vector_file(name, data, 7)
