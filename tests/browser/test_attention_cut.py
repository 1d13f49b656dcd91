"""Cutting cells and computing one by hand on the Attention page, in a real browser: clicks, keyboard, themes, width."""

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import drawn, fits, query, ready
from tests.browser.test_attention import TEXT, cell

MODEL = "lens-2l"
PLACE = f"attention?model={MODEL}&layer=1&head=1&prompt={quote(TEXT)}"
SIZE = 18  # tokens
CROSSES = ".shapelayer path"


def box(page, name):
    return page.get_by_role("textbox", name=name, exact=True)


def test_a_click_cuts_a_cell_and_a_second_one_takes_it_back(server, page):
    page.goto(f"{server}/{PLACE}")
    drawn(page, "Head 1.1", MODEL)
    page.get_by_role("radio", name="Cuts it").click()
    page.wait_for_url("**clicks=cut*")
    ready(page, MODEL)
    page.mouse.click(*cell(page, 16, 8, SIZE))
    page.wait_for_url("**cut=16-8*")
    ready(page, MODEL)
    expect(page.locator(".lens-line.notice").filter(has_text="takes 0.91 of attention")).to_be_visible()
    expect(page.locator(CROSSES)).to_have_count(1)
    expect(box(page, "Cells to cut")).to_have_value("16-8")
    page.mouse.click(*cell(page, 12, 4, SIZE))
    page.wait_for_url("**cut=16-8%2C12-4*")
    ready(page, MODEL)
    page.mouse.click(*cell(page, 16, 8, SIZE))
    page.wait_for_url("**cut=12-4*")
    ready(page, MODEL)
    assert "query" not in query(page)
    line = box(page, "Cells to cut")
    line.fill("17-3, 17-0")
    line.press("Enter")
    page.wait_for_url("**cut=17-3%2C17-0*")
    ready(page, MODEL)
    expect(page.locator(".lens-line.notice").filter(has_text="Cutting 17 ")).to_be_visible()
    page.go_back()
    page.wait_for_url("**cut=12-4*")
    expect(box(page, "Cells to cut")).to_have_value("12-4")


def test_a_click_computes_a_cell_by_hand(server, page):
    page.goto(f"{server}/{PLACE}&clicks=hand")
    drawn(page, "Head 1.1", MODEL)
    page.mouse.click(*cell(page, 16, 8, SIZE))
    page.wait_for_url("**cell=16-8*")
    ready(page, MODEL)
    expect(page.locator(".lens-line.notice").filter(has_text=re.compile("By hand, 16 .* is 0.90"))).to_be_visible()
    page.get_by_test_id("stNumberInputStepUp").nth(1).click()
    page.wait_for_url("**head=2*")
    ready(page, MODEL)
    expect(page.locator(".lens-line.notice").filter(has_text="of head 1.2 is")).to_be_visible()


@pytest.mark.parametrize("width", [390, 1440])
def test_both_sections_fit_in_both_themes(server, page, width):
    url = f"{server}/{PLACE}&cut=16-8&cutting=on&byhand=on"
    fits(page, url, "Head 1.1", "attention-cut", width, MODEL)
    expect(page.locator(".lens-line.notice").filter(has_text="By hand, ")).to_be_visible()
