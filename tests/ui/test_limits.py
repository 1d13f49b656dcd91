"""What one visitor may ask for: a hosted app allows less of everything, and addresses that ask for more are cut."""

import pytest

from lens.ui.fields import common_fields, parse
from lens.ui.limits import AT_HOME, HOSTED, Limits, limits
from lens.ui.models import model_problem
from lens.ui.pages.model.works import hosted_words
from lens.ui.waiting import place_words
from tests.ui.conftest import app_page, bound

ALIKE = ("hosted", "results_kept", "ask_before")  # of the server or of the visitor's patience, not of a request


@pytest.mark.parametrize("name", [name for name in Limits._fields if name not in ALIKE])
def test_a_hosted_visitor_may_ask_for_less(name):
    assert 0 < getattr(HOSTED, name) < getattr(AT_HOME, name)


@pytest.mark.parametrize(
    ("name", "asked", "kept"),
    [
        ("prompt", "a" * 5000, "a" * HOSTED.prompt_chars),
        ("with_prompt", "a" * 5000, "a" * HOSTED.prompt_chars),
        ("pins", ",".join(f"0.{head}" for head in range(20)), tuple((0, head) for head in range(HOSTED.pins))),
        ("seqs", "10000", 16),
    ],
)
def test_an_address_that_asks_for_too_much_is_cut_and_says_so(name, asked, kept):
    values, notes = parse(common_fields(HOSTED), {name: asked})
    assert values[name] == kept
    assert notes


def test_the_environment_decides(monkeypatch):
    assert limits() == AT_HOME
    monkeypatch.setenv("LENS_HOSTED", "1")
    assert limits() == HOSTED
    words = hosted_words()
    for words_of in ("256 tokens", "32 random", "64 checkpoints", "16 pairs", "60 written tokens", "500 kB"):
        assert words_of in words


def test_hosted_no_model_of_a_stranger_is_opened(monkeypatch):
    monkeypatch.setenv("LENS_HOSTED", "1")
    for name in ("someone/some-model", "local:folder", "pythia-6.9b"):
        assert model_problem(name)
    assert model_problem("lens-2l") == ""


def test_hosted_a_long_prompt_is_read_in_part(monkeypatch):
    monkeypatch.setenv("LENS_HOSTED", "1")
    at = app_page("predictions", prompt="a b c " * 240, new="10000").run()
    assert not at.error
    assert bound(at.text_area, "prompt").value == ("a b c " * 240)[: HOSTED.prompt_chars]


@pytest.mark.parametrize(
    ("ahead", "seconds", "words"),
    [
        (2, 12.4, "In the queue, 2 before you, your turn in about 12 s"),
        (1, 0.2, "In the queue, 1 before you, your turn in about 1 s"),
        (3, 0.0, "In the queue, 3 before you"),
    ],
)
def test_the_place_in_the_queue_comes_with_an_estimate_where_one_is_known(ahead, seconds, words):
    assert place_words(ahead, seconds) == words
