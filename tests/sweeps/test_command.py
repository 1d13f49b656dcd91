"""``python -m lens sweep``: the plan, the table in every format, and how it ends."""

import json
from pathlib import Path

import pandas as pd
import pytest

from lens import __main__
from lens.sweeps import command
from lens.sweeps.table import COLUMNS
from tests.analysis.runs import STEPS, spoil, write_run
from tests.sweeps.test_sweep import at_most

SMALL = ("--n", "12", "--instruments", "sink, feeder_v")


@pytest.fixture
def sweeps(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: __main__.main(["sweep", "--model", str(folder), *SMALL, *arguments])


def test_every_format_holds_the_same(sweeps, capsys):
    for kind in ("csv", "json", "parquet"):
        assert sweeps("--checkpoints", "log:3", "--out", f"x.{kind}") == 0
    read = json.loads(Path("x.json").read_text("utf-8"))
    frames = [pd.read_csv("x.csv"), pd.DataFrame(read["rows"]), pd.read_parquet("x.parquet")]
    for frame in frames:
        assert tuple(frame.columns) == COLUMNS
        assert len(frame) == 3 * 2 * 2 * 4
        assert list(frame["label"].unique()) == [0, 40, 400]
        assert frame["value"].sum() == pytest.approx(frames[0]["value"].sum(), rel=1e-6)
    assert read["setting"]["n"] == 12
    assert "definition" in read["instruments"]["feeder_v"]
    said = capsys.readouterr()
    assert "run: 3 checkpoints, 0 of them measured already." in said.out
    assert "run: 3 checkpoints, 3 of them measured already." in said.out
    assert said.out.count("run: 3 of 3 checkpoints measured whole.") == 3
    assert "100% 3 of 3 checkpoints" in said.err


def test_a_dry_run_says_what_it_takes_and_measures_nothing(sweeps, capsys):
    assert sweeps("--dry-run", "--workers", "2", "--out", "x.csv") == 0
    assert sweeps("--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == lines[4]
    assert lines[0].endswith("run: 5 checkpoints, 0 of them measured already.")
    assert lines[1].endswith(" with 2 workers, by a rough estimate.")
    assert lines[2].startswith("Disk: results about ")
    assert not Path("x.csv").exists()


def test_a_checkpoint_that_is_lost_is_named_and_ends_with_1(tmp_path, tokenizer, capsys):
    broken = write_run(tmp_path / "broken", tokenizer, steps=STEPS[:3])
    spoil(broken, STEPS[1])
    out = tmp_path / "x.csv"
    assert command.main(["--model", str(broken), *SMALL, "--out", str(out)]) == 1
    said = capsys.readouterr()
    assert "broken: 2 of 3 checkpoints measured whole. The checkpoint at 10 steps: " in said.out
    assert "NaN" in said.out
    assert set(pd.read_csv(out)["label"]) == {0, 10, 40}


def test_where_no_checkpoint_can_be_read_each_is_named(tmp_path, tokenizer, capsys):
    broken = write_run(tmp_path / "broken", tokenizer, steps=STEPS[:2])
    for step in STEPS[:2]:
        (broken / f"checkpoint-{step}" / "model.safetensors").write_bytes(b"no weights")
    out = tmp_path / "x.csv"
    assert command.main(["--model", str(broken), *SMALL, "--out", str(out)]) == 1
    said = capsys.readouterr().out
    assert "broken: 0 of 2 checkpoints measured whole. The checkpoint at step 0: " in said
    assert "Time: not known" in said
    frame = pd.read_csv(out)
    assert len(frame) == 2 * 2
    assert frame["status"].str.contains("not a whole safetensors file").all()


def test_a_table_that_cannot_be_written_says_where_the_numbers_are(sweeps, capsys):
    sweeps("--checkpoints", "last")
    with at_most(64):
        assert sweeps("--checkpoints", "last", "--out", "x.csv") == 1
    assert "the same command with another --out writes it without measuring again" in capsys.readouterr().err
    assert not Path("x.csv").exists()


def test_a_sweep_that_is_interrupted_says_how_it_goes_on(sweeps, capsys, monkeypatch):
    def stop(fraction, stage):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "printed", stop)
    assert sweeps() == 130
    assert "the same command goes on from here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--instruments", "inductoin"], "no instrument is called 'inductoin'; there are first"),
        (["--out", "x.xls"], "the name must end in .parquet, .csv, .json"),
        (["--out", "no/such/x.csv"], "there is no folder"),
        (["--checkpoints", "log"], "names no checkpoints. Write one of: all; last; log:20"),
        (["--checkpoints", "at:11"], "the nearest is 10"),
        (["--model", "gpt2"], "knows no training checkpoints of 'gpt2'"),
        (["--model", "no-such-model"], "no-such-model"),
        (["--workers", "0"], "it takes at least 1"),
        (["--backend", "dask"], "the address of its scheduler"),
        (["--backend", "dask", "--cluster", "tcp://x:1", "--keep", "3"], "the workers of dask have their own"),
        (["--cluster", "tcp://x:1"], "say dask or ray"),
    ],
)
def test_what_does_not_exist_ends_with_a_sentence(sweeps, arguments, sentence, capsys):
    with pytest.raises(SystemExit) as end:
        sweeps(*arguments)
    assert end.value.code == 2
    assert sentence in capsys.readouterr().err
