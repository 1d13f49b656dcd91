"""Results in memory: numpy, read-only, bounded; keys that see every element."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from lens.ui.calls import call_key, key_part
from lens.ui.store import Store, array_key, nbytes, to_numpy, to_torch
from tests.ui.work import Squares, cell, squares


@dataclass(frozen=True)
class Nested:
    inner: Squares
    table: dict
    rows: list


def test_tensors_become_read_only_numpy_in_the_same_containers():
    result = Nested(squares(torch.arange(3.0)), {"a": (torch.ones(2, dtype=torch.bfloat16),)}, [torch.tensor(1j), "x"])
    out = to_numpy(result)
    assert isinstance(out.inner, Squares)
    assert out.inner.unit == "nats"
    np.testing.assert_array_equal(out.inner.value, [0, 1, 4])
    assert out.table["a"][0].dtype == np.float32
    assert out.rows[0] == 1j
    assert nbytes(out) == 3 * 4 + 4 + 2 * 4 + 8
    with pytest.raises(ValueError, match="read-only"):
        out.inner.value[0] = 1


def test_results_do_not_share_memory_with_the_model():
    weights = torch.ones(3, requires_grad=True)
    out = to_numpy(weights)
    with torch.no_grad():
        weights[0] = 5
    np.testing.assert_array_equal(out, [1, 1, 1])


def test_the_store_forgets_the_least_recently_used():
    store = Store(most=2, most_bytes=10**6)
    store.put("a", np.zeros(1), 0.1)
    store.put("b", np.zeros(1), 0.1)
    assert store.get("a").seconds == 0.1
    store.put("c", np.zeros(1), 0.1)
    assert store.get("b") is None
    assert store.get("a") is not None


def test_the_store_is_bounded_by_bytes_but_keeps_the_newest():
    store = Store(most=10, most_bytes=100)
    store.put("a", np.zeros(10), 0.0)
    store.put("b", np.zeros(1000), 0.0)
    assert store.get("a") is None
    assert len(store) == 1


def test_a_key_sees_one_element_of_a_million():
    x = np.zeros(1_000_000, dtype=np.float32)
    y = x.copy()
    y[777_777] = 1
    assert array_key(x) != array_key(y)
    assert array_key(x) == array_key(x.copy())
    assert array_key(x) != array_key(x.reshape(1000, 1000))


def test_keys_differ_by_function_and_by_every_argument():
    x = torch.arange(3)
    keys = [
        call_key(squares, (x,), {}),
        call_key(cell, (x,), {}),
        call_key(squares, (x + 1,), {}),
        call_key(squares, (x,), {"scale": 1.0}),
        call_key(squares, (x,), {"scale": 2.0}),
        call_key(squares, (x, 1.0), {}),
        call_key(squares, ((x, 1.0),), {}),
        call_key(squares, ("1",), {}),
        call_key(squares, (1,), {}),
        call_key(squares, (True,), {}),
        call_key(squares, (None,), {}),
    ]
    assert len(set(keys)) == len(keys)
    assert call_key(squares, (x.clone(),), {}) == keys[0]


def test_what_has_no_stable_name_is_refused():
    with pytest.raises(TypeError, match="needs a function with a name"):
        call_key(lambda: 0, (), {})
    with pytest.raises(TypeError, match="type object has no stable key"):
        key_part(object())


def test_a_model_in_a_key_is_its_weights_name(tiny_gpt2, tiny_llama):
    assert key_part(tiny_gpt2) == key_part(tiny_gpt2)
    assert tiny_gpt2.name in key_part(tiny_gpt2)


def test_a_result_goes_back_into_an_analysis_as_tensors_of_its_own():
    result = to_numpy([squares(torch.arange(3.0))])
    again = to_torch(result)
    assert torch.equal(again[0].value, torch.tensor([0.0, 1.0, 4.0]))
    assert again[0].unit == "nats"
    again[0].value[0] = 5
    np.testing.assert_array_equal(result[0].value, [0, 1, 4])
