"""What the pages about weights say to odd models and bad input: no W_pos, no such head or token, normed queries."""

import pytest

from tests.families.variants import BLOOM_SIZE, VARIANTS, tiny
from tests.load.models import save
from tests.ui.conftest import fine, local

FEW = {"n": "5", "seqs": "3"}
PAGES = ("ov_copying", "composition", "head")


@pytest.fixture(scope="module")
def bloom(tmp_path_factory):
    """A model of three layers of four heads that knows positions by a bias on scores only, without a tokenizer."""
    return save(VARIANTS["bloom"](), tmp_path_factory.mktemp("model") / "bloom")


def test_a_model_without_positions_in_its_stream_is_told_so(bloom):
    at = local("ov_copying", bloom, more="match", **FEW).run()
    shown = fine(at)
    assert "this model has no W_pos, and its bias by distance is left out of the first" in shown
    assert "Distance" not in [box.label for box in at.number_input]
    shown = fine(local("composition", bloom, more="prefix", **FEW).run())
    assert "K-composition over 48 pairs" in shown
    assert "From weights the strongest is" in shown
    shown = fine(local("head", bloom, layer="2", head="1", **FEW).run())
    assert "feeds it most" in shown
    assert "tokens before its query" not in shown


@pytest.mark.parametrize("page", PAGES)
def test_a_head_that_does_not_exist_is_answered_with_a_sentence(bloom, page):
    shown = fine(local(page, bloom, layer="99", head="98", pins="9.9", **FEW).run())
    assert "Layer 99 does not exist in this model (3 layers): showing layer 0" in shown
    assert "Head 98 does not exist in this model (4 heads a layer): showing head 0" in shown
    assert "no head 9.9 (3 layers of 4 heads): unpinned" in shown


def test_an_id_outside_the_vocabulary_becomes_one_inside(bloom):
    at = local("ov_copying", bloom, token="5000", **FEW).run()
    assert "Token 5000 is outside 0 to 112 here: showing 112" in fine(at)
    assert at.query_params["token"] == "112"


def test_what_is_not_one_token_is_answered_with_its_tokens(tmp_path, tokenizer):
    folder = save(tiny("Bloom", BLOOM_SIZE, vocab_size=len(tokenizer))(), tmp_path / "bloom", tokenizer)
    for attended, told in (
        ("☃", "☃ is 3 tokens (⟨e2⟩ | ⟨98⟩ | ⟨83⟩)"),
        ("\x00\x00", "⟨00⟩⟨00⟩ is 2 tokens (⟨00⟩ | ⟨00⟩)"),
    ):
        shown = fine(local("ov_copying", folder, attended=attended, **FEW).run())
        assert f"Not computed because {told}; a row needs exactly one" in shown


def test_models_that_norm_or_cut_queries_and_keys_say_what_that_means(tmp_path):
    normed, cut = (save(VARIANTS[name](), tmp_path / name) for name in ("qwen3", "mpt-clip-six-heads"))
    shown = fine(local("ov_copying", normed, more="match", **FEW).run())
    assert "Not computed because this model normalises queries and keys" in shown
    at = local("head", normed, layer="1", head="1", **FEW).run()
    assert "no tokenizer, no prompt" in fine(at)
    assert any(caption.value.startswith("Q and K: not computed because this model") for caption in at.caption)
    shown = fine(local("ov_copying", cut, more="match", **FEW).run())
    assert "Queries, keys and values are cut off at ±" in shown
    assert "matches equal tokens most" in shown
