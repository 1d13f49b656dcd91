"""The Logit lens page in a real browser: a cell chosen by click and key, its tokens followed, a hostile prompt."""

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from lens.ui.fields import DEFAULT_MODEL
from tests.browser.conftest import ready

HOSTILE = "</script><img src=x onerror=alert(1)>"


def cell(page, row, position):
    return page.locator(f'.lens-cells td[data-at="{row},{position}"]')


def test_a_click_on_a_cell_follows_its_token(server, page):
    page.goto(f"{server}/logit_lens")
    ready(page, DEFAULT_MODEL)
    expect(cell(page, 2, 17)).to_have_class(re.compile(r"\bon\b"))
    word = cell(page, 0, 9).inner_text()
    cell(page, 0, 9).click()
    page.wait_for_url("**/logit_lens?position=9&row=0")
    expect(page.locator(".gtitle").first).to_contain_text("Tokens at 9: ")
    expect(cell(page, 0, 9)).to_have_class(re.compile(r"\bon\b"))
    expect(page.locator(".legendtext").first).to_have_text(word)
    cell(page, 0, 9).focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    expect(cell(page, 1, 10)).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/logit_lens?position=10&row=1")
    page.go_back()
    expect(page.locator(".gtitle").first).to_contain_text("Tokens at 9: ")


def test_a_hostile_prompt_is_text(server, page):
    page.goto(f"{server}/logit_lens?prompt={quote(HOSTILE)}&numbers=on")
    ready(page, DEFAULT_MODEL)
    expect(cell(page, 0, 0)).to_be_visible()
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_table_comes_first_and_fits_a_small_screen(server, new_page, scheme):
    page = new_page(color_scheme=scheme)
    page.set_viewport_size({"width": 1400, "height": 900})
    page.goto(f"{server}/logit_lens")
    ready(page, DEFAULT_MODEL)
    assert page.locator(".lens-cells").bounding_box()["y"] <= 260
    page.screenshot(path=f"screenshots/logit-lens-{scheme}.png", full_page=True)
    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    ready(page, DEFAULT_MODEL)
    expect(page.locator(".lens-cells")).to_be_visible()
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390
