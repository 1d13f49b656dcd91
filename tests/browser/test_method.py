"""The Method page in a real browser: the scorecard fills, a choice stands in the address, a plant opens elsewhere."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import at_rest, query

SCORECARD = re.compile(r"(\d+) of \1 readings are as planted")


def choose(page, label, option):
    """As a hand does: a click of 0 ms on a box that is scrolled to opens its list and closes it."""
    page.get_by_role("combobox", name=re.compile(label)).click(delay=90)
    page.get_by_role("option", name=option, exact=True).click()


def measured(page):
    expect(page.get_by_text(SCORECARD)).to_be_visible(timeout=180_000)
    at_rest(page)


def test_from_the_scorecard_to_the_planted_head(server, page):
    page.goto(f"{server}/method")
    measured(page)
    expect(page.get_by_role("columnheader", name="offset")).to_be_visible()
    expect(page.get_by_role("rowheader", name="Induction score")).to_be_visible()
    expect(page.get_by_role("cell", name="rejected").first).to_be_visible()
    choose(page, "Instrument", "Ablation, strongest head")
    choose(page, "Planted model", "planted-redundant")
    expect(page.get_by_role("heading", name="Ablation, strongest head on planted-redundant")).to_be_visible()
    page.wait_for_url("**instrument=ablation_one**")
    assert query(page)["plant"] == ["planted-redundant"]
    page.get_by_test_id("stMain").get_by_role("link", name="Attention").first.click()
    page.wait_for_url("**/attention?model=planted-induction**")
    expect(page.locator(".lens-badge b")).to_have_text("planted-induction", timeout=120_000)
    expect(page.locator(".gtitle").first).to_be_visible(timeout=120_000)
    page.go_back()
    measured(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_the_width_of_a_projector(server, new_page, scheme):
    page = new_page(color_scheme=scheme)
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(f"{server}/method")
    measured(page)
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 1280
    page.screenshot(path=f"screenshots/method-{scheme}.png", full_page=True)
