"""The page Training dynamics opens what a sweep has measured, and no model."""

import pytest

from lens.analysis.checkpoint import Setting
from lens.analysis.training_run import TrainingRun
from lens.load.identity import content_of
from lens.sweeps.sweep import sweep
from lens.ui import checkpoint_runs
from lens.ui.calls import result_store
from lens.ui.models import source_named
from tests.ui.conftest import app_page, fine

SETTING = Setting(n=12, seqs=16, texts=4)


def test_the_page_reads_a_sweep(run, folder, monkeypatch):
    sweep(run, ["feeder_v"], "all", SETTING)
    result_store.clear()
    for measure in ("measure_repeats", "measure_texts", "measure_instruments"):
        monkeypatch.setattr(f"lens.analysis.training_run.{measure}", lambda *_: pytest.fail("it was measured again"))
    at = app_page("training_dynamics", model="local:run", score="feeder_v", n="12", seqs="16", texts="4")
    at.session_state["lens:paths"] = {"local:run": str(folder)}
    fine(at.run())
    assert "Strongest feeder by V, each head" in at.get("plotly_chart")[0].proto.spec


def test_without_settings_a_sweep_measures_what_the_page_asks_first(monkeypatch):
    made = sweep("lens-2l", ["sink"], "0,-1")
    result_store.clear()
    monkeypatch.setattr(TrainingRun, "_opened", lambda self: pytest.fail("the model was opened"))
    last = len(made.run) - 1
    cell = checkpoint_runs.Cell(source_named("lens-2l"), last, content_of(made.run, last))
    assert checkpoint_runs.measure_checkpoint(cell, Setting()).texts is not None
    page = checkpoint_runs.measure_instrument(cell, "sink", Setting())
    assert page.scores.value.tolist() == made.outcomes[-1].measured["sink"].scores.value.tolist()
