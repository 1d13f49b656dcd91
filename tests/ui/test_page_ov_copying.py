"""The OV copying page: numbers against the analysis, odd addresses and models, what is not one token, its Python."""

from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from lens import HookedTransformer
from lens.analysis.copying_on_data import CopyingScores
from lens.analysis.copying_on_text import copying_on_text
from lens.analysis.copying_verdicts import Side, by_weights
from lens.analysis.effective_ov import effective_ov
from lens.analysis.head_vocabulary import copying_accuracy, own_ranks_of
from lens.analysis.held_out import beginnings
from lens.analysis.instruments.induction import INDUCTION
from lens.analysis.ov_copying import Circuit, NullBand, null_band, null_scores_of, ov_copying, ov_cores
from lens.analysis.score_results import Samples, head_score
from lens.ui import estimate
from lens.ui.pages.ov_copying import CIRCUITS, TABS, together
from lens.ui.pages.ov_copying import data as ov_data
from lens.ui.pages.ov_copying import words as ov_words
from lens.ui.pages.ov_copying.null import ALL, BLOCK
from lens.ui.store import to_numpy
from tests.helpers import hf_gpt2
from tests.load import toys
from tests.load.models import save
from tests.ui.conftest import bound, fine, local, printed

HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def gpt2_folder(tmp_path_factory, tokenizer) -> Path:
    return save(hf_gpt2(vocab_size=len(tokenizer)), tmp_path_factory.mktemp("model") / "tiny-gpt2", tokenizer)


def opened(folder: Path, **query: str) -> AppTest:
    return local("ov_copying", folder, n="5", seqs="3", **query).run()


@pytest.fixture
def tiny(tiny_folder):
    """``tiny(more="table", ...)``: the page with the tiny model open, run once."""
    return lambda **query: opened(tiny_folder, **query)


def head_line(at: AppTest) -> str:
    """What is said about the head that is shown."""
    return next(element.value for element in at.caption if element.value.startswith("Head "))


def test_the_table_is_that_of_the_analysis(tiny, tiny_folder):
    at = tiny(more="table", embedding="first_mlp", seed="5", topk="7")
    shown = fine(at)
    model = HookedTransformer.from_pretrained(str(tiny_folder))
    want = ov_copying(model, "first_mlp")
    cores = ov_cores(model, "first_mlp").full
    blocks = [null_scores_of((start, start + BLOCK), cores, 5) for start in range(0, ALL, BLOCK)]
    band = null_band(torch.cat(blocks))
    rows = at.dataframe[0].value
    assert rows["full"].is_monotonic_decreasing
    rows = rows.sort_values(["layer", "index"])
    np.testing.assert_allclose(rows["full"], want.full.score.ravel(), atol=1e-4)
    np.testing.assert_allclose(rows["residual"], want.residual.score.ravel(), atol=1e-4)
    np.testing.assert_allclose(rows["null low"], band.low.ravel(), atol=1e-4)
    best = rows.loc[rows["rank"] == 1, "head"].item()
    assert f"The head that copies most is {best} with" in shown
    assert f"{band.n} rotations for each of 12 heads, seed 5" in shown
    assert "2 query heads share each W_V" in shown
    lines = printed(at.code[0].value).splitlines()
    top = rows[rows["rank"] == 1].iloc[0]
    assert float(lines[0]) == pytest.approx(top["full"], abs=1e-4)
    null = [float(end) for end in lines[1].split()]  # of the chosen seed
    assert null == pytest.approx([top["null low"], top["null high"]], abs=1e-4)
    assert float(lines[2]) == pytest.approx(top["in top k"], abs=1e-6)
    assert float(lines[3]) == pytest.approx(top["on text"], abs=1e-5)


@pytest.mark.parametrize("more", list(TABS))
@pytest.mark.parametrize("circuit", list(CIRCUITS))
def test_every_tab_of_both_circuits(tiny, more, circuit):
    at = tiny(more=more, circuit=circuit, weights="raw", radius="log", pins="1.2", layer="1", head="2", attended="e")
    shown = fine(at)
    assert shown.count("lens-line notice") >= 2
    assert head_line(at).startswith("Head 1.2:")


def test_the_table_has_text_and_top_k_beside_the_score(tiny, tiny_folder):
    at = tiny(more="table", topk="20", seed="2")
    shown = fine(at)
    model = HookedTransformer.from_pretrained(str(tiny_folder))
    batch = beginnings(model, 3, True, ov_data.LENGTH)
    effect = copying_on_text(model, batch.tokens, batch.mask)["text_share"].effect.mean
    rows = at.dataframe[0].value.sort_values(["layer", "index"])
    np.testing.assert_allclose(rows["on text"], effect.ravel(), atol=1e-5)
    for layer in range(3):
        ranks = own_ranks_of(layer, model, n_tokens=64, seed=2)
        accuracy = copying_accuracy(ranks, 20).share
        np.testing.assert_allclose(rows["in top k"][rows["layer"] == layer], accuracy, atol=1e-6)
    assert "Top-20 accuracy: head" in shown
    assert "No verdict on text: 3 chapters; a verdict needs at least 16." in shown
    assert "differ" not in rows
    bound(at.number_input, "topk").set_value(1).run()
    assert "Top-1 accuracy: head" in fine(at)
    assert at.query_params["topk"] == "1"


def test_text_beside_the_weights_of_the_pinned_head(tiny):
    at = tiny(more="data", on="text", pins="1.2", layer="1", head="2")
    shown = fine(at)
    assert "On text, 1.2 puts" in shown
    assert "No verdict on text: 3 chapters; a verdict needs at least 16." in shown
    assert "differ about it" not in shown
    assert "3 chapters, " in shown
    assert [metric.label for metric in at.metric][:1] == ["Share of the attended tokens, head 1.2"]


def test_a_model_without_a_tokenizer_reads_no_text(tmp_path):
    save(hf_gpt2(), tmp_path / "tiny")
    at = opened(tmp_path / "tiny", more="data", on="text")
    assert "Not computed because this model has no tokenizer, so it reads no text" in fine(at)
    at = opened(tmp_path / "tiny", more="table")
    assert "Repeats of random tokens need none: the column on text is missing" in fine(at)
    assert "on text" not in at.dataframe[0].value


def test_the_gaussian_reference_says_why_it_is_no_null(tiny):
    shown = fine(tiny(null="gaussian", embedding="first_mlp", more="scatter"))
    assert "For teaching only" in shown
    assert "inside one of the two bands and outside the other." in shown
    assert "of 8 heads and too narrow" in shown  # those of layer 0 read another embedding


def test_gpt2_and_raw_weights(gpt2_folder):
    shown = fine(opened(gpt2_folder, more="match", null="model", embedding="first_mlp"))
    assert "matches equal tokens most" in shown


def test_the_pinned_head_is_shown_else_the_one_that_copies_most(tiny):
    at = tiny(more="table")
    best = at.dataframe[0].value["head"][0]
    assert head_line(at).startswith(f"Head {best}:")
    assert head_line(tiny(pins="0.1,2.3")).startswith("Head 2.3:")


def test_a_row_of_one_token_and_of_none(tiny):
    at = tiny(attended="e")
    assert "If it attends to e it raises" in fine(at)
    assert len(at.dataframe) == 3
    at = tiny(attended="Mary went to")
    shown = fine(at)
    assert "Not computed because Mary·went·to is" in shown
    assert "a row needs exactly one" in shown
    assert "Type a token" in tiny(attended="").info[0].value
    assert "<img" not in fine(tiny(attended=HOSTILE, prompt=HOSTILE))


def test_bad_values_become_defaults_with_notes(tiny):
    at = tiny(circuit="x", embedding="y", weights="z", radius="?", more="w", pins="9.9", layer="99", seed="-1")
    shown = fine(at)
    for sentence in ("Circuit must be one of", "Radius must be one of", "no head 9.9", "Layer 99 does not exist"):
        assert sentence in shown
    assert at.query_params == {"model": "local:tiny", "n": "5", "seqs": "3"}


def test_an_empty_prompt_does_not_matter(tiny):
    assert "lens-line notice" in fine(tiny(prompt=""))


def test_the_stream_rotation_is_for_the_full_circuit(tiny):
    assert "offered for the full circuit only" in fine(tiny(circuit="residual", null="model"))


def test_an_attention_only_model_has_no_first_mlp(tmp_path, tokenizer):
    toys.new_repository(tmp_path / "toy", len(tokenizer))
    tokenizer.save_pretrained(tmp_path / "toy")
    at = opened(tmp_path / "toy", embedding="first_mlp", more="match")
    assert "so there is no first MLP to add" in fine(at)


def null(score: np.ndarray, own: float = 0.1, family: float = 0.3) -> ov_words.Null:
    """The same null for every head: its own central 95%, and the band of all heads."""
    ends = (torch.full(score.shape, end) for end in (-own, own, -family, family))
    band = NullBand(*ends, 3.0, 200)
    score = torch.from_numpy(score)
    return ov_words.Null(to_numpy(band), to_numpy(by_weights(score, score.abs().nan_to_num(0), band)))


def induction(score: list, threshold: float, n: int = 16):
    """Induction scores, the same on ``n`` sequences, whose control gives the threshold."""
    values = torch.tensor([score]).repeat(n, 1, 1)
    samples = Samples(values, torch.full_like(values, threshold), 0.1, n)
    return to_numpy(head_score(INDUCTION.kind("repeats"), samples, "sequences"))


def test_words_count_what_they_name():
    score = np.array([[0.5, 0.05], [-0.4, np.nan]])
    told = ov_words.grid_words(score, null(score))
    assert "copies most is 0.0 with 0.50" in told
    assert "lowest is 1.0 with −0.40" in told
    assert "1 head is idle" in told
    assert "1 of 3 heads copy and 1 write the opposite" in told
    assert "Outside the central 95% of their own are 2, where chance alone puts 0.18." in told
    weak = ov_words.grid_words(score / 2, null(score / 2))  # outside their own null, inside that of all heads
    assert "0 of 3 heads copy and 0 write the opposite" in weak
    assert "of their own are 2" in weak
    assert "not computed" in ov_words.grid_words(score, None)


def test_the_induction_heads_that_copy_are_named():
    score = np.array([[0.5, 0.05], [-0.4, 1.0]])
    found = [[0.9, 0.8], [0.7, 0.0]]
    told = ov_words.induction_words(score, null(score), induction(found, 0.1))
    assert "Of the 3 strongest induction heads, 1 copy by their weights: 0.0 (0.50). Not 0.1 (0.05), 1.0" in told
    assert "1.0 would even write the opposite" in told
    assert "none is there that could copy" in ov_words.induction_words(score, None, induction(found, 1.0))
    few = ov_words.induction_words(score, null(score), induction(found, 0.1, n=8))
    assert "Which heads are induction heads cannot be said: 8 sequences; a verdict needs at least 16." in few


def on_data(sign: list, idle: list, few: str = "", score: np.ndarray | None = None) -> ov_words.OnData:
    side = Side(np.array(sign), np.array(idle), few)
    differ = np.zeros_like(side.idle) if score is None else (side.sign != 0) & (score * side.sign < 0.1)
    return ov_words.OnData(CopyingScores(scores={}, missing={}, source="", seed=0, z=0, written=0), side, differ)


def test_verdicts_of_weights_and_text_are_compared_head_by_head():
    score = np.array([[0.5, 0.05], [-0.4, np.nan]])
    on = on_data([[1, 1], [0, 0]], [[False, False], [False, True]], score=score)
    told = ov_words.disagreements(null(score), on)
    assert told.startswith("Of 4 heads, 1 copy by their weights and 2 on text, 1 by both; 1 are idle.")
    assert told.endswith("About 1, text shows what the weights do not say.")
    assert "not compared" in ov_words.disagreements(None, on)
    few = on_data([[0, 0], [0, 0]], [[False] * 2] * 2, "3 chapters; a verdict needs at least 16")
    assert ov_words.disagreements(null(score), few) == ("No verdict on text: 3 chapters; a verdict needs at least 16.")


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ((0, 0), "It raises what it attends to more than rotations of all heads would; by its weights it copies."),
        ((0, 1), "Weights and data differ about it: it raises what it attends to more than"),
        ((1, 0), "It is not seen to raise or to lower what it attends to more than its control"),
        ((1, 1), "It is idle here: what it writes changes no prediction."),
    ],
)
def test_each_head_is_told_what_its_evidence_carries(head, told):
    score = np.array([[0.5, 0.05], [0.4, np.nan]])
    on = on_data([[1, 1], [0, 0]], [[False, False], [False, True]], score=score)
    said = ov_words.verdict(score, null(score), on, head, "what it attends to")
    assert said.startswith(told)
    assert ("by its weights it copies, which is no contradiction: it may not look there" in said) is (head == (1, 0))
    few = on._replace(side=on.side._replace(few="3 sequences"))
    assert ov_words.verdict(score, null(score), few, head, "what it attends to") == ""


def test_the_gaussian_band_is_compared_with_the_bands_of_the_heads():
    score = np.array([[0.5, 0.08], [0.15, np.nan]])
    found = Circuit(np.zeros((2, 2, 3)), score, score)
    own = {"low": np.array([[-0.1, -0.1], [-0.2, np.nan]]), "high": np.array([[0.1, 0.1], [0.2, np.nan]])}
    bands = null(score)
    bands = bands._replace(band=bands.band._replace(**own))
    told = ov_words.gaussian_words(found, bands, -0.15, 0.14, np.array([True, True]))
    assert "score −0.15 to 0.14" in told
    assert "bands are 0.20 to 0.40 wide, the Gaussian one 0.29. It is too wide for 2 of 3 heads" in told
    assert "; 1 head lies inside one of the two bands and outside the other." in told
    assert "of 2 heads" in ov_words.gaussian_words(found, bands, -0.15, 0.14, np.array([True, False]))
    assert "not compared" in ov_words.gaussian_words(found, None, -0.15, 0.14, np.array([True, True]))


def test_the_pinned_heads_together_are_those_of_the_analysis(tiny, tiny_folder):
    at = tiny(more="together", pins="1.2,2.0", seed="3")
    shown, model = fine(at), HookedTransformer.from_pretrained(str(tiny_folder))
    found = effective_ov(model, [(1, 2), (2, 0)], seed=3)
    rows = at.dataframe[0].value
    for k in found.ks:
        shares = found.accuracy(k)
        np.testing.assert_allclose(rows[f"top {k}"], shares.found.share)
        assert f"the best alone, {shares.best}," in shown
        assert shares.beside_rotations in shown
        assert f"top {k}, each alone, then the sum: {shares.found.share.tolist()}" in printed(at.code[0].value)
    judged = found.ks[0]  # one verdict for the set, not one for every k
    assert found.accuracy(judged).copies.reason in shown
    assert shown.count("chosen beforehand") == 1
    one = tiny(more="together", pins="1.2", layer="1", head="2")
    assert "chosen beforehand" not in fine(one)
    assert any("Fewer than two heads are pinned: 1.2 and " in caption.value for caption in one.caption)


def test_heads_that_the_page_picks_are_named_with_the_reason_for_each():
    score = np.array([[0.1, 0.9], [0.5, np.nan]])
    none = together.chosen_heads([], (1, 1), score)
    assert none.heads == ((1, 1), (0, 1))
    assert "1.1 is shown, 0.1 copies most." in none.why
    assert "0.1 is shown and copies most, 1.0 copies second most." in together.chosen_heads([], (0, 1), score).why
    pinned = together.chosen_heads([(0, 0)], (1, 0), score)
    assert "0.0 is pinned, 1.0 is shown and copies second most." in pinned.why
    assert together.chosen_heads([(0, 0), (1, 1)], (0, 1), score) == together.Chosen(((0, 0), (1, 1)))


def test_heads_together_wait_for_a_click_where_they_take_long(tiny, monkeypatch):
    fine(tiny(more="table"))  # the grid, which would wait as well
    monkeypatch.setattr(estimate, "CPU", 1e5)
    at = tiny(more="together", pins="1.1,2.1")
    assert "What 2 heads would copy together is not computed yet." in [block.value for block in at.markdown]
    assert any(button.label.startswith("Compute, about") for button in at.button)
