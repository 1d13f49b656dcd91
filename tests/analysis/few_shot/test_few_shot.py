"""Few-shot tasks: prompts, verdicts, function vectors and removal on a model whose circuit is known."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from lens import HookedTransformer
from lens.analysis.few_shot.by_shots import by_shots, read_task
from lens.analysis.few_shot.function_vectors import LAST, function_vectors, vector_map, vector_null
from lens.analysis.few_shot.prompts import MOST, few_shot, few_shot_or_reason
from lens.analysis.few_shot.removal import _matched, disjoint, removal_curves, removal_sets
from lens.analysis.few_shot.words import SHOTS, TASKS, words_of
from lens.analysis.interventions import Experiment, Grid, Metric, Pairs, run_sweep
from lens.analysis.names import Head
from tests.analysis.few_shot.toy import READER, VECTOR, induction_scores, toy

ALL = SHOTS[-1]


@pytest.fixture(scope="module")
def model():
    return toy()


@pytest.fixture(scope="module")
def task(model):
    return few_shot(model, "capital")


@pytest.fixture(scope="module")
def vectors(model, task):
    return function_vectors(run_sweep(model, vector_map(task.pairs)), run_sweep(model, vector_null(task.pairs)))


@pytest.mark.parametrize("name", TASKS)
def test_the_lists_hold_enough_words_and_none_twice(name):
    questions, answers = zip(*words_of(name))
    assert len(questions) >= (19 if name == "number_word" else 24)
    assert len(set(questions)) == len(set(answers)) == len(questions)
    with pytest.raises(ValueError, match="one of capital"):
        words_of("dance")


def test_the_prompts_have_the_format_and_differ_in_the_order_of_labels_alone(model, task):
    assert len(task.pairs) == MOST
    answers = {word.question: word.answer for word in words_of("capital")}
    for clean, corrupted, right in zip(task.pairs.clean, task.pairs.corrupted, task.pairs.answers):
        texts = [model.to_string(list(side[1:])) for side in (clean, corrupted)]
        sides = [[part.split("\n") for part in text.split("\n\n")] for text in texts]
        for side in sides:
            assert len(side) == ALL + 1
            assert all(len(part) == 2 and part[0].startswith("Q: ") for part in side)
            assert side[-1][1] == "A:"
        assert sides[0][-1] == sides[1][-1]
        asked = [part[0].removeprefix("Q: ") for part in sides[0]]
        labels, shuffled = ([part[1].removeprefix("A: ") for part in side[:-1]] for side in sides)
        assert labels == [answers[word] for word in asked[:-1]]
        assert sorted(labels) == sorted(shuffled)
        assert all(one != other for one, other in zip(labels, shuffled))
        assert model.to_string(list(right)) == f" {answers[asked[-1]]}"
        assert answers[asked[-1]] not in shuffled
        for shots in SHOTS[1:-1]:
            assert answers[asked[shots]] not in shuffled[:shots]


def test_each_word_is_asked_once_at_every_number_of_shots(task):
    for at in range(len(SHOTS)):
        assert set(Counter(row[at] for row in task.answers).values()) == {1}
        assert {pairs[place] for pairs, places in zip(task.pairs.clean, task.places) for place in places[at:]} == {3}


def test_other_seeds_make_other_prompts(model, task):
    assert few_shot(model, "capital").pairs == task.pairs
    assert few_shot(model, "capital", seed=1).pairs != task.pairs


def test_one_run_is_read_as_one_prompt_of_each_number_of_shots(model, task):
    few = task._replace(pairs=task.pairs.take(range(3)), places=task.places[:3], answers=task.answers[:3])
    read = by_shots(model, few)
    for at in range(len(SHOTS)):
        probs = []
        for row, places, answers in zip(few.pairs.clean, few.places, few.answers):
            logits = model(torch.tensor([row[: places[at] + 1]]))[0, -1]
            probs.append(float(logits.softmax(-1)[answers[at]]))
        assert float(read.prob.mean[0, at]) == pytest.approx(np.mean(probs), abs=1e-5)


def test_the_toy_does_its_task_from_one_example_on_and_not_with_shuffled_labels(model, task):
    read = by_shots(model, task)
    assert read.accuracy.mean[0].tolist() == [0, 1, 1, 1, 1]
    assert read.accuracy.mean[1].tolist() == [0] * len(SHOTS)
    assert read.accuracy.low[0, -1] < 1
    assert read.ability.can
    assert read.ability.gap.mean == pytest.approx(float(read.prob.mean[0, -1] - read.prob.mean[1, -1]))


def test_a_model_that_answers_whatever_the_labels_say_does_not_do_the_task(model, task):
    """It always reads the question: all clean prompts are right, and so are the corrupted ones."""
    stubborn = toy()
    stubborn.blocks[2].attn.b_Q[1, -1] = 0
    read = by_shots(stubborn, task)
    assert read.accuracy.mean.tolist() == [[1] * len(SHOTS)] * 2
    assert read.ability.verdict.state == "none"
    assert "does not fall" in read.ability.sentence


def test_what_the_tokenizer_lacks_is_said(model):
    reason = few_shot_or_reason(model, "plural")
    assert "1 of 40 answers are one token of their own after “A:” for toy, at least 16 are needed" in reason
    assert read_task("plural", model) == reason
    with pytest.raises(ValueError, match="at least 16"):
        few_shot(model, "plural")


def test_a_prompt_that_does_not_fit_is_said():
    short = toy()
    short.cfg = replace(short.cfg, n_ctx=40)
    assert "take 71 tokens" in few_shot_or_reason(short, "capital")


def test_the_planted_head_and_no_other_carries_the_task(vectors):
    score = np.asarray(vectors.score.value)
    assert score[VECTOR] > 0.99
    assert np.delete(score.ravel(), 3 * VECTOR[0] + VECTOR[1]).max() < 0.01
    assert torch.nonzero(vectors.found).tolist() == [list(VECTOR)]
    assert abs(float(vectors.null.value[VECTOR])) < 1e-6


def test_the_answer_of_a_prompt_does_not_get_into_its_own_mean(vectors):
    """Head 2.1 writes the answer: a mean with its own prompt in it would raise the answer by itself."""
    assert float(vectors.score.value[READER]) < 1e-4


def test_the_map_equals_one_run_for_each_head_and_prompt(model, task):
    pairs = task.pairs.take(range(5))
    sweep = run_sweep(model, vector_map(pairs))
    names = [f"blocks.{layer}.attn.hook_z" for layer in range(3)]
    cached = [model.run_with_cache(torch.tensor([row]), names_filter=names)[1] for row in pairs.clean]
    for layer, name in enumerate(names):
        z = torch.stack([cache[name][0, -1] for cache in cached])
        for head in range(3):
            for at, row in enumerate(pairs.corrupted):
                mean = torch.stack([z[i, head] for i in range(5) if i != at]).mean(0)

                def put(x, hook, head=head, mean=mean):
                    x[0, -1, head] = mean
                    return x

                logits = model.run_with_hooks(torch.tensor([row]), fwd_hooks=[(name, put)])
                want = float(logits[0, -1].softmax(-1)[pairs.answers[at][0]])
                assert float(sweep.values[layer, head, at]) == pytest.approx(want, abs=1e-5)


def test_the_same_output_put_back_changes_nothing(model, task):
    row = (task.pairs.clean[0],) * 4
    pairs = Pairs(row, row, (task.pairs.answers[0],) * 4)
    sweep = run_sweep(model, vector_map(pairs))
    assert torch.allclose(sweep.values, sweep.base.expand(sweep.values.shape), atol=1e-6)


def test_a_mean_over_the_others_needs_others(model, task):
    with pytest.raises(ValueError, match="at least 2"):
        run_sweep(model, Experiment(task.pairs.take([0]), LAST, Grid(("layer", "head"), pos=-1), Metric("prob")))


def test_without_the_planted_head_the_task_is_gone(model, vectors):
    pairs = few_shot(model, "capital", seed=1).pairs
    other = torch.zeros(3, 3)
    other[1, 0] = 0.9
    sets = removal_sets(model.cfg, pairs, vectors.score.value.numpy(), other.numpy())
    curves = removal_curves(sets, run_sweep(model, sets.experiment))
    assert (sets.ks, curves.ks, sets.shared) == ((1,), (0, 1), ())
    accuracy = {(one.kind, one.random): one.accuracy.mean.tolist() for one in curves.curves}
    assert accuracy == {
        ("vector", False): [1, 0],
        ("vector", True): [1, 1],
        ("induction", False): [1, 1],
        ("induction", True): [1, 1],
    }
    assert curves.beside["vector"].as_costly == 0
    assert curves.beside["induction"].as_costly == curves.beside["induction"].n
    assert curves.verdict.found
    assert float(curves.between.mean) == 1
    assert curves.curves[0].accuracy.high.tolist() == pytest.approx([1, 0.142], abs=0.001)  # 0 of 24: 1 − 0.025^(1/24)


def test_a_set_that_is_not_removed_from_every_prompt_has_no_point(model, task, vectors):
    sets = removal_sets(model.cfg, task.pairs, vectors.score.value.numpy(), induction_scores().numpy())
    sweep = run_sweep(model, sets.experiment)
    values = sweep.values.clone()
    values[0, -1] = torch.nan
    accuracy = removal_curves(sets, sweep._replace(values=values)).curves[0].accuracy.mean
    assert float(accuracy[0]) == 1
    assert accuracy[1].isnan()


def test_scores_that_are_the_same_leave_no_induction_heads_and_no_verdict(model, task, vectors):
    """Every head stands as high in one list as in the other: all go to the first."""
    score = vectors.score.value.numpy()
    sets = removal_sets(model.cfg, task.pairs.take(range(16)), score, score)
    assert sets.shared == (VECTOR,)
    assert {one.kind for one in sets.sets} == {"vector"}
    curves = removal_curves(sets, run_sweep(model, sets.experiment))
    assert curves.verdict.state == "unknown"
    assert "induction" not in curves.beside


def test_random_heads_are_of_the_same_layers_and_of_no_set(model, task, vectors):
    sets = removal_sets(model.cfg, task.pairs, vectors.score.value.numpy(), induction_scores().numpy())
    chosen = {head for one in sets.sets if one.draw is None for head in one.heads}
    for one in sets.sets:
        if one.draw is not None:
            own = next(other for other in sets.sets if (other.kind, other.k, other.draw) == (one.kind, one.k, None))
            assert Counter(head.layer for head in one.heads) == Counter(head.layer for head in own.heads)
            assert not chosen & set(one.heads)


def test_a_layer_with_too_few_heads_left_borrows_of_the_nearest(model):
    generator = torch.Generator().manual_seed(0)
    both = (Head(1, 0), Head(1, 1))
    drawn = _matched(both, set(both), model.cfg, generator)
    assert Head(1, 2) in drawn
    assert [head.layer for head in drawn] == [0, 1]
    every = {Head(layer, head) for layer in range(3) for head in range(3)}
    assert _matched(both, every - {Head(2, 2)}, model.cfg, generator) == ()


def test_no_head_is_in_both_lists():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.rand(6, 5, generator=generator).numpy() for _ in range(2))
    other[2, 3], one[2, 3] = 2, 2  # the highest of both
    first, second, shared = disjoint(one, other, 4)
    assert Head(2, 3) in shared
    assert not set(first) & set(second)
    assert len({*first, *second, *shared}) == 30
    assert [one[head] for head in first] == sorted((one[head] for head in first), reverse=True)
    assert [other[head] for head in second] == sorted((other[head] for head in second), reverse=True)


def test_a_real_model_without_the_words_or_the_skill():
    small = HookedTransformer.from_pretrained("lens-2l")
    assert isinstance(few_shot_or_reason(small, "capital"), str)
    read = read_task("next_letter", small)
    assert not read.ability.can


def test_a_real_model_learns_plurals_from_examples():
    real = HookedTransformer.from_pretrained("smollm2-135m-instruct")
    task = few_shot(real, "plural")
    few = task._replace(pairs=task.pairs.take(range(4)), places=task.places[:4], answers=task.answers[:4])
    accuracy = by_shots(real, few).accuracy.mean
    assert accuracy[0, 0] == 0
    assert accuracy[0, -1] == 1
    assert accuracy[1, -1] < 1
    assert "are one token of their own after “A:”" in few_shot_or_reason(real, "next_number")


def test_the_lead_is_that_of_the_best_right_answer_over_the_best_other(model, task):
    pairs = replace(task.pairs.take(range(3)), answers=tuple((*ids, 2) for ids in task.pairs.answers[:3]))
    sweep = run_sweep(model, Experiment(pairs, LAST, Grid(("layer", "head"), pos=-1), Metric("lead")))
    for row, answers, lead in zip(pairs.clean, pairs.answers, sweep.other):
        logits = model(torch.tensor([row]))[0, -1]
        others = [logit for token, logit in enumerate(logits.tolist()) if token not in answers]
        assert float(lead) == pytest.approx(float(logits[list(answers)].max()) - max(others), abs=1e-5)
    assert sweep.base.tolist() == pytest.approx([0, 0, 0], abs=1e-5)
