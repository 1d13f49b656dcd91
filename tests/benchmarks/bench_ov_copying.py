"""Full-OV copying scores of all heads: small cores against factors as wide as the vocabulary. Prints, asserts nothing.

``python -m tests.benchmarks.bench_ov_copying [threads] [heads of the usual way]``

The usual way keeps ``W_E @ OV @ W_U`` as a FactoredMatrix of the whole vocabulary for all heads and takes its
eigenvalues; it is run on a few heads, and its time and memory are scaled to all of them, as the table says.
"""

import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from lens import Config, HookedTransformer
from lens.analysis.ov_copying import copying_of, null_scores_of, ov_copying, ov_cores
from lens.factored import FactoredMatrix

MB = 1e6
PAGE = resource.getpagesize()


class Cost(NamedTuple):
    """Seconds of the clock, seconds of all cores, and memory above what was there before."""

    seconds: float
    cpu: float
    megabytes: float


def measured(what: Callable[[], object]) -> Cost:
    """Runs ``what`` while a thread looks at the resident memory a few hundred times a second."""
    done, peak = threading.Event(), [resident()]

    def watch() -> None:
        while not done.wait(0.003):
            peak[0] = max(peak[0], resident())

    watcher, before = threading.Thread(target=watch), resident()
    watcher.start()
    start, cpu = time.perf_counter(), time.process_time()
    what()
    cost = time.perf_counter() - start, time.process_time() - cpu
    done.set()
    watcher.join()
    return Cost(*cost, (peak[0] - before) / MB)


def resident() -> int:
    """Bytes of this process in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def gpt2_sized() -> HookedTransformer:
    """Random weights of GPT-2 small's sizes: the time does not depend on their values."""
    cfg = Config(n_layers=12, n_heads=12, d_model=768, d_head=64, d_vocab=50257, n_ctx=1024, d_mlp=3072)
    return HookedTransformer(cfg, name="gpt2-sized").eval()


@torch.no_grad()
def usual(model: HookedTransformer, n_heads: int) -> None:
    """Eigenvalues through the vocabulary, for the first ``n_heads`` heads at once."""
    cfg = model.cfg
    attn = [model.blocks[layer].attn for layer in range(cfg.n_layers)]
    places = [divmod(i, cfg.n_heads) for i in range(n_heads)]
    V = torch.stack([attn[layer].W_V[head // cfg.group_size] for layer, head in places])
    O = torch.stack([attn[layer].W_O[head] for layer, head in places])  # noqa: E741
    full = model.W_E @ FactoredMatrix(V, O) @ model.W_U
    eigenvalues = full.eigenvalues
    _ = eigenvalues.sum(-1).real / eigenvalues.abs().sum(-1)


def compare(model: HookedTransformer, few: int) -> None:
    n_heads = model.cfg.n_layers * model.cfg.n_heads
    one = measured(lambda: model.unembed.W_U @ model.embed.W_E)
    fast = measured(lambda: ov_copying(model))
    slow = measured(lambda: usual(model, few))
    scale = n_heads / few
    print(f"\n{model.name}: {n_heads} heads of {model.cfg.d_head}, {model.cfg.d_vocab} tokens")
    print(f"{'':34}{'seconds':>9} {'CPU s':>8} {'MB more':>9}")
    print(f"{'one product W_U W_E':34}{one.seconds:9.2f} {one.cpu:8.2f} {one.megabytes:9.0f}")
    print(f"{'all heads, both circuits':34}{fast.seconds:9.2f} {fast.cpu:8.2f} {fast.megabytes:9.0f}")
    print(f"{'  beyond that product':34}{fast.seconds - one.seconds:9.2f} {fast.cpu - one.cpu:8.2f}")
    print(f"{f'usual way, {few} heads':34}{slow.seconds:9.2f} {slow.cpu:8.2f} {slow.megabytes:9.0f}")
    print(
        f"{f'  times {scale:.0f}: all heads (scaled)':34}{scale * slow.seconds:9.2f} {scale * slow.cpu:8.2f} "
        f"{scale * slow.megabytes:9.0f}"
    )
    ratio = [scale * slow.seconds / fast.seconds, scale * slow.cpu / fast.cpu, scale * slow.megabytes / fast.megabytes]
    print(f"{'ratio, scaled usual to ours':34}{ratio[0]:8.1f}x {ratio[1]:7.1f}x {ratio[2]:8.1f}x")
    cores = ov_cores(model)
    eig, null = measured(lambda: copying_of(cores)), measured(lambda: null_scores_of((0, 2), cores.full))
    print(f"{'of that, eigenvalues':34}{eig.seconds:9.2f} {eig.cpu:8.2f} {eig.megabytes:9.0f}")
    print(f"{'200 draws of the null (from 2)':34}{100 * null.seconds:9.1f} {100 * null.cpu:8.1f} {null.megabytes:9.0f}")


def main(threads: str = "2", few: str = "9") -> None:
    torch.set_num_threads(int(threads))
    print(f"{threads} threads; the usual way is run on {few} heads and scaled")
    for model in (gpt2_sized(), HookedTransformer.from_pretrained("smollm2-135m-instruct")):
        compare(model, int(few))


if __name__ == "__main__":
    main(*sys.argv[1:])
