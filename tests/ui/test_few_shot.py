"""The few-shot tab: a model whose function-vector head is known, one that does no task, words, and its Python."""

import contextlib
import io

import numpy as np
import pytest

from lens.given import give
from tests.analysis.few_shot.toy import VECTOR, toy
from tests.ui.conftest import app_page, bound, fine, python_of


@pytest.fixture(scope="module")
def name() -> str:
    return give(toy(), "few-shot-toy")


@pytest.fixture(scope="module")
def at(name):
    at = app_page("ablation", model=f"local:{name}", more="few_shot", seqs="4", n="10", pairs="4").run()
    while offered := [button for button in at.button if button.label.startswith("Compute, about")]:
        offered[0].click().run()  # what takes long waits for a click, on a machine that is busy also here
    return at


def test_from_the_task_it_does_to_the_head_that_carries_it(at):
    shown = fine(at)
    assert "From 8 examples toy does capitals." in shown
    assert "Not applicable: languages, plurals, " in shown
    assert "are right, with none 0%; with shuffled labels 0%." in shown
    assert f"1 of 9 heads carries the task beyond chance: {VECTOR[0]}.{VECTOR[1]}." in shown
    assert "Without the first head by function-vector score: 0%" in shown
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
