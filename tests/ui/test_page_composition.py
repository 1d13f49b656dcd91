"""The Composition page: numbers against the analysis itself, odd addresses, models without pairs, its Python."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from lens import HookedTransformer
from lens.analysis.composition import composition, virtual_weights
from lens.analysis.head_scores import head_scores
from lens.analysis.prefix_matching import prefix_matching
from lens.analysis.random_tokens import repeated_tokens
from tests.families.variants import VARIANTS
from tests.helpers import hf_gpt2, hf_llama
from tests.load.models import save
from tests.ui.conftest import fine, local

HOSTILE = "</script><img src=x onerror=alert(1)>"
SMALL = {"n": "10", "seqs": "4"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tokenizer) -> dict[str, Path]:
    """Models of three layers of four heads by name, and one of a single layer."""
    made = {
        "llama": hf_llama(vocab_size=len(tokenizer), num_key_value_heads=2, max_position_embeddings=90),
        "gpt2": hf_gpt2(vocab_size=len(tokenizer), n_positions=90),
        "one": hf_gpt2(vocab_size=len(tokenizer), n_positions=90, n_layer=1),
    }
    return {name: save(model, tmp_path_factory.mktemp("model") / name, tokenizer) for name, model in made.items()}


@pytest.fixture
def page(folders):
    """``page("llama", mode="Q", ...)``: the page with that model open, run once."""

    return lambda name, **query: local("composition", folders[name], **(SMALL | query)).run()


def opened(folders, name):
    return HookedTransformer.from_pretrained(str(folders[name]))


def feeders(at: AppTest):
    return next(table.value for table in at.dataframe if "previous token" in table.value.columns)


@pytest.mark.parametrize("mode", ["Q", "K", "V"])
def test_the_feeders_are_those_of_the_analysis(page, folders, mode):
    at = page("llama", mode=mode, pins="2.1", weights="raw")
    fine(at)
    model = opened(folders, "llama")
    want = composition(model, mode, 9, "raw")
    previous = head_scores(model, repeated_tokens(model, 10, 4, 0, model.bos.prepend))["previous"].score.mean
    table = feeders(at)
    assert len(table) == 8
    assert (np.diff(table["score"]) <= 0).all()
    for _, row in table.iterrows():
        layer, head = map(int, row["head"].split("."))
        assert row["score"] == pytest.approx(want.scores[layer, head, 2, 1].item(), abs=1e-6)
        assert row["− null"] == pytest.approx(row["score"] - want.null, abs=1e-6)
        assert row["z"] == pytest.approx(want.z[layer, head, 2, 1].item(), abs=1e-4)
        assert row["previous token"] == pytest.approx(previous[layer, head].item(), abs=1e-6)


def test_without_a_pin_the_strongest_pair_is_shown_and_its_python_says_the_same(page, folders):
    at = page("llama")
    shown = fine(at)
    found = composition(opened(folders, "llama"), "K", 9)
    best = found.scores.nan_to_num().max().item()
    assert feeders(at)["score"][0] == pytest.approx(best, abs=1e-6)
    assert f"with {best:.2f}" in shown
    assert at.query_params == {"model": "local:llama", **SMALL}
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(at.code[0].value, {})
    assert float(out.getvalue().replace("tensor(", "").split(")")[0]) == pytest.approx(best, abs=1e-4)


def test_the_sender_is_chosen_and_stands_in_the_address(page, folders):
    at = page("llama", pins="2.3", sender="0.2", more="virtual", mode="V")
    shown = fine(at)
    assert at.selectbox(key="view:sender").value == "0.2"
    assert "0.2 → 2.3 through V" in shown
    virtual = virtual_weights(opened(folders, "llama"), (0, 2), (2, 3), "V")
    share = (virtual.S[0] ** 2 / (virtual.S**2).sum()).item()
    assert at.dataframe[-1].value.iloc[0, 1] == pytest.approx(share, abs=1e-4)
    at.selectbox(key="view:sender").select("1.1").run()
    assert at.query_params["sender"] == "1.1"
    assert "1.1 → 2.3 through V" in fine(at)


def test_prefix_matching_is_beside_the_activation_score(page, folders):
    at = page("llama", more="prefix", mode="V", turn="chosen", offset="3")
    shown = fine(at)
    model = opened(folders, "llama")
    scores = head_scores(model, repeated_tokens(model, 10, 4, 0, model.bos.prepend))
    want = prefix_matching(model, scores["previous"].score.mean, 3).score
    best = want.nan_to_num(-9).flatten().argmax().item()
    assert f"From weights the strongest is {best // 4}.{best % 4}" in shown
    assert "and induction scores order the heads alike is not said: 8 heads; a verdict needs at least 16" in shown
    assert "that the farthest of 8 heads reaches by chance" in shown
    assert "Permuted" not in shown
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(at.code[0].value, {})
    score, z, reach = map(float, out.getvalue().splitlines()[-1].split())
    found = prefix_matching(model, scores["previous"].score.mean, 3)
    assert (score, z) == pytest.approx((want.flatten()[best].item(), found.z.flatten()[best].item()), abs=1e-4)
    assert reach == pytest.approx(found.reach)


@pytest.mark.parametrize("more", ["graph", "virtual", "prefix", "table"])
@pytest.mark.parametrize("shown", ["null", "score", "z"])
def test_every_view_of_a_model_without_rotary_positions(page, more, shown):
    at = page("gpt2", more=more, shown=shown, mode="Q")
    assert "lens-line notice" in fine(at)
    assert "view:turn" not in [box.key for box in at.selectbox]


def test_turning_the_query_changes_the_scores_and_says_so(page):
    tables = [feeders(page("llama", turn=turn, pins="2.1", mode="K"))["score"] for turn in ("ignored", "next")]
    assert not np.allclose(*tables, atol=1e-4)
    assert "Rotation ignored (δ = 0)" in fine(page("llama", turn="ignored"))
    assert "Offset 5000 is outside 0 to 89" in fine(page("llama", turn="chosen", offset="5000"))


def test_a_head_of_layer_0_has_no_feeders_and_a_head_that_does_not_exist_is_said(page):
    shown = fine(page("llama", pins="0.1", more="virtual"))
    assert "Head 0.1 stands in layer 0: no head is earlier" in shown
    assert "head 0.1 has no earlier head to be fed by" in shown
    assert "this model has no head 9.9" in fine(page("llama", pins="9.9")).replace("This", "this")
    shown = fine(page("llama", pins="1.1", sender="2.0"))
    assert "2.0 is no head before 1.1: showing its strongest feeder" in shown


def test_a_model_of_one_layer_says_that_there_are_no_pairs(page):
    assert "has one layer, so there is no pair" in fine(page("one"))


def test_normalised_queries_leave_only_values(tmp_path, tokenizer):
    folder = save(VARIANTS["qwen3"](), tmp_path / "qwen3")
    for mode in ("K", "V"):
        shown = fine(local("composition", folder, mode=mode, more="prefix", **SMALL).run())
        assert "this model normalises queries and keys" in shown
        assert ("V-composition over 48 pairs" in shown) is (mode == "V")


def test_bad_values_become_defaults_with_notes_and_a_hostile_prompt_is_text(page):
    at = page("llama", mode="X", shown="y", turn="?", sender="a.b", edges="0", more="w", prompt=HOSTILE)
    shown = fine(at)
    for sentence in ("Mode must be one of", "Sender are written like", "Edges 0 is outside"):
        assert sentence in shown
    assert "<img" not in shown
    assert at.query_params == {"model": "local:llama", "prompt": HOSTILE, **SMALL}
