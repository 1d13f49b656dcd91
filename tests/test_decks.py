"""Decks: what is read, what is refused, and that those which come with Lens can be shown."""

import json

import pytest

from lens.__main__ import main
from lens.decks import MOST_SLIDES, Deck, Slide, read_deck, shipped, write_deck
from lens.ui.menu import MENU
from lens.ui.pages.deck.check import check

PAGES = {page.path for page in MENU} - {"deck"}
DECK = Deck("A talk", (Slide("attention?layer=1&prompt=a%26b", "It attends", "say this", "where?"), Slide("", "Home")))


def text(*slides: object, **rest: object) -> str:
    return json.dumps({"title": "A talk", "slides": list(slides)} | rest)


def test_a_deck_reads_back_as_it_was_written():
    assert read_deck(write_deck(DECK), PAGES) == DECK
    assert (DECK.slides[0].page, DECK.slides[0].query) == ("attention", {"layer": "1", "prompt": "a&b"})


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/attention", "//evil.example/attention", "javascript:alert(1)", "attention#x", "../secret",
        "deck", "nopage", "/tokens/../deck", "data:text/html,x",
    ],
)  # fmt: skip
def test_a_link_leads_to_a_page_of_this_app_and_nowhere_else(link):
    with pytest.raises(ValueError, match="slide 1: a link is a page of this app"):
        read_deck(text({"link": link, "title": "x"}), PAGES)


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("no json", "a deck is a JSON file"),
        ("[]", "with at least one slide"),
        (text(), "with at least one slide"),
        (text("attention"), "slide 1 must be an object"),
        (text({"title": "x"}), "slide 1 has no link"),
        (text({"link": "tokens"}), "slide 1 has no title"),
        (text({"link": "tokens", "title": "x", "colour": "red"}), "slide 1 has colour; it may have link"),
        (text({"link": "tokens", "title": "x", "note": 3}), "slide 1: note must be text"),
        (text({"link": "tokens", "title": "x" * 200}), "title must be text of at most 120"),
        (text({"link": "tokens", "title": "x"}, title=3), "the deck's title must be text"),
        (text(*[{"link": "tokens", "title": "x"}] * (MOST_SLIDES + 1)), "at most 100 slides; this one has 101"),
    ],
)
def test_what_is_no_deck_is_said_in_a_sentence(file, why):
    with pytest.raises(ValueError, match=why):
        read_deck(file, PAGES)


@pytest.mark.parametrize("name", shipped())
def test_a_deck_that_comes_with_lens_is_one(name):
    deck = read_deck(shipped()[name].read_text(encoding="utf-8"), PAGES)
    assert deck.title
    assert all(slide.query["model"] for slide in deck.slides)


def test_the_chain_has_a_slide_for_each_link_in_order():
    from lens.ui.menu import page_of
    from lens.ui.shared.chain.link import LINKS

    deck = read_deck(shipped()["chain"].read_text(encoding="utf-8"), PAGES)
    assert [slide.page for slide in deck.slides] == [page_of(link.page).path for link in LINKS]


def test_a_check_finds_what_cannot_be_shown():
    good = check(Slide("head_scores?model=lens-2l", "It scores"))
    assert good.problems == ()
    assert good.contrast.value >= 4.5
    (missing,) = check(Slide("head_scores?model=gpt2", "not here")).problems
    assert "Download gpt2" in missing or "gpt2" in missing
    (bad,) = check(Slide("head_scores?model=lens-2l&n=banana", "a value that is none")).problems
    assert "n must be a whole number, not 'banana'" in bad.lower()


def test_the_command_says_what_is_no_deck(tmp_path, capsys):
    file = tmp_path / "talk.json"
    file.write_text(text({"link": "nopage", "title": "x"}))
    with pytest.raises(SystemExit) as ended:
        main(["deck", "check", str(file)])
    assert ended.value.code == 2
    assert "slide 1: a link is a page of this app" in capsys.readouterr().err
