"""Train on stage: the tab that trains two models, and what they are called everywhere else. Shorter than on a stage."""

import re

import pytest

from lens.load.staged import Staged
from lens.train.staged import SideBySide, curves_of
from lens.ui import staged_runs
from lens.ui.calls import result_store
from lens.ui.checkpoint_runs import with_checkpoints
from lens.ui.controls import models_offered
from lens.ui.models import model_problem
from lens.ui.pages.training_dynamics import trainee_words
from tests.ui.conftest import app_page, bound, fine, html, markdown, printed

SHORT = Staged(0, 40)
LIVE = {"model": "lens-1l", "more": "live", "n": "8", "seqs": "2", "texts": "1", "train_steps": "40"}


@pytest.fixture(autouse=True)
def short_trainings(tmp_path_factory, monkeypatch):
    """Trained once for all of these tests; what is measured of other models is kept there, too."""
    monkeypatch.setenv("LENS_CACHE", str(tmp_path_factory.getbasetemp() / "staged"))
    monkeypatch.setattr(staged_runs, "ALL_STEPS", (40, 80))
    result_store.clear()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The page after a click on the button that trains, as the first visitor sees it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LENS_CACHE", str(tmp_path_factory.getbasetemp() / "staged"))
        patch.setattr(staged_runs, "ALL_STEPS", (40, 80))
        at = app_page("training_dynamics", **LIVE).run()
        assert not SHORT.is_here  # nothing is trained because an address says so
        assert "Not trained on this machine yet: 40 steps." in markdown(at)
        return at.button(key="start:staged-0-40").click().run()


def test_a_click_trains_both_and_says_what_became_of_them(trained):
    shown, curves = fine(trained), curves_of(SHORT)
    for n_layers, name in trainee_words.COUNT.items():
        assert f"The {name} model has not learned it: at step 40 it has a loss of " in shown
        assert f"{curves.of[n_layers].loss[-1].mean():.3g} [" in shown
    assert "One seed is one run, and the run is the unit" in shown
    assert "A synthetic task" in " ".join(one.value for one in trained.caption)
    assert len(re.findall("loss of the (?:one|two)-layer model", shown)) > 2


def test_the_python_of_the_export_says_the_same(trained):
    (code,) = (one.value for one in trained.code if "lens.train.staged" in one.value)
    curves = curves_of(SHORT)
    assert str(curves.of[2].loss[-1].mean()) in printed(code)


def test_the_next_visitor_sees_it_without_a_click_and_reads_another_sequence(trained):
    first = fine(app_page("training_dynamics", **LIVE).run())
    second = fine(app_page("training_dynamics", **LIVE, unseen="4").run())
    strips = [re.findall(r'<div class="lens-strip" .*?</div>', shown) for shown in (first, second)]
    assert all(len(strip) == 2 for strip in strips)
    assert strips[0] != strips[1]


def test_the_models_open_on_every_page(trained):
    at = app_page("training_dynamics", **LIVE).run()
    at.button(key="open:stage-2l-seed0-steps40").click().run()
    assert "stage-2l-seed0-steps40: phase change" in fine(at)
    assert at.query_params["beside"] in ("stage-1l-seed0-steps40", ["stage-1l-seed0-steps40"])
    at = app_page("attention", model="stage-2l-seed0-steps40").run()
    assert "stage-2l-seed0-steps40" in fine(at)
    assert "stage-2l-seed0-steps40" in models_offered()


def test_a_name_that_is_not_here_is_answered_with_a_sentence():
    at = app_page("attention", model="stage-2l-seed77").run()
    shown = fine(at)
    assert "The model stage-2l-seed77 is trained on request and is not on this machine" in shown
    assert "train seed 77" in shown
    assert bound(at.selectbox, "model").value == "lens-2l"


def test_hosted_visitors_train_few_seeds_and_open_what_is_here(trained, monkeypatch):
    monkeypatch.setenv("LENS_HOSTED", "1")
    assert model_problem("stage-1l-seed0-steps40") == ""
    assert "not on this machine" in model_problem("stage-1l-seed1-steps40")
    shown = html(app_page("training_dynamics", **LIVE | {"train_seed": "12", "train_steps": "1600"}).run())
    assert "outside 0 to 9 here: showing 9" in shown
    assert "1600&#x27; is not offered here: showing 40" in shown


def test_a_training_that_was_stopped_shows_what_it_has_and_goes_on():
    staged = Staged(1, 40)
    run = staged_runs.unfinished().put(staged, SideBySide(staged))  # stopped before its 13th step, as by a cancel
    assert next(step for step in run.steps() if step == 12) == 12
    at = app_page("training_dynamics", **LIVE, train_seed="1").run()
    fine(at)
    assert "Stopped at step 12 of 40: what was trained is kept." in markdown(at)
    n_charts = len(at.get("plotly_chart"))
    shown = fine(at.button(key="start:staged-1-40").click().run())
    assert "at step 40 it has a loss of" in shown
    assert len(at.get("plotly_chart")) == n_charts + 2  # the unseen sequence
    assert (curves_of(staged).of[1].loss == run.curves().of[1].loss).all()


def test_only_a_steep_fall_is_said_to_be_one(trained):
    curves = curves_of(SHORT)
    assert "fell below half a guess" not in trainee_words.notice(curves, 2.29)
    high = trainee_words.notice(curves, 9.0)
    assert "has learned it" in high
    assert "fell below half a guess between step" in high


def test_the_runs_of_a_stage_stand_beside_others(trained):
    assert {"lens-2l", "stage-1l-seed0-steps40", "stage-2l-seed0-steps40"} <= set(with_checkpoints())
