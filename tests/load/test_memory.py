"""What loading costs in memory: the weights, and little beside them, whatever the files and the format asked for."""

import json
import subprocess
import sys

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.load.models import save

# The peak of the process above where it stood, after a first small load has brought in every library.
MEASURE = """
import json, re, sys, torch
torch.set_num_threads(1)
from pathlib import Path
import lens.load.tensors
from lens import HookedTransformer
lens.load.tensors.REOPEN_BYTES = 2_000_000
status = lambda name: int(re.search(rf"{name}:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
small, large, dtype = sys.argv[1:]
HookedTransformer.from_pretrained(small, dtype=dtype)
Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
before = status("VmRSS")
model = HookedTransformer.from_pretrained(large, dtype=dtype)
for parameter in model.parameters():
    parameter.detach().amax()
weights = sum(p.nbytes for p in {p.data_ptr(): p for p in model.parameters()}.values())
print(json.dumps({"peak": (status("VmHWM") - before) / weights, "weights": weights}))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same 16 million weights in float32 and in bfloat16, in one file and in several; and a tiny model."""
    root = tmp_path_factory.mktemp("memory")
    size = {"hidden_size": 256, "intermediate_size": 1024, "num_attention_heads": 4, "num_key_value_heads": 2}
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(num_hidden_layers=12, vocab_size=8000, **size))
    for dtype in (torch.float32, torch.bfloat16):
        for name, most in (("whole", "1GB"), ("sharded", "3MB")):
            save(model.to(dtype), root / f"{name}-{dtype}", max_shard_size=most)
    save(LlamaForCausalLM(LlamaConfig(num_hidden_layers=1, vocab_size=50, **size)), root / "small")
    return root


@pytest.mark.parametrize(
    ("files", "stored", "asked"),
    [
        ("whole", "torch.float32", "float32"),
        ("whole", "torch.bfloat16", "float32"),
        ("whole", "torch.float32", "float16"),
        ("sharded", "torch.bfloat16", "bfloat16"),
    ],
)
def test_peak_memory(folders, files, stored, asked):
    run = [sys.executable, "-c", MEASURE, str(folders / "small"), str(folders / f"{files}-{stored}"), asked]
    out = json.loads(subprocess.check_output(run, text=True, stderr=subprocess.DEVNULL))
    assert out["weights"] > 30_000_000
    assert out["peak"] < 1.3, out
