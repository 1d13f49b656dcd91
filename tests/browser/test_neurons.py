"""The Neurons page in a real browser: CircuitsVis views offline, a hostile prompt, contexts, both themes."""

from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import REAL, ready

HOSTILE = "</script><img src=x onerror=alert(1)>"
SMALL = f"model={REAL}&block=3&neuron=11&texts=4&length=32"


def test_the_three_views_of_circuitsvis_are_drawn_and_a_hostile_prompt_is_text(server, page):
    for query in ("", "&shown=layer", "&contexts=tokens"):
        page.goto(f"{server}/neurons?{SMALL}{query}&prompt={quote(HOSTILE)}")
        ready(page)
        for view in page.locator(".lens-circuits").all():
            expect(view.locator("> div *").first).to_be_attached()
        assert page.locator("img[src=x]").count() == 0


def test_contexts_come_by_tenth(server, page):
    page.goto(f"{server}/neurons?{SMALL}")
    ready(page)
    expect(page.locator("[data-testid=stHtml] .lens-strip")).to_have_count(12)
    page.get_by_text("By tenth", exact=True).click()
    page.wait_for_url("**contexts=deciles*")
    expect(page.get_by_text("10th (highest) tenth")).to_be_visible()
    expect(page.locator("[data-testid=stHtml] .lens-strip")).to_have_count(20)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_text_comes_first_and_fits_a_small_screen(server, new_page, scheme):
    page = new_page(color_scheme=scheme)
    page.set_viewport_size({"width": 1400, "height": 900})
    page.goto(f"{server}/neurons?{SMALL}")
    ready(page)
    assert page.locator(".lens-circuits").first.bounding_box()["y"] <= 260
    page.screenshot(path=f"screenshots/neurons-{scheme}.png", full_page=True)
    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    ready(page)
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390
