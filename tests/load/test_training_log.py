"""The loss a run wrote down: of a shipped table, of a Trainer's state, or the reason why there is none."""

import json
import math

import pytest

from lens.load.checkpoints import checkpoints
from lens.load.training_log import training_log
from tests.helpers import hf_gpt2
from tests.load.models import save


@pytest.fixture
def run(tmp_path):
    for step in (10, 20):
        save(hf_gpt2(n_layer=1), tmp_path / "run" / f"checkpoint-{step}")
    return tmp_path / "run"


def test_the_state_of_the_last_checkpoint(run):
    rows = [{"step": 10, "loss": 5.5, "epoch": 0.1}, {"step": 15, "eval_loss": 1.0}, {"step": 20, "loss": 4.25}]
    (run / "checkpoint-20" / "trainer_state.json").write_text(json.dumps({"log_history": rows}))
    log = training_log(checkpoints(str(run)))
    assert log == ((10, 20), (5.5, 4.25), "checkpoint-20/trainer_state.json", "")


def test_a_shipped_run_has_every_step():
    log = training_log(checkpoints("lens-2l"))
    assert log.steps == tuple(range(len(log.loss)))
    assert log.loss[0] == pytest.approx(math.log(1024), abs=0.5)
    assert log.loss[-1] < 4


def test_why_there_is_none(run):
    assert "holds no trainer_state.json" in training_log(checkpoints(str(run))).reason
    (run / "checkpoint-20" / "trainer_state.json").write_text("{}")
    assert "names no loss" in training_log(checkpoints(str(run))).reason
