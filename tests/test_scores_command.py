"""``python -m lens scores``: the table, the files, and a sentence with exit code 2 for what does not exist."""

import json

import pandas as pd
import pytest

from lens import HookedTransformer, __main__, scores
from lens.analysis.head_scores import head_scores
from lens.analysis.random_tokens import repeated_tokens

NAMES = "induction,previous,feeder_v,ablation_zero"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same numbers in every format."""
    folder = tmp_path_factory.mktemp("scores")
    arguments = ["scores", "lens-2l", "--instruments", NAMES, "--n", "10", "--seed", "2", "--out"]
    made = {kind: folder / f"x.{kind}" for kind in ("csv", "json", "parquet")}
    for path in made.values():
        assert __main__.main([*arguments, str(path)]) == 0
    return made


def test_files_hold_the_scores(files):
    model = HookedTransformer.from_pretrained("lens-2l")
    want = head_scores(model, repeated_tokens(model, 10, 16, 2))["induction"]
    frames = {
        "csv": pd.read_csv(files["csv"], dtype={"head": str}),
        "parquet": pd.read_parquet(files["parquet"]),
        "json": pd.DataFrame(json.loads(files["json"].read_text("utf-8"))["heads"]),
    }
    for frame in frames.values():
        assert len(frame) == 4 * 8
        row = frame[(frame["instrument"] == "induction") & (frame["head"] == "1.1")].iloc[0]
        assert row["value"] == pytest.approx(float(want.score.mean[1, 1]), abs=1e-6)
        assert row["low"] == pytest.approx(float(want.score.low[1, 1]), abs=1e-6)
        assert row["null"] == pytest.approx(float(want.null_mean[1, 1]), abs=1e-6)
        assert bool(row["above"]) is bool(want.above[1, 1])
        assert row["seed"] == 2


def test_json_holds_the_words(files):
    made = json.loads(files["json"].read_text("utf-8"))
    assert list(made["instruments"]) == NAMES.split(",")
    assert "Olsson" in made["instruments"]["induction"]["definition"]
    assert made["instruments"]["ablation_zero"]["unit"] == "nats"
    assert made["model"] == "lens-2l"
    assert "10 random tokens" in made["sample"]


def test_the_table_and_what_is_missing(capsys, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("The cat sat on the mat.\nThe cat\n\nsat on the mat, and the cat was glad of it.\n", "utf-8")
    assert scores.main(["lens-1l", "--instruments", "sink,feeder_k,ov_top10", "--text", str(path)]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0].split() == ["instrument", "sink", "ov_top10"]
    assert "2 texts, " in shown.out
    assert "0.3" in shown.out
    assert "feeder_k: not computed because it needs 2 layers and this model has 1." in shown.err
    assert "100%" in shown.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["lens-1l", "--instruments", "induction,inductoin"], "no instrument is called 'inductoin'; there are first"),
        (["lens-1l", "--out", "x.xls"], "the name must end in .csv, .json, .parquet"),
        (["no-such-model"], "no-such-model"),
        (["lens-1l", "--task", "chess"], "there is no such task; there are ioi"),
        (["lens-1l", "--n", "2000"], "use n of at most"),
        (["lens-1l", "--text", "/no/such/file"], "No such file"),
    ],
)
def test_what_does_not_exist_ends_with_a_sentence(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as end:
        scores.main(arguments)
    assert end.value.code == 2
    assert sentence in capsys.readouterr().err
