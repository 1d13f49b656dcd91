"""Where to look first: what was planted is found, what only looks like it is not, and a report says so."""

import json

import pytest
import torch

from lens import HookedTransformer, __main__
from lens import scan as command
from lens.analysis.corpus.own_text import own_text
from lens.analysis.instruments.induction import INDUCTION
from lens.analysis.instruments.measure import measure
from lens.analysis.scan import Scan, scan, together, verdict
from lens.analysis.score_results import Kind, Samples, head_score
from lens.texts import held_out


@pytest.fixture(scope="module")
def scans() -> dict[str, Scan]:
    """The planted models, one where nothing is planted, and the shipped one; without the slower evidence."""
    names = ("planted-induction", "planted-decoy", "planted-random", "lens-2l")
    with torch.no_grad():
        return {name: scan(HookedTransformer.from_pretrained(name), budget=0.0) for name in names}


def verdicts(result: Scan) -> dict[str, str]:
    return {str(one.head): one.verdict for one in result.findings}


def test_the_planted_circuit_is_found_and_nothing_in_the_place_of_the_decoy(scans):
    assert verdicts(scans["planted-induction"]) == {"0.1": "found", "1.2": "found", "0.3": "rejected"}
    assert verdicts(scans["planted-decoy"]) == {"0.1": "rejected", "0.3": "rejected", "1.2": "rejected"}
    assert verdicts(scans["planted-random"]) == {}
    assert {str(one.head) for one in scans["lens-2l"].found} == {"0.1", "0.3", "1.1"}


def test_what_is_said_counts_the_heads_that_were_tried(scans):
    result = scans["planted-induction"]
    first, *rest = command.sentences(result, "planted-induction")
    assert first == (
        "planted-induction: 8 heads tried in 4 tests (Induction; Duplicate token; Previous token; Two tokens back); 3 "
        "picked on sample A (seed 0); on sample B (seed 1) 2 found, 1 rejected, 0 inconclusive."
    )
    assert rest[0].startswith("0.1 FOUND: Previous token 1.000, on sample B 1.000 [1.000, 1.000], found; needed (4.")
    assert "not computed because the 0 s of this scan were over." in rest[-1]
    assert result.by_chance == pytest.approx(0.2)


def test_the_code_of_the_report_gives_its_numbers_again(scans, capsys):
    result = scans["planted-decoy"]
    again = command.code(result, "planted-decoy").replace("n_seqs=16)", "n_seqs=16, budget=0.0)")
    exec(again, {})
    lines = [f"{one.head} {one.verdict} {one.habits[0].again.value:.4f}" for one in result.findings]
    assert capsys.readouterr().out.splitlines() == lines


def test_reports_hold_everything_and_no_markup_of_a_name(scans):
    result = scans["planted-induction"]
    page = command.report(result, "<b>x</b>", "planted-induction")
    assert "<b>x" not in page
    assert "&lt;b&gt;x" in page
    assert "1.2 FOUND: " in page
    assert "<script src" not in page
    plain = json.loads(command.as_json(result, "m", "planted-induction"))
    assert [one["verdict"] for one in plain["findings"]] == ["found", "found", "rejected"]
    assert plain["heads tried"] == 8
    assert plain["findings"][0]["habits"][0]["again"]["rank"] == 1


def test_the_command(tmp_path, capsys):
    out = tmp_path / "scan.json"
    assert __main__.main(["scan", "planted-random", "--budget", "0s", "--out", str(out)]) == 0
    assert "0 picked on sample A" in capsys.readouterr().out
    assert json.loads(out.read_text("utf-8"))["findings"] == []
    for wrong in (["scan", "planted-random", "--out", "x.txt"], ["scan", "planted-random", "--seqs", "4"]):
        with pytest.raises(SystemExit) as end:
            __main__.main(wrong)
        assert end.value.code == 2


def test_a_text_of_ones_own_says_whether_the_habits_show_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LENS_CACHE", str(tmp_path / "cache"))
    path, out = tmp_path / "a.txt", tmp_path / "scan.json"
    path.write_text("\n---\n".join(held_out()[:20]), "utf-8")
    assert __main__.main(["scan", "lens-2l", "--budget", "0s", "--text", str(path), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "measured on 32 pieces of your text" in said
    model = HookedTransformer.from_pretrained("lens-2l")
    score = measure(model, [INDUCTION], [own_text(model, path.read_text("utf-8"))])["induction"]
    plain = json.loads(out.read_text("utf-8"))
    of = next(one for one in plain["findings"] if one["head"] == "1.1")
    habit = next(one for one in of["habits"] if one["instrument"] == "induction")
    assert habit["on_text"]["value"] == pytest.approx(float(score.score.mean[1, 1]))
    assert f"On the text: Induction {float(score.score.mean[1, 1]):.3f} [" in said
    assert "text=text)" in plain["code"]
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(SystemExit):
        __main__.main(["scan", "lens-2l", "--text", str(path)])
    assert "no text in UTF-8" in capsys.readouterr().err


def test_one_sample_twice_is_refused():
    with pytest.raises(ValueError, match="give two different seeds"):
        scan(None, seeds=(3, 3))


@pytest.mark.parametrize(
    ("habits", "matters", "verdict"),
    [
        (["found"], "found", "found"),
        (["rejected", "found"], "found", "found"),
        (["found"], "rejected", "rejected"),
        (["found"], "inconclusive", "inconclusive"),
        (["rejected"], "found", "rejected"),
        (["rejected", "inconclusive"], "found", "inconclusive"),
    ],
)
def test_a_habit_and_a_need_make_a_finding(habits, matters, verdict):
    assert together(habits, matters) == verdict


def test_what_a_sample_cannot_tell_is_inconclusive():
    kind = Kind("induction", "probability", "", "", True)
    value, null = torch.zeros(16, 1, 3), torch.zeros(16, 1, 3)
    null[:, 0, 0] = 0.5
    value[:, 0, 0], value[::4, 0, 1] = 0.1, 1.0  # small and sure; large in a few sequences
    score = head_score(kind, Samples(value, null, 0.0, 1), "sequences")
    assert [verdict(score, (0, head)) for head in range(3)] == ["rejected", "inconclusive", "rejected"]
    few = head_score(kind, Samples(value[:4], null[:4], 0.0, 1), "sequences")
    assert verdict(few, (0, 0)) == "inconclusive"
