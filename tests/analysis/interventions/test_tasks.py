"""Tasks made for a tokenizer, the checker of pairs, and whether the model can do a task."""

from collections import Counter

import pytest
import torch

from lens.analysis.crossed import shortage
from lens.analysis.interventions import Experiment, Grid, Intervention, Metric, Pairs, run_sweep
from lens.analysis.interventions.tasks import (
    TASKS,
    PromptPair,
    ability,
    capitals,
    chance_loss,
    check,
    greater_than,
    induction,
    ioi,
    parse_pairs,
    pronouns,
    repeated,
    task_of,
    task_or_reason,
    to_pairs,
)
from lens.analysis.interventions.tasks.words import HER
from lens.hooked import HookedTransformer
from tests.analysis.shaken import make_model


@pytest.fixture(scope="module")
def smollm2():
    return HookedTransformer.from_pretrained("smollm2-135m-instruct")


def test_every_task_fits_a_real_tokenizer(smollm2):
    for make in TASKS.values():
        task = make(smollm2)
        assert all(len(a) == len(b) for a, b in zip(task.pairs.clean, task.pairs.corrupted))
        assert all(a != b for a, b in zip(task.pairs.clean, task.pairs.corrupted))
        assert task.description


def test_ioi_has_one_length_both_answers_and_no_template_twice(smollm2):
    task = ioi(smollm2, n_frames=3, n_names=5)
    assert len(task.pairs) == 3 * 5 * 2
    assert len({len(ids) for ids in task.pairs.clean}) == 1
    assert (len(set(task.pairs.frames)), len(set(task.pairs.names))) == (3, 5)
    for prompt in task.prompts:
        right, wrong = prompt.answers[0].strip(), prompt.wrong[0].strip()
        assert (prompt.clean.count(right), prompt.clean.count(wrong)) == (1, 2)
        assert (prompt.corrupted.count(right), prompt.corrupted.count(wrong)) == (2, 1)
    assert {prompt.answers for prompt in task.prompts} == {prompt.wrong for prompt in task.prompts}
    two = ioi(smollm2, 1, 1).prompts
    assert (two[0].answers, two[0].wrong) == (two[1].wrong, two[1].answers)
    openings = {prompt.clean.split()[0] for prompt in ioi(smollm2).prompts}
    assert len(openings) == 8
    third = ioi(smollm2, 2, 2, corruption="third")
    assert (task.swapped, third.swapped) == (True, False)
    for prompt in third.prompts:
        assert [prompt.corrupted.count(name.strip()) for name in (*prompt.answers, *prompt.wrong)] == [1, 1]
    assert ioi(smollm2, 3, 5).pairs == task.pairs
    assert ioi(smollm2, 3, 5, seed=1).pairs != task.pairs


@pytest.mark.parametrize("make", [ioi, pronouns, greater_than, capitals])
def test_the_first_sixteen_pairs_use_eight_frames_and_eight_names_twice(smollm2, make):
    pairs = make(smollm2).pairs.take(range(16))
    assert sorted(Counter(pairs.frames).values()) == [2] * 8
    assert sorted(Counter(pairs.names).values()) == [2] * 8
    assert shortage(pairs) == ""
    assert len(set(zip(pairs.frames, pairs.names))) == 16


def test_the_first_answer_is_not_always_the_same_kind(smollm2):
    first = [
        prompt.clean.index(prompt.answers[0]) < prompt.clean.index(prompt.wrong[0]) for prompt in ioi(smollm2).prompts
    ]
    assert (sum(first[:16]), sum(first)) == (8, 64)
    assert Counter(prompt.answers[0] for prompt in pronouns(smollm2).prompts[:16]) == {" she": 8, " he": 8}


def test_no_country_is_in_two_couples(smollm2):
    couples = {}
    for prompt in capitals(smollm2).prompts:
        couples.setdefault(prompt.name, set()).update((*prompt.answers, *prompt.wrong))
    assert [len(one) for one in couples.values()] == [2] * 8
    assert len(set.union(*couples.values())) == 16


def test_pronouns_in_both_apostrophes(smollm2):
    curly, straight = pronouns(smollm2), pronouns(smollm2, "straight")
    assert "isn’t" in curly.prompts[0].clean
    assert "isn't" in straight.prompts[0].clean
    for prompt in curly.prompts:
        assert {*prompt.answers, *prompt.wrong} == {" he", " she", " it"}
        assert prompt.answers == ((" she",) if prompt.clean.split()[0] in HER else (" he",))
    both = {(prompt.clean, prompt.corrupted) for prompt in curly.prompts}
    assert both == {(corrupted, clean) for clean, corrupted in both}


def test_greater_than_answers_are_greater(smollm2):
    task = greater_than(smollm2, n_frames=2, n_years=3)
    for prompt in task.prompts:
        digit = int(prompt.clean.split(" to ")[0][-1])
        assert [int(one) for one in prompt.answers] == list(range(digit + 1, 10))
        assert [int(one) for one in prompt.wrong] == list(range(digit + 1))
    assert "2 digits" in task.left_out[0]
    assert task.metric.kind == "prob_diff"


def test_repeated_tokens_differ_at_one_place(smollm2):
    task = repeated(smollm2, n=5, n_pairs=3)
    pairs = task.pairs
    for clean, corrupted, right, wrong in zip(pairs.clean, pairs.corrupted, pairs.answers, pairs.wrong):
        assert [i for i, (a, b) in enumerate(zip(clean, corrupted)) if a != b] == [5]
        assert (clean[5], corrupted[5]) == (right[0], wrong[0])
        assert clean[1:5] == clean[6:]
    task = induction(smollm2, n=6, n_pairs=2)
    assert task.metric.where == tuple(range(7, 12))
    assert chance_loss(task) == pytest.approx(1.791759, abs=1e-5)


def first(task, n=16):
    return task.pairs.take(range(n))


def test_the_model_can_do_what_it_can_and_not_the_reverse(smollm2):
    task = capitals(smollm2)
    pairs = first(task)
    can = ability(smollm2, pairs, task.metric, task.swapped)
    assert can.can
    assert f"leads by {can.mean:.2f} logits" in can.sentence
    assert can.gap.low > 0
    reversed_ = Pairs(pairs.clean, pairs.corrupted, pairs.wrong, pairs.answers, pairs.frames, pairs.names)
    cannot = ability(smollm2, reversed_, task.metric, task.swapped)
    assert not cannot.can
    assert "does not do this task: the right answers do not lead" in cannot.sentence
    assert "what is patched explains that difference" in cannot.sentence


@pytest.mark.parametrize("name", ["lens-1l", "lens-2l", "lens-3l"])
def test_small_attention_models_do_not_identify_indirect_objects(name):
    model = HookedTransformer.from_pretrained(name)
    for seed in range(3):
        task = ioi(model, seed=seed)
        for n in (16, 64):
            assert ability(model, first(task, n), task.metric, task.swapped).verdict.state == "none"
    task = repeated(model)
    assert ability(model, task.pairs, task.metric, task.swapped).can == (name != "lens-1l")


def test_a_metric_that_differs_is_not_called_noise():
    """lens-2l does not name later years, but its probability of them clearly moves with the year."""
    model = HookedTransformer.from_pretrained("lens-2l")
    task = greater_than(model)
    found = ability(model, first(task), task.metric, task.swapped)
    assert (found.verdict.state, found.gap.found) == ("none", True)
    assert found.gap.low > 0.1
    assert "noise" not in found.sentence
    assert "probability" in found.sentence


def prefers(id_: int, by: float):
    """A model that says one token after everything, whatever it reads."""
    model = make_model(n_layers=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.unembed.b_U[id_] = by
    return model


def test_a_model_that_always_prefers_one_answer_does_no_task():
    """It leads in every clean prompt, and as much in the corrupted ones."""
    n = 16
    clean, corrupted = ((1, 2, 3),) * n, ((1, 4, 3),) * n
    found = ability(prefers(5, 3.0), Pairs(clean, corrupted, ((5,),) * n, ((6,),) * n))
    assert (found.verdict.state, found.mean, found.share_right) == ("none", 3, 0)
    assert "the metric does not fall" in found.sentence


@pytest.mark.parametrize("wrong", [((6,),) * 16, ()])
def test_a_tie_is_no_lead(wrong):
    """All logits equal: no answer leads, and no pair is right."""
    pairs = Pairs(((1, 2, 3),) * 16, ((1, 4, 3),) * 16, ((5,),) * 16, wrong)
    found = ability(prefers(5, 0.0), pairs, Metric("logit_diff" if wrong else "log_prob"))
    assert (found.verdict.state, found.share_right, found.mean) == ("none", 0, 0)


def test_a_few_pairs_are_no_verdict(smollm2):
    task = ioi(smollm2, n_frames=2, n_names=4)
    found = ability(smollm2, task.pairs, task.metric, task.swapped)
    assert (found.verdict.state, found.low, found.can) == ("unknown", None, False)
    assert "With 16 pairs of 2 frames and 4 names, at least 8 of each are needed, it cannot be said" in found.sentence


def test_patching_the_whole_first_layer_recovers_the_clean_answers(smollm2):
    pairs = ioi(smollm2, 1, 1).pairs
    sweep = run_sweep(smollm2, Experiment(pairs, Intervention("resid_pre"), Grid(("layer",), layers=(0,))))
    torch.testing.assert_close(sweep.values[0], sweep.other, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(sweep.other, ability(smollm2, pairs).clean, rtol=1e-4, atol=1e-3)


PAIR = PromptPair("When Mary left, John", "When John left, John", (" gave",), (" to",))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, ""),
        ({"corrupted": "When Clairette left, John"}, "part at position 2: ·Mary"),
        ({"corrupted": PAIR.clean}, "Both prompts are the same"),
        ({"answers": (" Clairette",)}, "must be one token"),
        ({"answers": ("gave",)}, "' gave', with its space"),
        ({"answers": ()}, "No right answer"),
        ({"wrong": (" gave",)}, "both a right and a wrong"),
        ({"clean": "When Mary left, John ", "corrupted": "When John left, John "}, "ends with a space"),
    ],
)
def test_checker(smollm2, change, problem):
    found = check(smollm2, PAIR._replace(**change))
    assert problem in found.problem
    assert bool(found.problem) == bool(problem)
    if not problem:
        assert [label for label, differs in zip(found.clean, found.differs) if differs] == ["·Mary"]
        assert to_pairs(smollm2, [found.prompt]).answers == ((smollm2.to_single_token(" gave"),),)
    else:
        with pytest.raises(ValueError, match="Pair 1"):
            to_pairs(smollm2, [found.prompt])


def test_own_pairs_as_text_and_jsonl():
    text = 'Tom and Ann; Ann | Tom and Ann; Tom | Tom, Thomas | Ann\n\n{"clean": "a", "corrupted": "b", "answer": "x"}'
    first, second = parse_pairs(text)
    assert first[:4] == ("Tom and Ann; Ann", "Tom and Ann; Tom", (" Tom", " Thomas"), (" Ann",))
    assert second[:4] == ("a", "b", ("x",), ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "No pairs"),
        ("a | b", "Line 1 has 2 fields"),
        ("a | b | c\n{", "Line 2 is no JSON"),
        ('{"clean": "a"}', "lacks corrupted, answer"),
        ('{"clean": 1, "corrupted": "b", "answer": "x"}', "must be text"),
        ('{"clean": "a", "corrupted": "b", "answer": [1]}', "text or a list"),
        ("a | b | c\n" * 201, "at most 200"),
        ("a" * 3000 + " | b | c", "3000 characters"),
    ],
)
def test_own_pairs_are_refused_in_words(text, message):
    with pytest.raises(ValueError, match=message):
        parse_pairs(text)


def test_a_tokenizer_without_single_token_names_is_refused_with_a_way_out(tokenizer):
    model = make_model(tokenizer, d_vocab=len(tokenizer) + 8, n_ctx=128)
    with pytest.raises(ValueError, match="repeated random tokens"):
        ioi(model)
    with pytest.raises(ValueError, match="no prompt fits"):
        capitals(model)


def test_refused_options(smollm2):
    with pytest.raises(ValueError, match="corruption='none'"):
        ioi(smollm2, corruption="none")
    with pytest.raises(ValueError, match="curly"):
        pronouns(smollm2, "none")


def test_why_a_model_has_no_such_task_is_an_answer():
    model = HookedTransformer.from_pretrained("lens-2l")
    with pytest.raises(ValueError, match="no prompt fits") as refused:
        task_of(model, "capitals", 8)
    assert task_or_reason(model, "capitals", 8) == str(refused.value)
    assert task_or_reason(model, "induction", 8, 3) == task_of(model, "induction", 8, 3)
