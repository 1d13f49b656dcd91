"""Scores of all heads on repeated random tokens: streaming against a cache of every pattern. Prints, asserts nothing.

``python -m tests.benchmarks.bench_head_scores [model] [threads]``
"""

import resource
import sys
import time
from collections.abc import Callable

import torch

from lens import HookedTransformer
from lens.analysis.head_scores import head_scores, repeat_scores, scores_from_pattern
from lens.analysis.random_tokens import RepeatedTokens, repeated_tokens, sampling_set
from lens.analysis.stats import estimate


def naive(model: HookedTransformer, repeated: RepeatedTokens) -> None:
    """Everything a notebook does: a full forward pass per batch with all patterns kept, then the scores."""
    for tokens in (repeated.tokens, repeated.control):
        with torch.no_grad():
            _, cache = model.run_with_cache(tokens, names_filter=lambda name: name.endswith("hook_pattern"))
        for layer in range(model.cfg.n_layers):
            scores_from_pattern(cache["pattern", layer], repeated.n, repeated.bos)


def seconds(what: Callable[[], object]) -> float:
    start = time.perf_counter()
    what()
    return time.perf_counter() - start


def main(name: str = "smollm2-135m-instruct", threads: str = "2") -> None:
    torch.set_num_threads(int(threads))
    model = HookedTransformer.from_pretrained(name)
    print(f"{name}, {threads} threads, 16 sequences and their control")
    print(f"sampling set, once per model   {seconds(lambda: sampling_set(model)):8.2f} s")
    samples = torch.rand(16, model.cfg.n_layers, model.cfg.n_heads)
    print(f"interval of one score          {seconds(lambda: estimate(samples)) * 1e3:8.1f} ms")
    print(f"{'n':>4} {'first call':>11} {'all scores':>11} {'streaming':>10} {'naive':>7} {'ratio':>6}   (seconds)")
    for n in (25, 50, 100):
        repeated = repeated_tokens(model, n)
        first = seconds(lambda repeated=repeated: head_scores(model, repeated))
        every = seconds(lambda repeated=repeated: head_scores(model, repeated))
        stream = seconds(lambda repeated=repeated: repeat_scores(model, repeated))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        slow = seconds(lambda repeated=repeated: naive(model, repeated))
        more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
        print(f"{n:4} {first:11.2f} {every:11.2f} {stream:10.2f} {slow:7.2f} {slow / stream:6.2f}", end="")
        print(f"   naive takes {more / 1e3:.0f} MB more")


if __name__ == "__main__":
    main(*sys.argv[1:])
