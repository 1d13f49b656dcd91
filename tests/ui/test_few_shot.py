"""The few-shot tab: a model whose function-vector head is known, one that does no task, words, and its Python."""

import contextlib
import io

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from lens.analysis.few_shot.by_shots import by_shots
from lens.analysis.few_shot.function_vectors import FunctionVectors
from lens.analysis.few_shot.prompts import few_shot
from lens.analysis.few_shot.removal import Beside, Curve, RemovalCurves
from lens.analysis.interventions.results import Effect
from lens.analysis.stats import Estimate
from lens.analysis.verdicts import Verdict
from lens.given import give
from lens.ui.pages.ablation import few_shot_words as words
from tests.analysis.few_shot.toy import VECTOR, toy
from tests.ui.conftest import app_page, bound, fine, python_of


@pytest.fixture(scope="module")
def name() -> str:
    return give(toy(), "few-shot-toy")


def opened(name: str, **query: str) -> AppTest:
    at = app_page("ablation", model=f"local:{name}", more="few_shot", seqs="4", n="10", pairs="4", **query).run()
    while offered := [button for button in at.button if button.label.startswith("Compute, about")]:
        offered[0].click().run()  # what takes long waits for a click, on a machine that is busy also here
    return at


@pytest.fixture(scope="module")
def at(name):
    return opened(name)


def test_figures_that_fill_may_be_drawn_twice_alike(name, monkeypatch):
    """Most groups of runs finish no set of heads: the figure is drawn again with the same points."""
    monkeypatch.setattr("lens.ui.calls.REDRAW", 0.0)
    monkeypatch.setattr("lens.ui.calls.DRAWING_SHARE", 1e9)
    assert "1 of 9 heads carries the task" in fine(opened(name, seed="5"))


def test_from_the_task_it_does_to_the_head_that_carries_it(at):
    shown = fine(at)
    assert "From 8 examples toy does capitals." in shown
    assert "Not applicable: languages, plurals, " in shown
    assert "are right, with none 0%; with shuffled labels 0%." in shown
    assert f"1 of 9 heads carries the task beyond chance: {VECTOR[0]}.{VECTOR[1]}." in shown
    assert "Without the first head by function-vector score 0% are; 0 of" in shown
    assert bound(at.selectbox, "examples").value == "capital"


def test_the_python_prints_the_numbers_of_the_tab(at):
    shots, heads, removal = python_of(at)[:3]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(shots, {})
        exec(heads, {})
        exec(removal, {})
    printed = out.getvalue()
    assert "The model does this task" in printed
    assert f"carry the task: [[{VECTOR[0]}, {VECTOR[1]}]]" in printed
    assert "vector highest [1.0, 0.0] without (0, 1)" in printed


def test_a_task_without_words_says_so(name):
    shown = fine(
        app_page("ablation", model=f"local:{name}", more="few_shot", examples="plural", seqs="4", n="10").run()
    )
    assert "plural is not applicable: 1 of 40 answers are one token of their own" in shown
    assert "carries the task" not in shown


def test_a_small_model_does_none_of_them():
    shown = fine(app_page("ablation", model="lens-2l", more="few_shot").run())
    assert "From 8 examples lens-2l does none of these tasks. It does not do next letter and upper case." in shown
    assert "lens-2l does not do this task" in shown
    assert "carries the task" not in shown


def test_a_model_without_any_word_has_a_table_of_reasons():
    at = app_page("ablation", model="planted-induction", more="few_shot").run()
    assert "does none of these tasks" in fine(at)
    verdicts = np.concatenate([one.value["verdict"] for one in at.dataframe if "verdict" in one.value])
    assert set(verdicts) <= {"not applicable", "does not"}


def estimate(*accuracy: float) -> Estimate:
    mean = torch.tensor(accuracy)
    return Estimate(mean, mean - 0.1, mean + 0.1, 24, "")


def curves(vector: float, induction: float, verdict: Verdict) -> RemovalCurves:
    ends = {("vector", False): vector, ("vector", True): 0.9, ("induction", False): induction, ("induction", True): 0.9}
    made = tuple(Curve(kind, random, estimate(0.9, end)) for (kind, random), end in ends.items())
    beside = {"vector": Beside(0, 3, 0.8, 0.9), "induction": Beside(2, 3, 0.8, 0.9)}
    return RemovalCurves((0, 16), made, beside, estimate(induction - vector), verdict)


def test_the_curves_in_words():
    more = words.removal_words(curves(0.6, 0.9, Verdict("found", "the interval excludes 0")))
    assert "Of 24 new prompts 90% are right." in more
    assert (
        "Without the first 16 heads by function-vector score 60% are; 0 of 3 random sets of the same layers cost as "
        "much (without them 80% to 90%). "
    ) in more
    assert more.endswith("The task needs function-vector heads more than induction heads: the interval excludes 0.")
    less = words.removal_words(curves(0.9, 0.5, Verdict("found", "so")))
    assert less.endswith("The task needs induction heads more than function-vector heads: so.")
    unknown = words.removal_words(curves(0.6, float("nan"), Verdict("unknown", "too few heads")))
    assert "Too few heads are left for 16 induction heads." in unknown
    assert unknown.endswith("Which set the task needs more is not said: too few heads.")


def test_heads_in_words():
    score = torch.tensor([[0.01, 0.3], [0.2, -0.4]])
    effect, null = Effect(score, score - 0.1, score + 0.1, 24, ""), Effect(score * 0, None, None, 24, "")
    both = words.vectors_words(FunctionVectors(effect, null, 0.1, score > 0.1, ""))
    assert (
        "Head 0.1's mean output over right prompts raises the answer's probability most: by +0.30 [0.20, 0.40]" in both
    )
    assert both.endswith("2 of 4 heads carry the task beyond chance: 0.1, 1.0.")
    none = words.vectors_words(FunctionVectors(effect, null, 0.5, score > 0.5, ""))
    assert none.endswith("None of 4 heads gains more over its null than the best of all does by chance.")
    few = words.vectors_words(FunctionVectors(effect, null, None, None, "no threshold: 3 pairs"))
    assert few.endswith("No verdict: 3 pairs.")


def test_tasks_in_words():
    model = toy()
    read = by_shots(model, few_shot(model, "capital"))
    failed = read._replace(ability=read.ability._replace(verdict=Verdict("none", "it does not")))
    text = words.tasks_words({"capital": read, "antonym": failed, "plural": read}, {"language": "no words"}, "toy")
    assert text == (
        "From 8 examples toy does capitals and plurals. It does not do antonyms. Not applicable: languages, for lack "
        "of answers of one token."
    )
