"""Direct against total effects: the parts sum up on every family, and the planted heads make up for each other."""

from functools import cache

import pytest
import torch

from lens import HookedTransformer
from lens.analysis.answer.self_repair import (
    Split,
    direct_paths_of,
    interactions,
    largest_parts,
    later_writes,
    self_repair,
    split,
    two_by_two,
)
from lens.analysis.interventions import Metric, Pairs, Path, path_patch, run_sweep
from lens.analysis.interventions.ablation import single_heads
from lens.analysis.interventions.tasks import induction
from lens.analysis.names import Head
from lens.planted import closed_form as exact
from lens.planted.layout import INDUCTION, PREVIOUS, SECOND
from tests.analysis.interventions import plain
from tests.families.conftest import lens_of
from tests.families.variants import VARIANTS

CLEAN = ((5, 9, 31, 7, 12, 40), (6, 2, 8, 51, 17), (11, 64, 9, 70))
CORRUPTED = ((5, 9, 30, 7, 12, 40), (6, 3, 8, 51, 17), (11, 63, 9, 70))
PAIRS = Pairs(CLEAN, CORRUPTED, answers=((3,), (10, 11), (12,)), wrong=((20, 21), (22,), (23,)))
DIFF, HEAD = Metric("logit_diff"), Head(0, 1)
FINAL = "ln_final.hook_scale"


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_parts_sum_to_total_minus_direct_on_every_family(variant):
    model = lens_of(variant)
    found = split(model, single_heads(PAIRS, DIFF), HEAD)
    sweep, paths = run_sweep(model, single_heads(PAIRS, DIFF)), path_patch(model, direct_paths_of(PAIRS, DIFF))
    torch.testing.assert_close(found.total, sweep.values[HEAD] - sweep.base, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(found.direct, paths.heads[HEAD] - paths.base, atol=2e-5, rtol=1e-4)
    size = found.parts.abs().sum(0) + found.scale.abs() + found.total.abs()
    assert (found.remainder.abs() < 1e-4 * size).all()
    assert found.writes == later_writes(model.cfg, HEAD)


@pytest.mark.parametrize("variant", ["gpt2", "gptj", "gemma2", "olmo2", "llama-grouped"])
def test_the_direct_effect_is_that_of_the_write_alone_at_the_old_scale(variant):
    model = lens_of(variant)
    found, end = split(model, single_heads(PAIRS, DIFF), HEAD), f"blocks.{model.cfg.n_layers - 1}.hook_resid_post"
    for pair, (ids, others) in enumerate(zip(CLEAN, CORRUPTED)):
        own, other = plain.cached(model, ids), plain.cached(model, others)
        changed, z, write = {}, "blocks.0.attn.hook_z", "blocks.0.hook_attn_out"

        def replaced(x, hook, z=z, other=other):
            x[:, :, HEAD.head] = other[z][:, :, HEAD.head]
            return x

        def keep(x, hook, changed=changed):
            changed[hook.name] = x.clone()

        plain.forward(model, ids, [(z, replaced), (write, keep)])
        moved = changed[write] - own[write]
        frozen = plain.freezing(own, [FINAL])
        logits = plain.forward(model, ids, [(end, lambda x, hook, moved=moved: x + moved), *frozen])
        answers = (PAIRS.answers[pair], PAIRS.wrong[pair])
        base = plain.logit_diff(plain.forward(model, ids), *answers)
        assert plain.logit_diff(logits, *answers) - base == pytest.approx(float(found.direct[pair]), abs=2e-5)


def test_a_later_part_has_the_change_of_its_own_write_at_the_old_scale():
    model = lens_of("gpt2")
    found = split(model, single_heads(PAIRS, DIFF), HEAD)
    ids, z = CLEAN[0], "blocks.0.attn.hook_z"
    own, other = plain.cached(model, ids), plain.cached(model, CORRUPTED[0])
    changed = {}

    def replaced(x, hook):
        x[:, :, HEAD.head] = other[z][:, :, HEAD.head]
        return x

    def keep(x, hook):
        changed[hook.name] = x.clone()

    later = "blocks.2.attn.hook_z"
    plain.forward(model, ids, [(z, replaced), (later, keep), ("blocks.1.hook_mlp_out", keep)])
    W_U, norm = model.unembed.W_U, model.ln_final
    onto = norm.centre((W_U[:, 3] - W_U[:, [20, 21]].mean(1)) * norm.w) / own[FINAL][0, -1]
    head = (changed[later] - own[later])[0, -1, 1] @ model.blocks[2].attn.W_O[1] @ onto
    mlp = (changed["blocks.1.hook_mlp_out"] - own["blocks.1.hook_mlp_out"])[0, -1] @ onto
    parts = dict(zip(map(str, found.writes), found.parts[:, 0]))
    torch.testing.assert_close(parts["2.1"], head, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(parts["mlp 1"], mlp, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("metric", [Metric("loss", "all"), Metric("log_prob"), Metric("prob"), Metric("prob_diff")])
@pytest.mark.parametrize("variant", ["gpt2", "gemma2"])
def test_what_is_not_linear_sums_up_as_well(variant, metric):
    model = lens_of(variant)
    for frozen in (False, True):
        found = split(model, single_heads(PAIRS, metric, "mean", frozen), HEAD)
        size = found.parts.abs().sum(0) + found.scale.abs() + found.total.abs()
        assert (found.remainder.abs() < 2e-3 * size).all()


@pytest.mark.parametrize("kind", ["kl", "rank"])
def test_a_metric_without_parts_is_refused_with_its_reason(kind):
    with pytest.raises(ValueError, match="choose another metric"):
        split(lens_of("gpt2"), single_heads(PAIRS, Metric(kind)), HEAD)


def test_only_the_final_stream_has_a_final_scale():
    with pytest.raises(ValueError, match="only paths into 'final'"):
        Path(PAIRS, "q", ((1, 0),), frozen_scale=True)


@cache
def planted(name: str, n_pairs: int = 16):
    """The model, how it is asked, and direct against total effects of its heads."""
    model = HookedTransformer.from_pretrained(name)
    task = induction(model, n=10, n_pairs=n_pairs)
    experiment = single_heads(task.pairs, task.metric)
    paths = path_patch(model, direct_paths_of(task.pairs, task.metric))
    return model, experiment, self_repair(paths, run_sweep(model, experiment))


def heads_where(mask) -> set:
    return {tuple(head) for head in mask.nonzero().tolist()}


def test_the_redundant_twins_are_made_up_for_by_the_final_scale():
    model, experiment, found = planted("planted-redundant")
    assert heads_where(found.compensated) == {INDUCTION, SECOND}
    assert found.verdict(Head(*INDUCTION)).found
    assert float(found.total.value[INDUCTION]) == pytest.approx(exact.one_of_two(), abs=1e-4)
    who = split(model, experiment, INDUCTION)
    assert float(who.scale.mean() / (who.total - who.direct).mean()) == pytest.approx(1, abs=1e-3)
    assert who.share(experiment.pairs).low > 0.99


def test_nothing_makes_up_for_the_planted_induction_head():
    _, _, found = planted("planted-induction")
    assert not found.compensated.any()
    assert heads_where(found.through_others) == {PREVIOUS}
    assert "would not make" in found.verdict(Head(*INDUCTION)).reason
    assert "is no compensation" in found.verdict(Head(*PREVIOUS)).reason


def test_where_the_model_does_nothing_there_is_nothing_to_make_up_for():
    _, _, found = planted("planted-decoy")
    assert not found.compensated.any()
    assert "nothing to compensate for" in found.verdict(Head(*INDUCTION)).reason


def test_a_head_that_works_against_the_metric_is_made_up_for_as_well():
    """Hand-made effects on 16 pairs of a model whose other run costs 4: direct −1 and total −.1 is compensation."""
    model = HookedTransformer.from_pretrained("planted-redundant")
    task = induction(model, n=10, n_pairs=16)
    experiment = single_heads(task.pairs, task.metric)
    sweep, paths = run_sweep(model, experiment), path_patch(model, direct_paths_of(task.pairs, task.metric))
    jitter = torch.linspace(-0.01, 0.01, 16)
    direct, total = jitter.expand(2, 4, 16).clone(), jitter.flip(0).expand(2, 4, 16).clone()
    direct[0, 0] -= 1
    total[0, 0] -= 0.1
    direct[0, 1] += 1
    total[0, 1] += 0.1
    direct[0, 2] -= 1  # what follows adds to it
    total[0, 2] -= 2
    total[0, 3] -= 1  # nothing by itself
    base = torch.zeros(16)
    sweep = sweep._replace(base=base, other=4 + jitter, values=total)
    found = self_repair(paths._replace(base=base, heads=direct), sweep)
    assert heads_where(found.compensated) == {(0, 0), (0, 1)}
    assert heads_where(found.through_others) == {(0, 2), (0, 3)}


def test_the_largest_parts_have_intervals_and_some_are_within_chance():
    """Three parts of which one moves by 1 in every pair, one by 0.001 ± 1, and the scale not at all."""
    _, experiment, _ = planted("planted-redundant")
    signs = torch.tensor([1.0, -1.0]).repeat(8)
    parts = torch.stack([1 + 0.01 * signs, 0.001 + signs])
    writes = later_writes(HookedTransformer.from_pretrained("planted-redundant").cfg, Head(0, 1))[:2]
    apart = Split(Head(0, 1), -signs.abs(), parts.sum(0) - 1, writes, parts, torch.zeros(16))
    found = largest_parts(apart, experiment.pairs, 2)
    assert [part.write for part in found] == list(writes)
    assert [part.beyond for part in found] == [True, False]
    assert found[0].low <= 1 <= found[0].high
    assert found[1].low < 0 < found[1].high
    _, few, _ = planted("planted-redundant", 4)
    assert largest_parts(apart._replace(parts=parts[:, :4]), few.pairs, 2) == ()


def test_few_pairs_carry_no_verdict():
    _, experiment, found = planted("planted-redundant", 4)
    assert found.compensated is None
    assert found.verdict(Head(*INDUCTION)).state == "unknown"
    model = HookedTransformer.from_pretrained("planted-redundant")
    both = interactions(run_sweep(model, two_by_two(experiment, [INDUCTION, SECOND])))
    assert both[0].beyond is None
    assert both[0].low is None


def test_twins_need_both_to_be_removed_and_links_of_a_path_only_one():
    for name, heads, sign in (
        ("planted-redundant", [INDUCTION, SECOND], 1),
        ("planted-induction", [PREVIOUS, INDUCTION], -1),
    ):
        model, experiment, _ = planted(name)
        (found,) = interactions(run_sweep(model, two_by_two(experiment, heads)))
        assert found.beyond
        assert sign * found.extra == pytest.approx(4.156, abs=0.01)
        assert found.low <= found.extra <= found.high
        assert found.together - found.sum_alone == pytest.approx(found.extra, abs=1e-6)
