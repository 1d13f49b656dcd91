"""A sweep is the plain measurement at each checkpoint, once, kept where the page finds it; what fails is named."""

import logging
import resource
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pandas as pd
import pytest
import torch

import lens
from lens.analysis.checkpoint import Setting
from lens.analysis.training_run import TrainingRun
from lens.load.checkpoints import checkpoints
from lens.results import results_folder
from lens.sweeps.plan import Plan
from lens.sweeps.sweep import measure, plan, request, sweep
from lens.sweeps.table import COLUMNS, as_frame, write
from tests.analysis.runs import STEPS, spoil, write_run

SETTING = Setting(n=12, seqs=16, seed=3, texts=2)
NAMES = ("previous", "ov_top10")


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def forbid(monkeypatch):
    monkeypatch.setattr(TrainingRun, "_opened", lambda self: pytest.fail("a model was opened"))


def test_a_sweep_is_the_plain_measurement(run, folder):
    made = lens.sweep(run, NAMES, "0,3", SETTING)
    frame = made.frame()
    assert tuple(frame.columns) == COLUMNS
    assert (made.lost, len(frame)) == ((), 2 * 2 * 2 * 4)
    assert set(frame["status"]) == {"measured"}
    training = TrainingRun(checkpoints(str(folder)))
    for index in (0, 3):
        for name in NAMES:
            want = training.instrument(index, name, SETTING)
            rows = frame[(frame["label"] == STEPS[index]) & (frame["instrument"] == name)]
            assert list(zip(rows["layer"], rows["head"], strict=True)) == [(i, j) for i in (0, 1) for j in range(4)]
            for column in ("value", "low", "high"):
                got = torch.tensor(rows[column].to_numpy(float, na_value=float("nan"))).view(2, 4)
                torch.testing.assert_close(got.float(), getattr(want, column), equal_nan=True)
            assert (rows["checkpoint"] == f"step {STEPS[index]}").all()
    assert frame.groupby("instrument")["n"].first()["previous"] == 16
    assert frame["weights"].nunique() == 2


def test_what_is_measured_is_not_measured_again_and_the_page_reads_the_same(run, folder, monkeypatch):
    first = sweep(run, NAMES, "all", SETTING)
    forbid(monkeypatch)
    again = sweep(run, NAMES, "all", SETTING, workers=2)  # none is started
    pd.testing.assert_frame_equal(again.frame(), first.frame())
    asked = request(run, NAMES, "all", SETTING)
    assert (plan(asked).measured, plan(asked).seconds) == (5, 0)
    page = TrainingRun(checkpoints(str(folder)))  # what the page calls, in its order
    assert page.shape().n_layers == 2
    assert page.measure(2, SETTING).texts is not None
    assert page.terms("ov_top10", SETTING).why_not == ""
    assert torch.equal(
        page.measure_instrument(2, "ov_top10", SETTING).scores.value,
        first.outcomes[2].measured["ov_top10"].scores.value,
    )


def test_a_sweep_that_is_stopped_goes_on_where_it_was(run, monkeypatch):
    def stop(fraction, stage):
        if fraction >= 0.4:
            raise KeyboardInterrupt

    asked = request(run, NAMES, "all", SETTING)
    with pytest.raises(KeyboardInterrupt):
        measure(asked, stop)
    assert not asked.jobs[0].marks.exists()
    assert plan(asked).measured == 2
    seen = []
    measure(asked, lambda fraction, stage: seen.append(stage))
    assert seen[1].startswith("3 of 5 checkpoints, ")
    assert seen[-1].startswith("5 of 5 checkpoints, ")


def test_checkpoints_that_cannot_be_read_are_lost_by_name_and_the_others_are_measured(tmp_path, tokenizer, caplog):
    broken = write_run(tmp_path / "broken", tokenizer, steps=STEPS)
    run = checkpoints(str(broken))
    (broken / "checkpoint-0" / "model.safetensors").write_bytes(b"no weights")  # the first of all
    spoil(broken, STEPS[1], "transformer.h.0.attn.c_attn.weight")
    shutil.rmtree(broken / f"checkpoint-{STEPS[3]}")
    with caplog.at_level(logging.WARNING):
        made = sweep(run, NAMES, "all", SETTING)
    assert [bool(one.reasons) for one in made.outcomes] == [True, True, False, True, False]
    for step in (STEPS[0], STEPS[1], STEPS[3]):
        assert any(f"step {step}:" in sentence or f"{step} steps" in sentence for sentence in made.lost)
        assert f"{step}" in caplog.text
    frame = made.frame()
    status = frame.groupby(["label", "instrument"])["status"].first()
    assert "not a whole safetensors file" in status[STEPS[0], "previous"]
    assert "NaN" in status[STEPS[1], "previous"]
    assert status[STEPS[2], "previous"] == status[STEPS[4], "ov_top10"] == "measured"
    assert frame[frame["label"] == STEPS[0]]["value"].isna().all()
    assert len(frame[frame["label"] == STEPS[4]]) == 16


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), KeyError("no such name"), ValueError("odd")])
def test_an_error_of_lens_is_no_damaged_checkpoint(run, monkeypatch, caplog, error):
    def fail(*_):
        raise error

    monkeypatch.setattr("lens.analysis.training_run.measure_instruments", fail)
    made = sweep(run, ["sink"], "0", SETTING, curves=False)
    (lost,) = made.lost
    assert lost.startswith(f"The checkpoint at step 0: an error in Lens ({type(error).__name__}: {error.args[0]}); ")
    assert "Traceback" in caplog.text
    assert "in fail" in caplog.text


def test_a_checkpoint_whose_curves_alone_are_lost_is_named_in_the_table(run):
    (whole,) = sweep(run, ["sink"], "0", SETTING, curves=False).outcomes
    made = as_frame(run, ["sink"], SETTING, [whole._replace(curves_lost="The texts are NaN")])
    assert set(made["status"]) == {"measured"}
    assert set(made["curves_lost"]) == {"The texts are NaN"}
    assert set(as_frame(run, ["sink"], SETTING, [whole])["curves_lost"]) == {""}


def test_an_instrument_that_the_models_cannot_have_is_said_so(tmp_path, tokenizer):
    run = checkpoints(str(write_run(tmp_path / "shallow", tokenizer, steps=STEPS[:2], n_layer=1)))
    made = sweep(run, ["feeder_k", "sink"], "all", SETTING, curves=False)
    assert made.lost == ()
    assert made.lacks == {"feeder_k": "not computed because it needs 2 layers and this model has 1"}
    frame = made.frame()
    assert (frame[frame["instrument"] == "feeder_k"]["status"] == made.lacks["feeder_k"]).all()
    assert plan(request(run, ["feeder_k", "sink"], "all", SETTING, curves=False)).measured == 2


def test_a_damaged_result_is_measured_again(run, caplog):
    before = sweep(run, NAMES, "0,1", SETTING).frame()
    for path in results_folder().glob("instrument-previous-*"):
        data = bytearray(path.read_bytes())
        data[-9] ^= 255
        path.write_bytes(data)
    pd.testing.assert_frame_equal(sweep(run, NAMES, "0,1", SETTING).frame(), before, atol=1e-6)
    assert "damaged" in caplog.text


@contextmanager
def at_most(n_bytes):
    """Files of this process cannot grow beyond that: the system refuses, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_on_a_full_disk_everything_is_measured_and_nothing_half_written_is_left(run, caplog, tmp_path):
    want = sweep(run, NAMES, "0,1", SETTING).frame()
    kept = {path: path.read_bytes() for path in results_folder().iterdir() if path.name.startswith("instrument")}
    for path in results_folder().iterdir():
        if "previous" in path.name or "repeats" in path.name:
            path.unlink()
    with at_most(64):
        made = sweep(run, NAMES, "0,1", SETTING)
    assert made.lost == ()
    assert "could not be kept" in caplog.text
    pd.testing.assert_frame_equal(made.frame(), want, atol=1e-6)
    left = {path: path.read_bytes() for path in results_folder().iterdir() if path.name.startswith("instrument")}
    assert left == {path: data for path, data in kept.items() if "previous" not in path.name}
    assert not list(results_folder().glob("unfinished-*"))
    with at_most(64), pytest.raises(OSError, match="large"):
        write(tmp_path / "x.csv", want, {})
    assert not list(tmp_path.glob("*x.csv*"))


def test_two_sweeps_at_once_lose_nothing(run):
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda which: sweep(run, NAMES, which, SETTING, curves=False), ("all", "0,2,4"))
    assert (one.lost, other.lost) == ((), ())
    labels = other.frame()["label"].unique()
    shared = one.frame()[one.frame()["label"].isin(labels)].reset_index(drop=True)
    pd.testing.assert_frame_equal(other.frame(), shared, atol=1e-6)
    assert plan(request(run, NAMES, "all", SETTING, curves=False)).measured == 5


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"instruments": []}, "at least one instrument"),
        ({"workers": 0}, "at least 1"),
        ({"keep": 0}, "at least 1 downloaded"),
    ],
)
def test_what_does_not_go_together(run, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        request(**{"model": run, "instruments": NAMES} | changes)


def test_a_plan_in_words():
    made = Plan(20, 5, 2, 90.0, 3_000_000, 10**15, 15, 4_500_000_000, 4).sentences("pythia-70m")
    assert made[0] == "pythia-70m: 20 checkpoints, 5 of them measured already."
    assert made[1] == "Time: about 90 s with 2 workers, by a rough estimate."
    assert made[2].startswith("Disk: results about 3 MB; ")
    assert "That is more than there is: take fewer workers." in made[3]
    assert made[4] == "Download: 15 checkpoints, about 4.5 GB in all; at most 4 at a time stay on the disk."
    assert "Time: not known" in " ".join(Plan(1, 0, None, None, None, None, 1, None, None).sentences("x"))
