"""Memory that runs out: half as much at once, then a sentence; the numbers are those of the whole."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from lens import HookedTransformer
from lens.analysis.interventions import Metric, Pairs, Path, path_patch
from lens.analysis.interventions.ablation import single_heads
from lens.analysis.interventions.engine import BUDGET, outline, run_sweep, sweep_group
from lens.analysis.loss import chunks, next_token_stats
from lens.analysis.streaming import batches
from lens.batching import OutOfMemory, at_once, halved, in_memory, said_when_full

CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
CPU = RuntimeError("[enforce fail at alloc_cpu.cpp:117] data. DefaultCPUAllocator: can't allocate memory: you tried")
NUMPY = MemoryError("Unable to allocate 8.00 GiB for an array")


@pytest.fixture(scope="module")
def model() -> HookedTransformer:
    return HookedTransformer.from_pretrained("planted-induction")


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    ids = torch.randint(1, 40, (6, 12), generator=torch.Generator().manual_seed(0))
    clean, corrupted = (tuple(map(tuple, one.tolist())) for one in (ids, ids.roll(1, 0)))
    return Pairs(clean, corrupted, ((1,),) * 6, ((2,),) * 6)


@contextmanager
def room_for(model: HookedTransformer, rows: int, error: Exception = CPU) -> Iterator[list[int]]:
    """A machine on which the last block has memory for so many rows; yields the rows of each pass through it."""
    seen = []

    def fail(_: Any, inputs: tuple) -> None:
        seen.append(len(inputs[0]))
        if len(inputs[0]) > rows:
            raise error

    handle = model.blocks[-1].register_forward_pre_hook(fail)
    try:
        yield seen
    finally:
        handle.remove()


def passes(model: HookedTransformer, compute: Callable[[], Any]) -> list[int]:
    """Rows of each pass through the last block when memory is there."""
    with room_for(model, 10**6) as seen:
        compute()
    return seen


@pytest.mark.parametrize("error", [CUDA, CPU, NUMPY])
def test_where_memory_runs_out_half_as_much_is_computed_at_once_and_gives_the_same(model, error):
    tokens = torch.randint(1, 40, (256, 16), generator=torch.Generator().manual_seed(0))
    whole = next_token_stats(model, tokens)
    with room_for(model, 255, error) as seen:
        found = in_memory(lambda: next_token_stats(model, tokens))
    assert seen == [256, 128, 128]
    torch.testing.assert_close(found.loss, whole.loss, equal_nan=True)
    assert torch.equal(found.rank, whole.rank)


def test_where_half_is_too_much_as_well_a_sentence_says_what_to_do(model):
    tokens = torch.ones(256, 16, dtype=torch.long)
    with room_for(model, 1) as seen, pytest.raises(OutOfMemory, match="Try a shorter prompt") as refused:
        in_memory(lambda: next_token_stats(model, tokens))
    assert len(seen) == 2
    assert refused.value.__cause__.__traceback__ is None, "what was computed so far must not stay in memory"
    assert next_token_stats(model, tokens).loss.shape == tokens.shape, "no hook may stay behind"


def test_other_errors_are_what_they_were_and_nothing_runs_twice():
    runs = []

    def broken() -> None:
        runs.append(1)
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        in_memory(broken)
    assert runs == [1]
    with pytest.raises(RuntimeError, match="mat1 and mat2"), said_when_full("too large"):
        broken()


def test_a_planned_group_of_a_sweep_is_walked_in_two_and_keeps_its_number(model, pairs):
    experiment = single_heads(pairs, Metric("logit_diff"), "zero")
    whole = run_sweep(model, experiment)
    groups = range(outline(model, experiment).n_groups)
    most = max(passes(model, lambda: [sweep_group(group, model, experiment) for group in groups]))
    with room_for(model, most - 1) as seen, halved():
        parts = [sweep_group(group, model, experiment, BUDGET) for group in groups]
    assert max(seen) < most
    for group, part in zip(groups, parts):
        plain = sweep_group(group, model, experiment)
        assert (part.group, part.cell.tolist(), part.pair.tolist()) == (group, plain.cell.tolist(), plain.pair.tolist())
        torch.testing.assert_close(part.value, plain.value)
    with halved():
        torch.testing.assert_close(run_sweep(model, experiment).values, whole.values)


def test_paths_are_the_same_in_halves(model, pairs):
    path = Path(pairs=pairs, metric=Metric("logit_diff"), receivers=((1, 0),), input="k")
    whole = path_patch(model, path)
    most = max(passes(model, lambda: path_patch(model, path)))
    with halved(), room_for(model, most) as seen:
        found = path_patch(model, path)
    assert max(seen) < most
    for name in ("heads", "embed", "together"):
        torch.testing.assert_close(getattr(found, name), getattr(whole, name), equal_nan=True)


def test_every_budget_is_halved_in_the_block_and_whole_after_it():
    def sizes() -> list[int]:
        return [at_once(10), at_once(1), at_once(0), next(batches(9, 1024, 2)).stop, next(chunks(10**6, 1000)).stop]

    whole = sizes()
    with halved():
        assert sizes() == [5, 1, 1, 2, 4000]
    assert sizes() == whole == [10, 1, 1, 4, 8000]
