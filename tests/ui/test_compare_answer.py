"""What a second model, checkpoint or prompt says of each token, of the next one, and of the parts of its answer."""

from collections import Counter

import numpy as np
import pytest

from lens import HookedTransformer
from lens.analysis.answer.direct_attribution import direct_attribution, task_attribution
from lens.analysis.answer.predictions import predict
from lens.analysis.interventions import Metric
from lens.analysis.interventions.tasks import parse_pairs, task_of, to_pairs
from lens.analysis.loss import per_token, text_stats
from lens.figures.theme import number
from lens.ui.fields import DEFAULT_PROMPT
from lens.ui.labels import token_labels
from lens.ui.models import Prompt
from lens.ui.pages.attribution.compared import Asked, sums
from lens.ui.pages.attribution.prompts_compared import Attributed, same_pairs
from lens.ui.pages.attribution.request import Request
from lens.ui.pages.predictions.compared import _labels
from lens.ui.shared.compare import words
from lens.ui.shared.compare.per_token import id_beside
from lens.ui.shared.tasks import TaskChoice
from lens.ui.shared.wording import interval, signed
from tests.ui.conftest import REAL, app_page, fine, printed
from tests.ui.test_compare import CHECKPOINT, HOSTILE, OTHER_PROMPT, TITLE, notices, programs

PAGES = ("tokens", "predictions", "attribution")


@pytest.fixture(scope="module")
def models() -> list[HookedTransformer]:
    name, _, revision = CHECKPOINT.partition("@")
    return [HookedTransformer.from_pretrained(name), HookedTransformer.from_pretrained(name, revision=revision)]


def said_here(at) -> list[str]:
    """The notices of the section."""
    return [text for text in notices(at) if "tokens_000001433600" in text]


@pytest.mark.parametrize("page", PAGES)
def test_a_checkpoint_beside_the_model_and_python_that_makes_both(page):
    at = app_page(page, with_model=CHECKPOINT).run()
    assert words.TWO_TIMES in fine(at)
    assert "left out." not in fine(at)
    for program in programs(at):
        cell, first, second, difference = printed(program).rsplit(maxsplit=3)
        assert float(difference) == pytest.approx(float(second) - float(first), abs=1e-5)
        assert cell


def test_the_losses_are_those_of_both_models(models):
    at = app_page("tokens", with_model=CHECKPOINT).run()
    first, second = (per_token(text_stats(m, m.to_tokens(DEFAULT_PROMPT)).stats).loss for m in models)
    place = int(np.nanargmax(abs(second - first)))
    (said,) = said_here(at)
    assert f"{number(first[place])} in lens-2l, {number(second[place])} in" in said


def test_the_next_token_is_that_of_both_models(models):
    at = app_page("predictions", with_model=CHECKPOINT, top="3").run()
    tokens = models[0].to_tokens(DEFAULT_PROMPT)
    ids = {int(i) for model in models for i in predict(model, tokens, tokens.shape[1] - 1, (), 3).top}
    first, second = (predict(m, tokens, tokens.shape[1] - 1, sorted(ids)).logprob.exp().numpy() for m in models)
    place = int(abs(second - first).argmax())
    assert f"{number(first[place])} in lens-2l, {number(second[place])} in" in said_here(at)[0]


def test_the_sums_of_parts_are_the_difference_of_the_logits_of_each_model(models):
    tokens = models[0].to_tokens(DEFAULT_PROMPT)
    last = tokens.shape[1] - 1
    right, wrong = predict(models[0], tokens, last, (), 2).top.tolist()
    for model in models:
        request = Request(model, Prompt("", tokens, [""] * (last + 1)), "logit_diff", last, right, wrong, True)
        parts, logits = sums(Asked(request, direct_attribution(model, tokens, request.target))), model(tokens)[0, -1]
        assert sum(parts.values()) == pytest.approx(float(logits[right] - logits[wrong]), abs=1e-3)


def test_mlps_of_other_depths_stand_beside_each_other_and_pieces_of_a_character_are_told_apart():
    at = app_page("attribution", model=REAL, with_prompt=OTHER_PROMPT).run()
    assert "direct effect of mlps" in fine(at).lower()
    model = HookedTransformer.from_pretrained(REAL)
    every = token_labels(model, range(model.cfg.d_vocab))
    (alike,) = [label for label, n in Counter(every).most_common(1)]
    ids = [i for i, label in enumerate(every) if label == alike]
    assert len(ids) > 1
    assert len(set(_labels(model, ids))) == len(ids)


@pytest.mark.parametrize("page", PAGES)
def test_another_prompt_is_aligned_by_text(page):
    at = app_page(page, with_prompt=OTHER_PROMPT).run()
    assert words.TWO_TEXTS in fine(at)
    if page != "attribution":
        assert "4 of 18 tokens of the first prompt and 4 of 18 tokens of the second prompt have no" in fine(at)


@pytest.mark.parametrize("page", PAGES)
def test_a_model_of_another_shape_and_vocabulary(page):
    at = app_page(page, with_model=REAL).run()
    shown = fine(at)
    assert words.TWO_MODELS in shown or "tokens for" in shown
    if page == "tokens":
        assert "cuts the text into fewer, longer ones holds more" in shown


def test_answers_and_places_are_found_by_their_text_in_another_vocabulary(models):
    other = HookedTransformer.from_pretrained(REAL)
    (q,) = models[0].all_ids("Q", False)
    assert (id_beside(models[0], other, q), id_beside(*models, q)) == (*other.all_ids("Q", False), q)
    at = app_page("predictions", with_model=REAL, right="Q", wrong="Z", top="3").run()
    fine(at)
    program = next(code for code in programs(at) if "predict(" in code)
    for name in "QZ":
        assert all(str(model.all_ids(name, False)[0]) in program for model in (models[0], other))
    at = app_page("attribution", with_model=REAL, at="5").run()  # " at": inside of " sat" for the other
    assert "no token of the second text covers what 5: " in fine(at)


def test_a_tab_that_compares_nothing_says_where_it_is_compared():
    assert "under “Loss by token” alone" in fine(app_page("tokens", part="cut", with_model="lens-3l").run())


@pytest.mark.parametrize("page", PAGES)
def test_the_same_twice_differs_in_nothing(page):
    at = app_page(page, with_model="lens-2l", with_prompt=DEFAULT_PROMPT).run()
    fine(at)
    assert words.SAME in [info.value for info in at.info]


@pytest.mark.parametrize("page", [*PAGES, "neurons"])
def test_a_hostile_second_prompt_stays_text(page):
    model = {"model": REAL} if page == "neurons" else {}
    at = app_page(page, with_prompt=HOSTILE, **model).run()
    shown = fine(at)
    assert TITLE in shown
    assert "<img src=x" not in shown


def test_a_neuron_of_a_prompt_beside_that_of_another_and_none_of_another_model():
    at = app_page("neurons", model=REAL, with_prompt=OTHER_PROMPT, block="3", neuron="7").run()
    assert "activation of neuron 3.7" in fine(at).lower()
    assert words.TWO_TEXTS in fine(at)
    at = app_page("neurons", model=REAL, with_model="lens-2l", block="3", neuron="7").run()
    assert "neuron 3.7 of smollm2-135m-instruct has no counterpart in lens-2l" in fine(at)


def test_ranks_of_answers_stand_beside_each_other_and_python_says_the_same(models):
    at = app_page("predictions", with_model=CHECKPOINT, right=" m", wrong=" c").run()
    fine(at)
    tokens, answers = models[0].to_tokens(DEFAULT_PROMPT), models[0].inner_ids(" m") + models[0].inner_ids(" c")
    first, second = (predict(model, tokens, tokens.shape[1] - 1, answers) for model in models)
    (said,) = [text for text in said_here(at) if "numbers are compared" in text]
    for label, *ranks in zip(("·m", "·c"), first.rank + 1, second.rank + 1):
        assert f"{label}: rank {' | '.join(f'{rank:,}' for rank in ranks)}" in said
    (program,) = [code for code in programs(at) if "found.rank" in code]
    lines = [line.rsplit(maxsplit=3) for line in printed(program).splitlines()]
    assert [float(line[1]) for line in lines[::2]] == (first.rank + 1.0).tolist()
    assert all(float(line[3]) == pytest.approx(float(line[2]) - float(line[1]), abs=1e-5) for line in lines)


@pytest.mark.parametrize("second", [CHECKPOINT, "lens-3l"])
def test_many_prompts_beside_another_model_have_paired_differences_and_python_prints_them(models, second):
    at = app_page("attribution", more="prompts", task="repeated", with_model=second).run()
    shown = fine(at)
    pairs = task_of(models[0], "repeated", 16, 0, "swap", "curly", 10).pairs
    name, _, revision = second.partition("@")
    other = HookedTransformer.from_pretrained(name, revision=revision or None)
    first, other = (task_attribution(model, pairs).value for model in (models[0], other))
    assert f"difference {signed(float((other - first).mean()))} [" in shown
    (said,) = [text for text in notices(at) if text.startswith("Mean sum of parts")]
    (*_, difference), (_, low, high) = (line.split() for line in printed(of_task(at)[0]).splitlines())
    assert f"{interval(float(low), float(high)).strip()}. The mean size" in said
    assert float(low) < float(difference) < float(high)


def of_task(at) -> list[str]:
    return [code for code in programs(at) if "task_attribution" in code]


def test_many_prompts_of_one_model_twice_differ_in_nothing_and_the_other_way_round_in_the_opposite():
    at = app_page("attribution", more="prompts", task="repeated", with_model="lens-2l").run()
    fine(at)
    assert [info.value for info in at.info] == [words.SAME, words.SAME]
    name, _, revision = CHECKPOINT.partition("@")
    sides = ({"with_model": CHECKPOINT}, {"model": name, "revision": revision, "with_model": name})
    pages = (app_page("attribution", more="prompts", task="own", own=OWN, **side).run() for side in sides)
    first, second, difference = zip(*(map(float, printed(of_task(at)[1]).split()[-3:]) for at in pages))
    assert first == second[::-1]
    assert difference == pytest.approx([second[0] - first[0], first[0] - second[0]])


OWN = "The cat sat on a | The dog sat on a | m | b\nThe red cat | The red dog | m | c"


def test_pairs_are_the_same_where_their_text_is_however_it_is_cut(models):
    both = []
    for model, kept in ((models[0], [0, 1]), (HookedTransformer.from_pretrained(REAL), [1])):
        pairs = to_pairs(model, parse_pairs(OWN), True).take(kept)
        task = TaskChoice("own", pairs, Metric("logit_diff"), "")
        both.append(Attributed(model, task, task_attribution(model, pairs)))
    match = same_pairs(*both)
    assert (match.first.tolist(), match.second.tolist(), match.left_out) == ([1], [0], (1, 0))
    taken = both[0].take(match.first)
    assert taken.of.value.tolist() == both[0].of.value[1:].tolist()
    assert taken.heads.shape == (2, 4, 1)


@pytest.mark.parametrize(("page", "query"), [("tokens", {"colour": "rank"}), ("logit_lens", {"number": "rank"})])
def test_ranks_are_compared_by_python_that_runs(page, query):
    at = app_page(page, with_model=CHECKPOINT, **query).run()
    fine(at)
    (program,) = programs(at)
    first, second, difference = map(float, printed(program).split()[-3:])
    assert difference == pytest.approx(second - first, abs=1e-5)
    assert [said for said in notices(at) if f"{number(first)} in lens-2l, {number(second)} in" in said]
