"""The page of one head: its links against the analyses, which head is shown, odd prompts, addresses and models."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from lens import HookedTransformer
from lens.analysis.composition import composition
from lens.analysis.head_scores import head_scores
from lens.analysis.instruments.measure import measure
from lens.analysis.instruments.registry import INSTRUMENTS, by_link
from lens.analysis.instruments.sample import repeats
from lens.analysis.ov_copying import ov_copying
from lens.analysis.random_tokens import repeated_tokens
from lens.load.checkpoints import checkpoint_name, checkpoints
from lens.ui.pages.head import chain as page
from lens.ui.shared.chain.attends import prompt_words as words
from lens.ui.shared.chain.link import Finding
from tests.load import toys
from tests.ui.conftest import app_page, fine, local

HOSTILE = "</script><img src=x onerror=alert(1)> a a"


@pytest.fixture(scope="module")
def model(tiny_folder) -> HookedTransformer:
    return HookedTransformer.from_pretrained(str(tiny_folder))


def opened(folder: Path, **query: str) -> AppTest:
    return local("head", folder, **({"n": "6", "seqs": "4"} | query)).run()


@pytest.fixture
def tiny(tiny_folder):
    """``tiny(layer="1", ...)``: the page with the tiny model open, run once."""
    return lambda **query: opened(tiny_folder, **query)


def instruments_of(at: AppTest) -> pd.DataFrame:
    """The table of all instruments, by title."""
    return at.dataframe[-1].value.set_index("instrument")


def test_four_sequences_carry_no_verdict_on_scores_and_feeders(tiny):
    at = tiny(layer="2", head="1")
    shown = fine(at)
    assert "Whether head 2.1 scores above chance cannot be said. No verdict: 4 sequences" in shown
    assert "Which of them are previous-token heads cannot be said. No verdict: 4 sequences" in shown
    verdicts = instruments_of(at)["verdict"]
    assert verdicts.loc[["Induction", "Duplicate token", "Previous token"]].tolist() == ["too few sequences"] * 3
    assert verdicts.loc[["First token (BOS)", "Entropy", "Entropy, share of its maximum"]].tolist() == ["no test"] * 3
    assert 'class="none" data-step="2"' not in shown
    assert 'class="found" data-step="2"' not in shown


def test_the_numbers_are_those_of_the_analyses(tiny, model):
    at = tiny(layer="2", head="1", n="8", seqs="16", seed="3")
    shown = fine(at)
    scores = head_scores(model, repeated_tokens(model, 8, 16, 3, model.bos.prepend))
    feeding, _ = (frame.value for frame in at.dataframe)
    table = instruments_of(at)
    assert table["value"]["Induction"] == pytest.approx(float(scores["induction"].score.mean[2, 1]), abs=1e-5)
    assert list(table.index) == [one.title for group in by_link().values() for one in group]
    copying = float(ov_copying(model).full.score[2, 1])
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(at.code[0].value, {})
    lines = dict(line.rsplit(maxsplit=1) for line in out.getvalue().splitlines() if "composition" not in line)
    assert float(lines["induction"]) == pytest.approx(float(table["value"]["Induction"]), abs=1e-5)
    assert float(lines["copying"]) == pytest.approx(copying, abs=1e-5)
    said = " ".join(element.value for element in at.markdown)
    change = re.search(r"goes from [\d.]+ to [\d.]+ nats: ([+−][\d.e−+]+)", said)
    assert float(lines["change of loss"]) == pytest.approx(float(change[1].replace("−", "-")), rel=0.06)
    gained = re.search(r"at rank ([\d.]+) of 9 \(control ([\d.]+)\)", said)
    assert float(lines["ranks gained"]) == pytest.approx(float(gained[2]) - float(gained[1]), abs=0.02)
    told = next(element.value for element in at.markdown if "Copying score" in element.value)
    assert f"{abs(copying):.2g}"[:3] in told
    for mode, offset in (("Q", 7), ("K", 7), ("V", 0)):
        want = composition(model, mode, offset)
        rows = feeding[feeding["by"] == mode]
        assert rows["composition"].max() == pytest.approx(float(want.scores[:2, :, 2, 1].max()), abs=1e-5)
        layer, head = map(int, rows["feeder"].iloc[0].split("."))
        assert rows["z"].iloc[0] == pytest.approx(float(want.z[layer, head, 2, 1]), abs=1e-4)
    best = feeding[feeding["by"] == "K"].iloc[0]
    assert "stands δ = 7 tokens before its query" in shown
    assert f"By K, head {best['feeder']} feeds it most" in shown
    fed = next(line for line in out.getvalue().splitlines() if line.startswith("K-composition")).split()
    assert float(fed[1]) == pytest.approx(best["composition"], abs=1e-5)
    assert (fed[2] == "True") is ("chance, more than the best of 8 earlier heads" in shown)
    assert shown.count("Not computed because") == 1
    assert "Not shown: when it was born." in shown


def test_every_instrument_has_a_row_with_the_numbers_of_measure(tiny, model):
    at = tiny(layer="2", head="1", n="8", seqs="16", seed="3")
    fine(at)
    table = instruments_of(at)
    assert table["link"].tolist() == [link for link, group in by_link().items() for _ in group]
    sample = repeats(repeated_tokens(model, 8, 16, 3, model.bos.prepend))
    quick = [one for one in INSTRUMENTS if one.title in table.index[table["rank"].notna()]]
    assert {"feeder_k", "prefix_matching", "ablation_zero", "direct_effect"} <= {one.name for one in quick}
    scores = measure(model, quick, [sample])
    for one in quick:
        row, score = table.loc[one.title], scores[one.name]
        assert row["value"] == pytest.approx(float(score.score.mean[2, 1]), abs=1e-4), one.name
        verdict = "no test" if score.above is None else "above chance" if score.above[2, 1] else "within chance"
        assert (row["verdict"], row["n"]) == (verdict, score.score.n), one.name
        size = score.score.mean.abs() if one.scale == "two-sided" else score.score.mean
        higher = int((size > size[2, 1]).sum())
        assert row["rank"] == f"{higher + 1} of {int(size.isfinite().sum())}", one.name
    assert table["seed"].loc[["Induction", "Ablation, zero"]].tolist() == [3, 3]


def test_a_head_without_a_number_is_not_applicable(tiny):
    at = tiny(layer="0", head="1")
    fine(at)
    row = instruments_of(at).loc["Strongest feeder by K"]
    assert row["verdict"] == "not applicable"
    assert pd.isna(row["value"])
    assert pd.isna(row["rank"])


def test_what_takes_longer_is_measured_on_one_click():
    at = app_page("head", model="lens-2l", n="11").run()
    fine(at)
    before = instruments_of(at)
    waiting = before.index[before["verdict"].str.startswith("not yet, about")]
    assert list(waiting) == ["OV copying, full circuit", "OV copying, residual circuit"]
    next(one for one in at.button if one.label.startswith("Compute 2 more, about")).click().run()
    fine(at)
    after = instruments_of(at)
    assert after["value"].loc[waiting].notna().all()
    assert not any(one.label.startswith("Compute 2 more") for one in at.button)
    assert after["rank"].loc[waiting[0]].endswith("of 8")


def test_an_instrument_that_the_model_cannot_have_says_why():
    at = app_page("head", model="lens-1l").run()
    fine(at)
    assert instruments_of(at).loc["Strongest feeder by K", "verdict"] == "it needs 2 layers and this model has 1"


def test_with_nothing_chosen_the_strongest_induction_head_is_shown(tiny, model):
    at = tiny()
    fine(at)
    mean = head_scores(model, repeated_tokens(model, 6, 4, 0, model.bos.prepend))["induction"].score.mean
    layer, head = map(int, np.unravel_index(int(mean.argmax()), mean.shape))
    assert (at.number_input(key="view:layer").value, at.number_input(key="view:head").value) == (layer, head)
    assert not any("Strongest induction head" in one.label for one in at.button)


def test_the_last_pin_is_shown_before_the_strongest_head(tiny):
    at = tiny(pins="1.2,2.3")
    assert (at.number_input(key="view:layer").value, at.number_input(key="view:head").value) == (2, 3)
    at = tiny(pins="1.2,2.3", layer="0", head="1")  # and the selected one before all
    assert (at.number_input(key="view:layer").value, at.number_input(key="view:head").value) == (0, 1)


def test_head_zero_can_be_chosen_by_hand_and_its_address_keeps_it(tiny):
    at = tiny(layer="1", head="0")
    at.number_input(key="view:layer").set_value(0).run()
    fine(at)
    assert (at.query_params["layer"], at.query_params["head"]) == ("0", "0")
    assert at.number_input(key="view:layer").value == 0
    shown = fine(tiny(layer="0", head="0"))
    assert "Head 0.0." in shown
    assert "Not computed because no head is in an earlier layer than layer 0." in shown
    at.number_input(key="view:layer").set_value(2).run()
    assert (at.query_params["layer"], at.query_params["head"]) == ("2", "0")


def test_pin_and_the_way_back_to_the_strongest(tiny):
    at = tiny(layer="1", head="3")
    next(one for one in at.button if one.label == "Pin 1.3").click().run()
    assert at.query_params["pins"] == "1.3"
    next(one for one in at.button if one.label == "Unpin 1.3").click().run()
    assert "pins" not in at.query_params


@pytest.mark.parametrize("prompt", ["", "   "])
def test_an_empty_prompt_leaves_the_other_links(tiny, prompt):
    at = tiny(prompt=prompt, layer="1", head="1")
    shown = fine(at)
    assert "The prompt is empty" in at.info[0].value
    assert "no prompt" in shown
    assert len(at.dataframe) == 2


def test_one_token_and_hostile_prompts(tiny):
    at = tiny(prompt="a", bos="off")
    fine(at)
    assert "one token" in at.info[0].value
    assert "<img" not in fine(tiny(prompt=HOSTILE))
    assert "showing the first 64" in fine(tiny(prompt="qzx" * 25))


def test_a_head_that_does_not_exist_becomes_one_that_does(tiny):
    at = tiny(layer="77", head="1", seed="-1", radius="?")
    shown = fine(at)
    for sentence in ("Layer 77 does not exist", "Radius must be one of", "outside 0 to"):
        assert sentence in shown


def test_a_model_without_learned_positions_or_mlp(tmp_path, tokenizer):
    toys.new_repository(tmp_path / "toy", len(tokenizer))
    tokenizer.save_pretrained(tmp_path / "toy")
    assert "feeds it most" in fine(opened(tmp_path / "toy", layer="1", head="2"))


def test_where_the_attention_goes_is_said_from_the_pattern():
    pattern = np.array([[1, 0, 0], [0.5, 0.5, 0], [0.1, 0.7, 0.2]])
    told, finding = words(pattern, ["<s>", "a", "b"], "1.2")
    assert "Over 2 queries head 1.2 gives 0.30 of its attention to the first token (0.42" in told
    assert "from b to a, positions 2 and 1 of the prompt: 0.70" in told
    assert finding.words == "0.30 to the first token, else most to a"


def test_the_summary_names_what_is_missing():
    found = {"scores": Finding("0.9", "found"), "matters": Finding("not computed yet", "later")}
    assert page.summary((1, 2), found) == "Head 1.2. scores: 0.9. Not shown: whether it matters."
    assert page.summary((1, 2), {"scores": Finding("0.9")}) == "Head 1.2. scores: 0.9."


def test_the_last_link_says_when_the_head_of_a_shipped_model_was_born():
    at = app_page("head").run()
    shown = fine(at)
    assert 'class="found" data-step="7"' in shown
    assert re.search(
        r"was born between 1\.84M? (tokens )?and 2\.05M tokens", " ".join(element.value for element in at.markdown)
    )
    assert "Not shown" not in shown
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(at.code[0].value, {})
    below, above = map(int, out.getvalue().splitlines()[-1].removeprefix("born ").split())
    run = checkpoints("lens-2l")
    assert [checkpoint_name(run, place) for place in (below, above)] == ["1.84M tokens", "2.05M tokens"]


def test_its_first_link_can_read_the_repeat_that_the_others_measure_on(tiny):
    at = tiny(layer="2", head="1", reads="repeat")
    shown = fine(at)
    assert "Head 2.1 reads 6 random tokens, then the same 6 again." in shown
    assert "of its attention to the first token (" not in shown, "no prompt is drawn"
    links = {link.proto.label: link.proto.query_string for link in at.get("page_link")}
    assert "reads=repeat" in links["Attention of 2.1"]


def test_a_head_that_a_source_describes_wears_its_name():
    at = app_page("head", model="planted-redundant", layer="1", head="2").run()
    fine(at)
    name = "induction, one of twins (planted)"
    badges = [one.value for one in at.markdown if name in one.value]
    assert len(badges) == 1
    other = app_page("head", model="planted-redundant", layer="0", head="0").run()
    assert not any("(planted)" in one.value for one in other.markdown)
