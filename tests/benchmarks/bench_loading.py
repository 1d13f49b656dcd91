"""What opening a model costs: seconds and peak memory, Lens against Hugging Face alone, each in a process of its own.

Run: ``python -m tests.benchmarks.bench_loading``. Prints a table; ratios are medians of loads taken in turn. The
libraries are imported, and a tiny model is opened, before the clock starts. "ready" is when every weight has been read
once: what is mapped into memory and not read yet has cost nothing yet. Peak memory is that of the process above where
it stood before, in multiples of the weights. "busy" is processor time, which a machine with other work changes less.
"""

import json
import statistics
import subprocess
import sys
import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

ROUNDS = 3
LENS = """
from transformers import PreTrainedTokenizerFast
from lens import HookedTransformer
load = lambda name: HookedTransformer.from_pretrained(name, device="cpu")
"""
HUGGING_FACE = """
from transformers import AutoModelForCausalLM, AutoTokenizer
def load(name):
    if (Path(name) / "tokenizer.json").is_file():
        AutoTokenizer.from_pretrained(name)
    return AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
"""
MEASURE = """
import json, logging, os, re, sys, time, torch
from pathlib import Path
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
status = lambda name: int(re.search(rf"{name}:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
LOAD
load(sys.argv[1])
Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
before, start, busy = status("VmRSS"), time.perf_counter(), time.process_time()
model = load(sys.argv[2])
opened = time.perf_counter() - start
for parameter in model.parameters():
    parameter.detach().amax()
ready, busy = time.perf_counter() - start, time.process_time() - busy
weights = sum(p.nbytes for p in {p.data_ptr(): p for p in model.parameters()}.values())
peak = (status("VmHWM") - before) / weights
print(json.dumps({"opened": opened, "ready": ready, "busy": busy, "peak": peak, "MB": weights / 1e6}))
"""


def once(load: str, small: str, name: str) -> dict[str, float]:
    """Load ``name`` in a new process."""
    run = [sys.executable, "-c", MEASURE.replace("LOAD", load), small, name]
    return json.loads(subprocess.check_output(run, text=True, stderr=subprocess.DEVNULL).splitlines()[-1])


def compare(title: str, small: str, ways: dict[str, tuple[str, str]]) -> None:
    """One table; the first way is what the others are compared to."""
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for round_ in range(ROUNDS + 1):
        for name, (load, what) in ways.items():
            row = once(load, small, what)
            rows[name] += [row] if round_ else []  # the first one brings the file into the system's cache
    first = next(iter(rows.values()))
    print(f"\n{title}, {first[0]['MB']:.0f} MB of weights in float32, {ROUNDS} rounds")
    print(f"{'way':34} {'opened s':>9} {'ready s':>9} {'ratio':>6} {'busy s':>7} {'ratio':>6} {'peak / weights':>15}")
    for name, found in rows.items():
        keys = ("opened", "ready", "busy", "peak")
        opened, ready, busy, peak = (statistics.median(row[key] for row in found) for key in keys)
        times, work = (
            statistics.median(a[key] / b[key] for a, b in zip(found, first, strict=True)) for key in ("ready", "busy")
        )
        print(f"{name:34} {opened:9.2f} {ready:9.2f} {times:6.2f} {busy:7.2f} {work:6.2f} {peak:15.2f}", flush=True)


def main() -> None:
    from lens.load.catalogue import resolve
    from lens.load.sources import locate
    from lens.progress import silent

    with tempfile.TemporaryDirectory() as root:
        torch.manual_seed(0)
        small, gpt2 = f"{root}/small", f"{root}/gpt2"
        size = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
        LlamaForCausalLM(LlamaConfig(vocab_size=32, **size)).save_pretrained(small)
        GPT2LMHeadModel(GPT2Config()).save_pretrained(gpt2)
        smollm2 = str(locate(resolve("smollm2"), None, silent).folder)
        ways = {"Hugging Face": (HUGGING_FACE, smollm2), "Lens, the same folder": (LENS, smollm2)}
        compare("SmolLM2-135M", small, ways | {"Lens, by name (files are hashed)": (LENS, "smollm2")})
        compare("GPT-2 small, random", small, {"Hugging Face": (HUGGING_FACE, gpt2), "Lens": (LENS, gpt2)})


if __name__ == "__main__":
    main()
