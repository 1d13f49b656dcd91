"""What hooks and caching cost: a forward with idle points, and run_with_cache against Hugging Face's plain forward.

Run: ``python -m tests.benchmarks.bench_forward``. Prints a table; the ratios are pairwise medians of one run.
"""

import statistics
import time
from collections.abc import Callable

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from lens.components import HookPoint
from lens.hooked import HookedTransformer
from tests.helpers import in_lens

SMOLLM2 = {
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "vocab_size": 49152,
    "max_position_embeddings": 8192,
    "rope_theta": 100000.0,
    "tie_word_embeddings": True,
}
N_POS, ROUNDS = 128, 15


def alternately(ways: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Seconds of each way, taken in turn so that a drifting machine treats them alike; the first round is dropped."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    return {name: times[1:] for name, times in seconds.items()}


def bare(model: HookedTransformer) -> None:
    """Take the hook points out: the forward then calls plain identities."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, HookPoint) and not child.on_request:
                setattr(module, name, torch.nn.Identity())


def table(seconds: dict[str, list[float]], against: str) -> None:
    print(f"{'way':44} {'median ms':>10} {'ratio':>7}")
    for name, times in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(times, seconds[against], strict=True))
        print(f"{name:44} {1000 * statistics.median(times):10.1f} {ratio:7.3f}")


@torch.no_grad()
def main() -> None:
    torch.manual_seed(0)
    hf = LlamaForCausalLM(LlamaConfig(**SMOLLM2)).eval()
    model = in_lens(hf)
    unhooked = in_lens(hf)
    bare(unhooked)
    tokens = torch.randint(0, 49152, (1, N_POS))
    print(f"SmolLM2-135M's shape, fp32, {N_POS} tokens, {torch.get_num_threads()} threads, {ROUNDS} rounds\n")
    seconds = alternately(
        {
            "Hugging Face, plain forward": lambda: hf(tokens),
            "Lens, forward": lambda: model(tokens),
            "Lens, forward without hook points": lambda: unhooked(tokens),
            "Lens, run_with_cache (everything)": lambda: model.run_with_cache(tokens),
        }
    )
    table(seconds, "Hugging Face, plain forward")
    print()
    table({k: v for k, v in seconds.items() if "forward" in k and "Lens" in k}, "Lens, forward without hook points")


if __name__ == "__main__":
    main()
