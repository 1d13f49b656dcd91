"""From arrays to tensors: of memory of their own, without a warning, in one place."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import lens
from lens.arrays import as_tensor

PACKAGE = Path(lens.__file__).parent


def test_an_array_that_nobody_may_write_into_becomes_a_tensor_of_its_own():
    kept = np.arange(6.0).reshape(2, 3)
    kept.flags.writeable = False
    with pytest.raises(UserWarning, match="not writable"):  # what the tests make of torch's own way
        torch.as_tensor(kept)
    for array in (kept, kept.T, kept[:, ::-1]):
        tensor = as_tensor(array)
        assert tensor.numpy().tolist() == array.tolist()
        tensor += 1
    assert kept.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_what_is_no_array_is_read_as_torch_reads_it():
    tensor = torch.ones(2)
    assert as_tensor(tensor) is tensor
    assert as_tensor([1, 2]).tolist() == [1, 2]
    assert as_tensor(np.float32(0.5)).item() == as_tensor(0.5).item() == 0.5


def test_nothing_else_makes_tensors_of_what_may_be_an_array():
    own = {PACKAGE / "arrays.py"}
    plain = re.compile(r"torch\.as_tensor\b")
    assert [path for path in PACKAGE.rglob("*.py") if path not in own and plain.search(path.read_text())] == []
