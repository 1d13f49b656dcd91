"""How often verdicts about tasks and interventions are given on models in which there is nothing to find."""

from collections import defaultdict
from functools import cache

import pytest

from lens import HookedTransformer
from lens.analysis.answer.self_repair import direct_paths_of, interactions, self_repair, two_by_two
from lens.analysis.induction_loss import first_copy_losses, loss_by_position, uses_repetition
from lens.analysis.interventions import (
    Experiment,
    Grid,
    Intervention,
    Metric,
    effect,
    gap_of,
    path_patch,
    recovered,
    run_sweep,
)
from lens.analysis.interventions.ablation import chance, share_of_gap, single_heads
from lens.analysis.interventions.removal import read_removal, removal_of
from lens.analysis.interventions.tasks import ability, induction_on, repeated
from lens.analysis.random_tokens import repeated_tokens
from lens.planted.layout import INDUCTION
from tests.statistics.prompts import SHAPES, frames_and_names
from tests.statistics.random_models import KINDS, SEEDS, models
from tests.statistics.rates import check_rate

ALL = (*KINDS, "planted-random")


def tried(kind: str):
    """(seed, model): random weights by seed, or the planted model without a circuit on samples by seed."""
    if kind in KINDS:
        yield from zip(SEEDS, models(kind))
    else:
        model = HookedTransformer.from_pretrained(kind)
        yield from ((seed, model) for seed in SEEDS)


@cache
def verdicts(kind: str) -> dict[str, list[bool]]:
    """For every claim, whether it is made of each model."""
    said = defaultdict(list)
    for seed, model in tried(kind):
        for shape in SHAPES:
            pairs = frames_and_names(shape, seed, d_vocab=model.cfg.d_vocab)
            found = ability(model, pairs, Metric(), swapped=True)
            said[f"does the task, {shape}"].append(found.can)
            said[f"share of the gap, {shape}"].append(found.gap.found)
        drawn = repeated_tokens(model, 12, 16, seed)
        losses = loss_by_position(model, drawn)
        uses = uses_repetition(losses.saving, losses.over_control)
        said["repetition saves"].append(uses.found)
        said["repetition hurts"].append("hurts" in uses.reason)
        _, experiment = removal_of(model.cfg, drawn, (1, 0), seed)
        sweep = run_sweep(model, experiment)
        said["needs it to repeat"].append(read_removal(sweep, first_copy_losses(model, drawn), seed).verdict.found)
        said["share of the way"].append(share_of_gap(sweep, 0, seed) is not None)
        task = induction_on(drawn)
        grid = run_sweep(model, single_heads(task.pairs, task.metric))
        said["some head beyond chance"].append(bool((effect(grid).value.abs() > chance(grid).reach).any()))
        repair = self_repair(path_patch(model, direct_paths_of(task.pairs, task.metric)), grid)
        said["some head is made up for"].append(bool(repair.compensated.any()))
        both = run_sweep(model, two_by_two(single_heads(task.pairs, task.metric), [(0, 0), (0, 1), (1, 0)]))
        said["two heads do more or less than the sum"].append(any(one.beyond for one in interactions(both)))
    return dict(said)


CLAIMS = (
    *(f"{what}, {shape}" for what in ("does the task", "share of the gap") for shape in SHAPES),
    *("repetition saves", "repetition hurts", "needs it to repeat", "share of the way", "some head beyond chance"),
    *("some head is made up for", "two heads do more or less than the sum"),
)


OTHERS = [pytest.param(kind, marks=pytest.mark.statistics) for kind in ALL if kind != "gpt2-shaken"]


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("kind", ["gpt2-shaken", *OTHERS])
def test_claims_about_random_models_stay_within_their_nominal_rate(kind, claim):
    check_rate(verdicts(kind)[claim])


@pytest.mark.parametrize("name", ["planted-induction", "planted-redundant", "lens-2l", "lens-3l"])
def test_models_that_repeat_are_said_to(name):
    model = HookedTransformer.from_pretrained(name)
    task = repeated(model)
    assert ability(model, task.pairs, task.metric, task.swapped).can
    drawn = repeated_tokens(model, 12, 16, 0)
    losses = loss_by_position(model, drawn)
    assert uses_repetition(losses.saving, losses.over_control).found
    sweep = run_sweep(model, Experiment(task.pairs, Intervention("z"), Grid(("layer", "head"))))
    assert recovered(sweep).value is not None


@pytest.mark.parametrize("name", ["planted-decoy", "planted-offset", "planted-random", "lens-1l"])
@pytest.mark.parametrize("n", [10, 25])
def test_models_that_do_not_repeat_cannot_need_a_head_for_it(name, n):
    """planted-offset repeats blocks of its own length only."""
    model = HookedTransformer.from_pretrained(name)
    drawn = repeated_tokens(model, n, 16, 0)
    head = (model.cfg.n_layers - 1, 2)
    _, experiment = removal_of(model.cfg, drawn, head, 0)
    found = read_removal(run_sweep(model, experiment), first_copy_losses(model, drawn))
    if (name, n) == ("planted-offset", 25):
        assert found.repeats.found
        return
    assert found.verdict.state == "none"
    assert "There is nothing it could need it for" in found.verdict.reason


def test_the_planted_head_is_needed_and_the_largest_of_all():
    model = HookedTransformer.from_pretrained("planted-induction")
    drawn = repeated_tokens(model, 10, 16, 0)
    _, experiment = removal_of(model.cfg, drawn, INDUCTION, 0)
    sweep = run_sweep(model, experiment)
    found = read_removal(sweep, first_copy_losses(model, drawn))
    assert found.verdict.reason == "The model needs it to repeat."
    assert found.share.value == pytest.approx(1, abs=0.01)
    assert gap_of(sweep).found


def test_a_model_that_is_worse_on_the_second_copy_is_said_to_be_worse():
    """lens-1l on blocks of 25: harder than the first copy, and not harder than other tokens in its place."""
    model = HookedTransformer.from_pretrained("lens-1l")
    losses = loss_by_position(model, repeated_tokens(model, 25, 16, 0))
    found = uses_repetition(losses.saving, losses.over_control)
    assert found.state == "none"
    assert found.reason.startswith("is worse on the second copy than on the first, by 0.11 [")
    assert "the place makes it hard" in found.reason
    few = loss_by_position(model, repeated_tokens(model, 25, 4, 0))
    assert uses_repetition(few.saving, few.over_control).state == "unknown"
