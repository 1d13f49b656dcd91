"""The Predictions page in a real browser: a token chosen, a text written beside its twin and stopped."""

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from lens.ui.fields import DEFAULT_MODEL
from tests.browser.conftest import REAL, ready

HOSTILE = "</script><img src=x onerror=alert(1)>"


def test_a_click_on_a_token_asks_what_is_next_there(server, page):
    page.goto(f"{server}/predictions")
    ready(page, DEFAULT_MODEL)
    page.locator(".lens-chips .lens-strip b").nth(4).click()
    page.wait_for_url("**/predictions?token=4")
    expect(page.locator(".gtitle").first).to_contain_text("Next after 4: ")


def test_both_texts_are_written_after_a_click(server, page):
    page.goto(f"{server}/predictions?new=20&change=zero&pins=1.1&stop=never")
    ready(page, DEFAULT_MODEL)
    expect(page.locator("[data-testid=stHtml] .lens-strip")).to_have_count(0)
    page.get_by_role("button", name=re.compile("^Write 20 tokens")).click()
    strips = page.locator("[data-testid=stHtml] .lens-strip")
    expect(strips).to_have_count(2)
    for side in (0, 1):
        expect(strips.nth(side).locator("b")).to_have_count(20)
    expect(page.locator(".gtitle").last).to_contain_text("How much of the text repeats")
    expect(page.get_by_text("With 1.1 zeroed").first).to_be_visible()
    page.reload()  # what is written is kept
    ready(page, DEFAULT_MODEL)
    expect(strips).to_have_count(2)


def test_writing_is_seen_while_it_grows_and_can_be_stopped(server, page):
    page.goto(f"{server}/predictions?model={REAL}&new=160&temperature=1&seed=77&stop=never")
    ready(page)
    page.get_by_role("button", name=re.compile("^Write 160 tokens")).click()
    strip = page.locator("[data-testid=stHtml] .lens-strip").last
    expect(strip.locator("b").nth(7)).to_be_visible()
    page.get_by_role("button", name="Stop", exact=True).click()
    ready(page)
    expect(page.get_by_text(re.compile(r"^\d+ tokens are written\.$"))).to_be_visible()
    assert 8 <= strip.locator("b").count() < 160


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_safe_comes_first_and_fits_a_small_screen(server, new_page, scheme):
    page = new_page(color_scheme=scheme)
    page.set_viewport_size({"width": 1400, "height": 900})
    page.goto(f"{server}/predictions?prompt={quote(HOSTILE)}")
    ready(page, DEFAULT_MODEL)
    assert page.locator("img[src=x]").count() == 0
    assert page.locator(".lens-chips .lens-strip").bounding_box()["y"] <= 260
    page.screenshot(path=f"screenshots/predictions-{scheme}.png", full_page=True)
    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    ready(page, DEFAULT_MODEL)
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390
