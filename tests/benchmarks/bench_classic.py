"""Every classic verb against TransformerLens, where it is installed: the same weights, the same call, one run.

Run: ``python -m tests.benchmarks.bench_classic [threads] [quick] [cells] [whole] [loading]``. GPT-2 small's shape,
random weights, 17 tokens. Both take turns; the ratio is theirs over ours, the median over the pairs. Processor seconds
say the same on a machine that others use. "difference" is the largest of any number of the two results.

``cells`` patches some cells with every sweep of the patching module, ``whole`` all cells of two of them, and takes the
weights of all heads at once: TransformerLens needs 10 GB for that.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from lens.compat.transformer import HookedTransformer
from lens.tokens import BosPolicy
from tests.benchmarks import transformer_lens
from tests.benchmarks.bench_interventions import random_gpt2, seconds
from tests.benchmarks.bench_ov_copying import measured
from tests.helpers import in_lens

Verb = Callable[[], Any]
WORDS = "a b c d e f g h a b c d e f g h"
N_CELLS = 24
SHORTEST = 0.02  # seconds that are measured at once
READ = 500, 600  # the two tokens whose logits are compared


class Library(NamedTuple):
    """One of the two, under the names that both have."""

    model: Any
    patching: ModuleType
    evals: ModuleType
    head_detector: ModuleType
    load: Callable[[str], Any]


def ours(hf: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast) -> Library:
    from lens.compat import evals, head_detector, patching

    bos = BosPolicy(tokenizer.bos_token_id, tokenizer.bos_token, True, "as theirs")
    model = HookedTransformer.of(in_lens(hf, tokenizer, bos))
    load = partial(HookedTransformer.from_pretrained_no_processing, device="cpu")
    return Library(model, patching, evals, head_detector, load)


def theirs(hf: GPT2LMHeadModel) -> Library:
    from transformer_lens import TransformerBridge, evals, head_detector, patching

    def load(path: str) -> Any:
        model = TransformerBridge.boot_transformers(path, device="cpu")
        model.enable_compatibility_mode(disable_warnings=True, no_processing=True)
        return model

    return Library(transformer_lens.bridge(hf, WORDS.split()), patching, evals, head_detector, load)


def metric(logits: Tensor) -> Tensor:
    return logits[0, -1, READ[0]] - logits[0, -1, READ[1]]


def quick(lib: Library, clean: Tensor, corrupted: Tensor) -> Iterator[tuple[str, Verb]]:
    """The verbs that take less than a few seconds in both."""
    model = lib.model
    _, cache = model.run_with_cache(clean)
    stack = cache.decompose_resid(-1)
    zero = ("blocks.6.attn.hook_z", lambda z, hook: torch.zeros_like(z))

    def kept_hook() -> Tensor:
        model.add_hook(*zero)
        out = model(clean)
        model.reset_hooks()
        return out

    def gradients() -> Tensor:
        with torch.enable_grad():
            return model.run_with_cache(clean, return_type="loss", incl_bwd=True)[1]["blocks.6.hook_resid_pre_grad"]

    yield "model(tokens)", lambda: model(clean)
    yield "model(8 prompts)", lambda: model(clean.repeat(8, 1))
    yield 'model(tokens, return_type="loss")', lambda: model(clean, return_type="loss")
    yield "model(text)", lambda: model(WORDS)
    yield "run_with_cache", lambda: model.run_with_cache(clean)[1]["resid_post", 11]
    yield (
        "run_with_cache, patterns",
        lambda: model.run_with_cache(clean, names_filter=lambda name: name.endswith("hook_pattern"))[1]["pattern", 11],
    )
    yield "run_with_cache, gradients", gradients
    yield "run_with_hooks", lambda: model.run_with_hooks(clean, fwd_hooks=[zero])
    yield "add_hook, reset_hooks", kept_hook
    yield "to_tokens", lambda: model.to_tokens(WORDS)
    yield "to_str_tokens", lambda: len(model.to_str_tokens(WORDS))
    yield "accumulated_resid, apply_ln", lambda: len(cache.accumulated_resid(-1, apply_ln=True))
    yield "decompose_resid", lambda: cache.decompose_resid(-1)
    yield "stack_head_results", lambda: fresh(cache).stack_head_results(-1)
    yield "stack_neuron_results, last position", lambda: cache.stack_neuron_results(-1, pos_slice=-1)
    yield "get_full_resid_decomposition", lambda: fresh(cache).get_full_resid_decomposition(-1, expand_neurons=False)
    yield "apply_ln_to_stack", lambda: cache.apply_ln_to_stack(stack, -1)
    yield "logit_attrs", lambda: cache.logit_attrs(stack, *READ)
    yield "detect_head", lambda: lib.head_detector.detect_head(model, WORDS, "previous_token_head")
    yield "induction_loss", lambda: lib.evals.induction_loss(model, batch_size=1, subseq_len=64, device="cpu") * 0
    yield "OV", lambda: model.OV[3, 4].AB
    yield "OV.norm()", lambda: model.OV.norm()
    yield "QK.S", lambda: model.QK.S
    yield "eigenvalues of one full OV", lambda: (model.W_E @ model.OV[3, 4] @ model.W_U).eigenvalues.sum().real
    yield "rows of one full OV", lambda: (model.W_E @ model.OV[3, 4] @ model.W_U)[:8].AB
    yield (
        "generate, 12 tokens",
        lambda: model.generate(clean, max_new_tokens=12, do_sample=False, stop_at_eos=False, verbose=False),
    )


def fresh(cache: Any) -> Any:
    """The same activations without results of heads: theirs keeps them once they are computed."""
    return type(cache)(
        {name: x for name, x in cache.cache_dict.items() if not name.endswith("hook_result")}, cache.model
    )


def cells(lib: Library, clean: Tensor, corrupted: Tensor) -> Iterator[tuple[str, Verb]]:
    """Some cells of each sweep, spread over layers."""
    _, cache = lib.model.run_with_cache(clean)
    sizes = {"layer": 12, "pos": clean.shape[1], "head": 12, "head_index": 12}
    sizes |= {"dest_pos": sizes["pos"], "src_pos": sizes["pos"]}
    sweeps = [name for name in dir(compat_patching()) if name.startswith("get_act_patch_") and "every" not in name]
    for name in sweeps:
        sweep = getattr(lib.patching, name)
        axes = sweep.keywords["index_axis_names"]
        frame = lib.patching.make_df_from_ranges([sizes[axis] for axis in axes], axes)
        some = frame.sample(min(N_CELLS, len(frame)), random_state=0).sort_index().reset_index(drop=True)
        yield f"{name}, {len(some)} cells", partial(patched, sweep, lib.model, corrupted, cache, some)


def patched(sweep: Callable, model: Any, corrupted: Tensor, cache: Any, frame: pd.DataFrame) -> Tensor:
    return sweep(model, corrupted, cache, metric, index_axis_names=None, index_df=frame)


def compat_patching() -> ModuleType:
    from lens.compat import patching

    return patching


def whole(lib: Library, clean: Tensor, corrupted: Tensor) -> Iterator[tuple[str, Verb]]:
    """What takes TransformerLens about half a minute each."""
    model = lib.model
    _, cache = model.run_with_cache(clean)
    for name in ("get_act_patch_resid_pre", "get_act_patch_attn_head_out_all_pos"):
        yield name, partial(getattr(lib.patching, name), model, corrupted, cache, metric)
    yield "W_E @ OV @ W_U, eigenvalues", lambda: (model.W_E @ model.OV @ model.W_U).eigenvalues.sum(-1).real
    yield 'all_composition_scores("K")', lambda: scores_of(model.all_composition_scores("K"))


def scores_of(scores: Any) -> Tensor:
    return scores if isinstance(scores, Tensor) else scores.scores


def difference(a: Any, b: Any) -> str:
    """The largest difference of two results of one shape."""
    if not (isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape):
        return "" if type(a) is type(b) and not isinstance(a, Tensor) and a == b else "?"
    return f"{float((a.float() - b.float()).abs().max()):.0e}"


def several(verb: Verb, n: int) -> Any:
    """The last of ``n`` results: what takes microseconds is measured many times in a row."""
    for _ in range(n - 1):
        verb()
    return verb()


def line(name: str, verbs: tuple[Verb, Verb], rounds: int) -> None:
    """One row of the table; a first round, where there are several, is not counted and says how often to repeat."""
    results: list[list[Any]] = [[], []]
    times: list[list[Any]] = [[], []]
    n = 1
    for _ in range(rounds + (rounds > 1)):
        for which, verb in enumerate(verbs):
            times[which].append(seconds(lambda: results[which].append(several(verb, n))))  # noqa: B023
            del results[which][:-1]
        if rounds > 1 and n == 1:
            quickest = min(taken[0].processor for taken in times)
            n = int(max(1, min(1000, SHORTEST / max(quickest, 1e-6))))
    mine, other = (taken[rounds > 1 :] for taken in times)
    wall, processor = (statistics.median(b[i] / a[i] for a, b in zip(mine, other)) for i in (0, 1))
    typical = [1000 * statistics.median(one.processor for one in taken) / n for taken in (mine, other)]
    print(
        f"{name:52} {typical[0]:10.2f} {typical[1]:10.2f} {processor:8.2f} {wall:8.2f} "
        f"{difference(results[0][-1], results[1][-1]):>10}",
        flush=True,
    )


def memory(name: str, verbs: Iterable[Verb]) -> None:
    mine, other = (measured(verb) for verb in verbs)
    print(f"{name + ', MB above the weights':52} {mine.megabytes:10.0f} {other.megabytes:10.0f}", flush=True)


@torch.no_grad()
def main(threads: str = "1", *parts: str) -> None:
    if not transformer_lens.INSTALLED:
        print("TransformerLens is not installed here; there is nothing to compare to")
        return
    torch.set_num_threads(int(threads))
    hf, pairs = random_gpt2()
    tokenizer = transformer_lens.few_words(WORDS.split())
    libraries = ours(hf, tokenizer), theirs(hf)
    runs = torch.tensor(pairs.clean), torch.tensor(pairs.corrupted)
    print(f"{threads} threads; milliseconds of processor, and ratios theirs / ours")
    print(f"{'':52} {'Lens':>10} {'theirs':>10} {'ratio':>8} {'of wall':>8} {'difference':>10}", flush=True)
    for part, rounds in ((quick, 5), (cells, 1), (whole, 1)):
        if parts and part.__name__ not in parts:
            continue
        for (name, mine), (_, other) in zip(*(part(lib, *runs) for lib in libraries)):
            line(name, (mine, other), rounds)
            if name.startswith("W_E @ OV"):
                memory(name, (mine, other))
    if not parts or "loading" in parts:
        loading(libraries, tokenizer, runs[0])


def loading(libraries: tuple[Library, Library], tokenizer: PreTrainedTokenizerFast, tokens: Tensor) -> None:
    """Opening a folder until the first logits stand."""
    with tempfile.TemporaryDirectory() as folder:
        random_gpt2()[0].save_pretrained(folder)  # not the one that theirs was built on: its modules are changed
        tokenizer.save_pretrained(folder)
        line("from a folder, first forward", tuple(partial(opened, lib, folder, tokens) for lib in libraries), 3)


def opened(lib: Library, folder: str, tokens: Tensor) -> Tensor:
    return lib.load(folder)(tokens)


if __name__ == "__main__":
    main(*sys.argv[1:])
