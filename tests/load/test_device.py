import pytest
import torch

from lens.load import read
from lens.load.device import pick_device, pick_dtype
from tests.helpers import hf_llama
from tests.load.models import save


def test_the_best_device_is_taken(monkeypatch):
    for cuda, mps, want in ((True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr("torch.cuda.is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr("torch.backends.mps.is_available", lambda mps=mps: mps)
        assert pick_device() == torch.device(want)


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for name in ("cuda", "cuda:0", torch.device("cuda"), "tpu"):
        with pytest.raises(ValueError, match="this machine has"):
            pick_device(name)
    with pytest.raises(ValueError, match="counted from 0"):
        pick_device("cpu:3")
    assert pick_device("cpu") == torch.device("cpu")


def test_formats():
    assert pick_dtype() == pick_dtype("float32") == pick_dtype(torch.float32) == torch.float32
    for wrong in ("int8", torch.int64, "half a byte"):
        with pytest.raises(ValueError, match="bfloat16"):
            pick_dtype(wrong)


def test_tensors_go_to_the_device(tmp_path, monkeypatch):
    """Each tensor is moved when it is read; the meta device stands in for one that this machine lacks."""
    monkeypatch.setattr("lens.load.device.pick_device", lambda name: torch.device("meta"))
    loaded = read(str(save(hf_llama(), tmp_path / "m")), device="elsewhere")
    assert {tensor.device.type for tensor in loaded.state.values()} == {"meta"}
