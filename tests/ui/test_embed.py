"""One figure inside another page: nothing of the frame, and a snippet that says its address."""

import html as escaping
import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.ui.conftest import html

ROOT = Path(__file__).parents[2]


def opened(page: str, embedded: bool, **query: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / "pages" / f"{page}.py"), default_timeout=120)
    at.query_params.update(query)
    at.context["is_embedded"] = embedded
    return at.run()


@pytest.mark.parametrize("page", ["head_scores", "attention", "logit_lens", "ov_copying"])
def test_embedded_a_page_is_one_figure_with_its_model_and_a_way_back(page):
    at = opened(page, True, model="lens-2l")
    assert not at.exception
    drawn = html(at)
    assert len(re.findall('class="lens-embed"', drawn)) == 1
    assert "lens-2l@" in drawn
    assert 'target="_blank"' in drawn
    assert 'class="lens-title"' not in drawn
    assert not at.get("download_button")


def test_a_hostile_prompt_stays_text_in_the_snippet_and_in_the_way_back():
    hostile = '"></iframe><script>alert(1)</script>'
    at = opened("attention", False, prompt=hostile)
    (code,) = [block.value for block in at.code if block.value.startswith("<iframe")]
    assert code.count("<") == 2
    address = escaping.unescape(re.search('src="([^"]*)"', code)[1])
    assert "prompt=%22%3E%3C%2Fiframe" in address
    assert address.endswith("&embed=true")
    assert "<script>alert" not in html(opened("attention", True, prompt=hostile)).replace(hostile, "")


def test_without_being_embedded_nothing_changes():
    drawn = html(opened("head_scores", False))
    assert 'class="lens-title"' in drawn
    assert 'class="lens-embed"' not in drawn
