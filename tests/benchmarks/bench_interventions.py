"""Sweeps of interventions against one forward pass per cell, with the same weights, and their memory.

Run: ``python -m tests.benchmarks.bench_interventions [threads] [ioi] [long] [gpt2] [first_order] [theirs_gpt2]
[theirs_ioi]``. Every ratio is taken within one run, plain forwards before and after the sweep; the naive time is theirs
times the number of cells. The last two hold TransformerLens, where it is installed, to the same weights and cells.
"""

import resource
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedModel

from lens.analysis.interventions import Experiment, Grid, Intervention, Metric, Pairs, Sweep, attribution, run_sweep
from lens.analysis.interventions.plan import BUDGET
from lens.analysis.interventions.recording import record
from lens.hooked import HookedTransformer
from lens.load.catalogue import wheel_file
from lens.load.entries import SMOLLM2_INSTRUCT
from tests.benchmarks import transformer_lens
from tests.helpers import in_lens

CLEAN = "After John and Mary went to the store, Mary gave a bottle of milk to"
CORRUPTED = "After John and Mary went to the store, John gave a bottle of milk to"
GRID, PATCH = Grid(("layer", "pos")), Intervention("resid_pre")
FORWARDS = 6  # on each side of a sweep


class Seconds(NamedTuple):
    wall: float
    processor: float  # of all threads: says the same on a machine that others use


def seconds(what: Callable[[], object]) -> Seconds:
    start = time.perf_counter(), time.process_time()
    what()
    return Seconds(time.perf_counter() - start[0], time.process_time() - start[1])


@torch.no_grad()
def plain(model: HookedTransformer, pairs: Pairs, side: str) -> Seconds:
    """One forward pass of the changed run, as a loop over cells takes for each: the median of a few."""
    tokens = torch.tensor(getattr(pairs, side)[:1])
    taken = [seconds(lambda: model(tokens)) for _ in range(FORWARDS)]
    return Seconds(*map(statistics.median, zip(*taken)))


def row(label: str, model: HookedTransformer, experiment: Experiment) -> None:
    """One line of the table. The sweep's time includes recording both runs and planning."""
    side, found = experiment.intervention.base, []
    before, held = plain(model, experiment.pairs, side), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken = seconds(lambda: found.append(run_sweep(model, experiment)))
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held
    after = plain(model, experiment.pairs, side)
    n, n_run = found[0].values.numel(), int((found[0].status == 0).sum())
    naive = Seconds(*(n * (a + b) / 2 for a, b in zip(before, after)))
    ratios = f"{naive.wall / taken.wall:7.1f} {naive.processor / taken.processor:9.1f}"
    print(f"{label:46} {n:6} {n_run:6} {naive.wall:8.2f} {taken.wall:8.2f} {ratios}", end="")
    print(f"   peak memory +{more / 1e3:.0f} MB of a budget of {BUDGET / 1e6:.0f} MB", flush=True)


def sweeps(name: str, model: HookedTransformer, pairs: Pairs) -> None:
    positions, heads = Grid(("layer", "pos")), Grid(("layer", "head"))
    row(f"{name} resid_pre, layer x position", model, Experiment(pairs, Intervention("resid_pre"), positions))
    row(f"{name} z, layer x head", model, Experiment(pairs, Intervention("z"), heads))
    for put in ("zero", "mean"):
        row(f"{name} {put} ablation of single heads", model, Experiment(pairs, Intervention("z", put, "clean"), heads))


def differing_at(model: HookedTransformer, place: int, n_pos: int = 64) -> Pairs:
    """Two prompts of random ids that differ in one token."""
    generator = torch.Generator().manual_seed(0)
    clean = torch.randint(1000, 40_000, (1, n_pos), generator=generator)
    corrupted = clean.clone()
    corrupted[0, place] += 1
    return Pairs.of(clean, corrupted, [500], [600])


def approximations(model: HookedTransformer, pairs: Pairs) -> None:
    """Attribution of all sites, in forwards beyond recording both runs."""
    sites = ("resid_pre", "attn_out", "mlp_out", "z", "q", "k", "v", "pattern")
    experiments = [
        Experiment(pairs, Intervention(site), Grid(("layer", "head" if site in "zqkv" or site == "pattern" else "pos")))
        for site in sites
    ]
    ways = {
        "forward": lambda: plain(model, pairs, "corrupted"),
        "both runs": lambda: seconds(lambda: [record(model, pairs, side, ()) for side in ("clean", "corrupted")]),
        "attribution": lambda: seconds(lambda: attribution(model, experiments)),
    }
    times = [{name: way().processor for name, way in ways.items()} for _ in range(5)]
    forward, both, taken = (statistics.median(one[name] for one in times) for name in ways)
    print(
        f"attribution of {len(sites)} sites: {taken:.2f} s; {(taken - both) / forward:.1f} forwards beyond the two runs"
    )


def smollm2() -> tuple[HookedTransformer, Pairs]:
    model = HookedTransformer.from_pretrained("smollm2-135m-instruct")
    clean, corrupted = model.to_tokens([CLEAN, CORRUPTED])
    return model, Pairs.of(clean, corrupted, [model.to_single_token(" John")], [model.to_single_token(" Mary")])


def ioi() -> None:
    model, pairs = smollm2()
    sweeps("SmolLM2 IOI", model, pairs)
    row("SmolLM2 IOI resid_pre, KL", model, Experiment(pairs, PATCH, GRID, Metric("kl")))


def long() -> None:
    model, _ = smollm2()
    for place, where in ((0, "first token"), (32, "middle")):
        row(f"SmolLM2 64 tokens, {where} differs", model, Experiment(differing_at(model, place), PATCH, GRID))


def first_order() -> None:
    approximations(*smollm2())


def random_gpt2() -> tuple[PreTrainedModel, Pairs]:
    torch.manual_seed(0)
    ids = torch.randint(50_000, (1, 17), generator=torch.Generator().manual_seed(0))
    other = ids.clone()
    other[0, 10] += 1
    return GPT2LMHeadModel(GPT2Config(attn_implementation="eager")).eval(), Pairs.of(ids, other, [500], [600])


def gpt2() -> None:
    hf, pairs = random_gpt2()
    sweeps("GPT-2-small size", in_lens(hf), pairs)


def theirs(name: str, hf: PreTrainedModel, model: HookedTransformer, pairs: Pairs) -> None:
    """Both libraries' sweeps of the same cells in one run."""
    if not transformer_lens.INSTALLED:
        print(f"{name}: TransformerLens is not installed here; no comparison", flush=True)
        return
    other = transformer_lens.bridge(hf)
    for site, over in (("resid_pre", ("layer", "pos")), ("z", ("layer", "head"))):
        ours = partial(run_sweep, model, Experiment(pairs, Intervention(site), Grid(over)))
        beside(f"{name} {site}, {' x '.join(over)}", ours, transformer_lens.sweep_of(other, site, pairs))


def beside(label: str, ours: Callable[[], Sweep], theirs: Callable[[], torch.Tensor]) -> None:
    """One line: seconds and processor seconds of both, their ratios, and the largest difference of a cell."""
    found = []
    mine = seconds(lambda: found.append(ours()))
    taken = seconds(lambda: found.append(theirs()))
    values = found[0].values[..., 0]
    off = float((values - found[1]).abs().max())
    print(
        f"{label}: {values.numel()} cells, TransformerLens {taken.wall:.1f} s ({taken.processor:.1f} of processor), "
        f"Lens {mine.wall:.2f} s ({mine.processor:.2f}), ratio {taken.wall / mine.wall:.1f} "
        f"({taken.processor / mine.processor:.1f}), largest difference {off:.1e}",
        flush=True,
    )


def theirs_gpt2() -> None:
    hf, pairs = random_gpt2()
    theirs("GPT-2-small size", hf, in_lens(hf), pairs)


def theirs_ioi() -> None:
    """Both read the same GGUF, TransformerLens by way of transformers."""
    path, (model, pairs) = wheel_file(SMOLLM2_INSTRUCT.wheel), smollm2()
    how = {"gguf_file": path.name, "dtype": torch.float32, "attn_implementation": "eager"}
    theirs("SmolLM2 IOI", AutoModelForCausalLM.from_pretrained(path.parent, **how).eval(), model, pairs)


def main(threads: str = "2", *parts: str) -> None:
    torch.set_num_threads(int(threads))
    print(f"{threads} threads; naive is one forward pass per cell, both in seconds")
    print(f"{'sweep':46} {'cells':>6} {'run':>6} {'naive':>8} {'sweep':>8} {'ratio':>7} {'processor':>9}")
    for part in (first_order, gpt2, ioi, long, theirs_gpt2, theirs_ioi):
        if not parts or part.__name__ in parts:
            part()


if __name__ == "__main__":
    main(*sys.argv[1:])
