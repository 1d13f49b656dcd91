"""The page of the talk: its list, its slides over the window, and files that are no talk."""

import xml.etree.ElementTree as ET

from lens.decks import read_deck, shipped
from lens.ui.pages.deck import qr
from tests.ui.conftest import fine, html
from tests.ui.test_embed import opened


def test_the_list_names_every_slide_and_its_view():
    at = opened("deck", False)
    fine(at)
    rows = at.dataframe[0].value
    deck = read_deck(shipped()["chain"].read_text(encoding="utf-8"), {slide.split("?")[0] for slide in rows["view"]})
    assert list(rows["view"]) == [slide.link for slide in deck.slides]
    assert [button.label for button in at.button if button.label == "Start"] == ["Start"]


def test_a_slide_that_is_not_there_is_said_and_the_last_one_is_the_start():
    assert "slide 50 is outside 1 to 7 here: showing 7" in html(opened("deck", False, slide="50")).lower()
    assert "there is no deck &#x27;x&#x27; here: showing chain" in html(opened("deck", False, deck="x")).lower()


def test_a_code_holds_its_address_and_too_long_a_one_has_none():
    assert ET.fromstring(qr.svg("http://localhost:8501/attention?layer=1")).tag.endswith("svg")
    assert qr.svg("http://localhost/" + "x" * 4000) == ""


def test_a_file_that_is_no_deck_is_a_sentence_and_the_deck_stays():
    at = opened("deck", False)
    at.file_uploader[0].set_value(("talk.json", b'{"slides": [{"link": "//evil", "title": "x"}]}', "application/json"))
    at.run()
    (error,) = [error.value for error in at.error]
    assert error.startswith("talk.json: slide 1: a link is a page of this app")
    assert len(at.dataframe[0].value) == 7
