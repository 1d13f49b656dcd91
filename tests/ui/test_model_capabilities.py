"""The capability card: every rule holds somewhere, names its page, and follows from the structure alone."""

import pytest

from lens.config import Config
from lens.ui.menu import MENU
from lens.ui.pages.model.works import RULES, Subject, capabilities, hosted_words, n_checkpoints
from tests.analysis.shaken import GROUPED, SIZES, make_model
from tests.families.variants import VARIANTS
from tests.helpers import in_lens


def subject(has_tokenizer: bool = True, has_bos: bool = True, checkpoints: int | None = 0, **sizes) -> Subject:
    return Subject(Config(**(SIZES | sizes)), has_tokenizer, "it came without one", has_bos, checkpoints)


def card(*args, **sizes) -> dict:
    return {one.page: one for one in capabilities(subject(*args, **sizes))}


def test_every_page_of_the_menu_is_on_the_card_and_every_rule_is_about_one():
    titles = {page.title for page in MENU}
    assert set(card()) == titles
    assert all(set(rule.pages) <= titles for rule in RULES)


def test_a_plain_model_does_everything_but_training():
    found = card()
    assert {one.page for one in found.values() if one.state != "good"} == {"Training dynamics"}
    assert found["Attention"].reasons == ()
    assert card(checkpoints=154)["Training dynamics"].state == "good"
    assert card(checkpoints=None)["Training dynamics"].state == "part"


def test_attention_only_models_list_no_mlps():
    found = card(d_mlp=0)
    assert found["Patching"].state == "good"
    assert found["Patching"].reasons == ("no MLPs: only heads and embeddings are listed",)


def test_without_a_tokenizer_only_what_needs_no_text_is_left():
    found = card(has_tokenizer=False)
    assert found["Attention"].reasons == ("no text can be read: it came without one",)
    assert found["Head scores"].state == "part"
    assert found["OV copying"].state == "good"


@pytest.mark.parametrize(
    ("sizes", "page", "state", "words"),
    [
        ({"n_layers": 1}, "Composition", "bad", "no earlier head"),
        (GROUPED, "Patching", "good", "2 query heads share keys and values"),
        ({"qk_norm": "head"}, "Composition", "part", "q and k are normalised"),
        ({"post_norm": True}, "OV copying", "part", "a norm follows what a head writes"),
        ({"embed_norm": True}, "OV copying", "part", "normalised before layer 0"),
        ({"clip_qkv": 0.8}, "OV copying", "part", "cut at ±0.8"),
        ({"norm": None}, "Composition", "good", "not folded: the model has no norms"),
        ({"positions": "shortformer"}, "OV copying", "good", "not folded: positions are added after the norm"),
        ({"attn_softcap": 50.0}, "Composition", "good", "capped at 50"),
        ({"parallel": True}, "Patching", "good", "no resid_mid"),
        ({"windows": (None, 5, 9)}, "Head scores", "good", "only 5 tokens back"),
    ],
)
def test_a_structure_says_what_it_means_for_a_page(sizes, page, state, words):
    found = card(**sizes)[page]
    assert found.state == state
    assert any(words in reason for reason in found.reasons), found.reasons


def test_every_rule_holds_somewhere_and_not_everywhere():
    subjects = [
        subject(),
        subject(has_tokenizer=False, d_mlp=0),
        subject(has_bos=False, checkpoints=None, n_layers=1),
        subject(checkpoints=3, mlp_norm=True, norm=None),
        *(Subject(in_lens(VARIANTS[name]()).cfg, True, "", True, 0) for name in ("gemma2", "qwen3", "bloom", "phi")),
        subject(clip_qkv=0.5),
    ]
    for rule in RULES:
        held = {rule.holds(one) for one in subjects}
        assert held == ({True} if rule.pages == ("Method",) else {True, False}), rule.reason


def test_checkpoints_of_a_name_are_counted_offline():
    model = make_model()
    for name, count in (("pythia-70m", 154), ("ATTN-ONLY-2L", 163), ("gelu-1l", None), ("gpt2", 0), ("mine", 0)):
        model.name = name
        assert n_checkpoints(model) == count, name


def test_a_hosted_app_says_its_limits(monkeypatch):
    assert hosted_words() == ""
    monkeypatch.setenv("LENS_HOSTED", "1")
    assert "up to 1.6 billion weights; prompts of 256 tokens, 32 random sequences" in hosted_words()
