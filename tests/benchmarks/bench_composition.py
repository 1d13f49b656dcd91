"""Composition scores of all pairs of heads: Gram matrices against products pair by pair. Prints, asserts nothing.

``python -m tests.benchmarks.bench_composition [threads]``

The usual way (singular values of every head for its norms and cores, then the product of every pair) is measured on one
pair of layers and scaled; all at once it would hold every pair's operands. Only attention weights take part, so the
models have the shapes of GPT-2 small and SmolLM2 but next to no vocabulary and no MLP.
"""

import resource
import sys
import time
from collections.abc import Callable

import torch

from lens import Config, HookedTransformer
from lens.analysis.composition import composition
from lens.analysis.head_weights import head_weights, rotated
from lens.analysis.prefix_matching import prefix_matching
from lens.factored import FactoredMatrix

OFFSET = 24
SHAPES = {
    "GPT-2 small": {"n_layers": 12, "n_heads": 12, "d_model": 768},
    "SmolLM2-135M": {"n_layers": 30, "n_heads": 9, "d_model": 576, "n_kv_heads": 3, "norm": "RMS"},
}


def seconds(what: Callable[[], object]) -> float:
    start = time.perf_counter()
    what()
    return time.perf_counter() - start


def best(what: Callable[[], object], times: int = 3) -> float:
    return min(seconds(what) for _ in range(times))


def cpu_seconds(what: Callable[[], object]) -> float:
    """Of all threads together: on a machine that others use, the steadier number."""
    start = time.process_time()
    what()
    return time.process_time() - start


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def build(name: str) -> HookedTransformer:
    positions = "rotary" if name.startswith("Smol") else "learned"
    return HookedTransformer(Config(**SHAPES[name], d_head=64, d_vocab=64, n_ctx=128, positions=positions)).eval()


@torch.no_grad()
def usual(model: HookedTransformer, mode: str) -> float:
    """Seconds for all pairs, from one pair of layers: n² products, and the decompositions of 2n layers."""
    first, second = (head_weights(model, layer) for layer in (0, 1))
    second = rotated(model, 1, second, OFFSET)
    left = first.OV
    right = {"Q": second.QK, "K": second.QK.T, "V": second.OV}[mode]

    def norms(side: FactoredMatrix) -> torch.Tensor:
        return side.S.pow(2).sum(-1).sqrt()

    def prepare() -> tuple:
        return left.collapse_l(), right.collapse_r(), norms(left), norms(right)

    a, b, left_norm, right_norm = prepare()

    def pairs() -> torch.Tensor:
        return (a[:, None] @ b[None]).norm(dim=(-2, -1)) / left_norm[:, None] / right_norm

    n_layers = model.cfg.n_layers
    return n_layers * best(prepare) + n_layers**2 * best(pairs)


def usual_bytes(model: HookedTransformer) -> float:
    """Both operands of every pair, as a broadcast product lays them out, and the products."""
    n, d_model, d_head = model.cfg.n_layers * model.cfg.n_heads, model.cfg.d_model, model.cfg.d_head
    return 4 * n**2 * (2 * d_model * d_head + d_head**2)


def main(threads: str = "2", only: str = "") -> None:
    torch.set_num_threads(int(threads))
    torch.linalg.cholesky(torch.eye(64) @ torch.eye(64))  # the libraries load their kernels
    print(f"{threads} threads; the best of 3; the usual way from one pair of layers, scaled; its memory counted")
    print(f"{'model':14} {'mode':>8} {'here':>7} {'CPU':>7} {'usual':>7} {'ratio':>6} {'MB above':>9} {'usual MB':>9}")
    for name in [name for name in SHAPES if only in name]:
        model = build(name)
        for mode in "QKV":
            before = peak()
            here = best(lambda model=model, mode=mode: composition(model, mode, OFFSET))
            cpu = cpu_seconds(lambda model=model, mode=mode: composition(model, mode, OFFSET))
            above, slow = peak() - before, usual(model, mode)
            print(f"{name:14} {mode:>8} {here:6.2f}s {cpu:6.2f}s {slow:6.1f}s {slow / here:6.1f} {above:9.0f}", end="")
            print(f" {usual_bytes(model) / 1e6:9.0f}")
        previous = torch.rand(model.cfg.n_layers, model.cfg.n_heads)
        prefix = best(lambda model=model, previous=previous: prefix_matching(model, previous, OFFSET))
        print(f"{name:14} {'prefix':>8} {prefix:6.2f}s   (without the Gram matrix of a real vocabulary)")


if __name__ == "__main__":
    main(*sys.argv[1:])
