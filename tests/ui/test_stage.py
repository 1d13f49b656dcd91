"""A page on stage: the figure large, one notice as the subtitle, and the way back to the same state."""

import re

import pytest

from lens.figures.paper import larger
from tests.figures.test_paper import figure
from tests.ui.test_embed import opened


def html(at) -> str:
    """All HTML that the page drew, links and all."""
    return "\n".join(element.proto.body for element in at.get("html"))


@pytest.mark.parametrize("page", ["head_scores", "attention", "training_dynamics", "method"])
def test_on_stage_stand_the_question_one_subtitle_and_the_way_back(page):
    at = opened(page, False, model="lens-2l", layer="1", head="1", stage="1")
    assert not at.exception
    drawn = html(at)
    assert len(re.findall('class="lens-subtitle"', drawn)) == 1
    assert 'class="lens-line' not in drawn
    assert not at.get("download_button")
    assert not [area for area in at.text_area if area.label == "Prompt"]
    (back,) = re.findall('id="lens-stage-off" href="([^"]*)"', drawn)
    assert back.startswith(f"/{page}?")
    assert "layer=1" in back
    assert "stage" not in back


def test_at_a_desk_nothing_of_the_stage_is_there_but_the_way_to_it():
    drawn = html(opened("head_scores", False))
    assert 'class="lens-subtitle"' not in drawn
    assert re.search('class="lens-to-stage"><a class="lens-go" href="/head_scores[^"]*stage=1"', drawn)


def test_another_word_for_the_stage_is_refused_in_a_sentence():
    drawn = html(opened("head_scores", False, stage="<b>"))
    assert "Stage must be 1 or nothing, not &#x27;&lt;b&gt;&#x27;" in drawn
    assert 'class="lens-subtitle"' not in drawn


def test_letters_and_room_grow_together_and_nothing_else_changes():
    one = figure()
    two = larger(one, 2.0)
    assert two.layout.font.size == 2 * one.layout.font.size
    assert two.layout.title.subtitle.font.size == 2 * one.layout.title.subtitle.font.size
    assert (two.layout.height, two.layout.margin.t) == (2 * one.layout.height, 2 * one.layout.margin.t)
    assert two.layout.title.text == one.layout.title.text
    assert two.data[0].to_plotly_json() == one.data[0].to_plotly_json()
    high = larger(figure(height=600, width=500), 2.0)
    assert (high.layout.height, high.layout.width) == (680, 500 * 680 / 600)
    assert larger(figure(height=900), 2.0).layout.height == 900
    assert larger(one, 1.0).layout.to_plotly_json() == one.layout.to_plotly_json()
