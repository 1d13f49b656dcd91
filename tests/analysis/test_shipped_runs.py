"""The shipped models through training: where induction heads appear, and that one layer has none."""

import csv

import pytest
import torch

from lens.analysis.checkpoint import Setting
from lens.analysis.dynamics import Places, head_curve, strongest, summarise
from lens.analysis.event_order import order_of_run
from lens.analysis.training_run import TrainingRun
from lens.load.catalogue import entries
from lens.load.checkpoints import checkpoints
from lens.load.entries import ASSETS
from lens.load.files import CONFIG

SHIPPED = [entry.alias for entry in entries() if entry.shipped and (entry.path / CONFIG).is_file()]
NUMBERS = ("prefix_matching", "prefix_control", "previous_token", "first_copy_loss", "second_copy_loss")


@pytest.fixture(scope="module", params=SHIPPED)
def measured(request, tmp_path_factory):
    """(name, labels, head scores of every checkpoint) of a shipped run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LENS_CACHE", str(tmp_path_factory.mktemp("cache")))
        run = TrainingRun(checkpoints(request.param))
        yield request.param, run.checkpoints.labels, {i: run.repeats(i, Setting()) for i in range(len(run.checkpoints))}


def test_induction_appears_in_two_layers_and_not_in_one(measured):
    name, labels, repeats = measured
    curves = summarise(labels, repeats, {}, Places())
    birth = head_curve(repeats, strongest(curves)).birth
    if name == "lens-1l":
        assert curves.window.first is None
        assert birth.first_above is None
        assert "stays below" in birth.reason
        return
    first, last = curves.window.first, curves.window.last
    assert 0 < first < last < len(labels) - 1
    assert first <= birth.last_below < birth.first_above <= last
    assert birth.first_above == birth.last_below + 1


def test_a_previous_token_head_comes_before_the_induction_head_and_that_before_the_loss_drop(measured):
    name, _, repeats = measured
    states = [(pair.verdict.state, pair.is_before) for pair in order_of_run(repeats).pairs]
    assert states == [("none", False)] * 3 if name == "lens-1l" else states == [("found", True)] * 3


def test_the_shipped_table_says_the_same(measured):
    name, labels, repeats = measured
    with (ASSETS / "runs.csv").open(newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["model"] == name and row["shipped"] == "True"]
    assert [int(row["tokens"]) for row in rows] == list(labels)
    for row, scores in zip(rows, repeats.values(), strict=True):
        means = [
            scores.induction.mean(0).max(),
            scores.induction_control.mean(0).max(),
            scores.previous.mean(0).max(),
            scores.first_copy.mean(),
            scores.second_copy.mean(),
        ]
        torch.testing.assert_close(
            torch.stack(means), torch.tensor([float(row[number]) for number in NUMBERS]), atol=2e-4, rtol=0
        )
