"""Ablation in a real browser, on planted models: a second click on a cell removes, a guess opens the result."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import click_head, drawn, query

PLANTED = "planted-induction"
GRID = "Each head of planted-induction removed alone"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_second_click_on_a_cell_removes_that_head_too(server, new_page, scheme):
    page = new_page(color_scheme=scheme)
    page.set_viewport_size({"width": 1280, "height": 1000})
    page.goto(f"{server}/ablation?model=planted-induction&pins=1.2")
    drawn(page, "Without 1.2: change of the loss of the second copy", PLANTED)
    click_head(page, GRID, 1, 0, PLANTED)  # the grid is not wide, so heads run across: column 1 of row 0
    page.wait_for_url("**head=1**")
    drawn(page, "Without 1.2: change of the loss of the second copy", PLANTED)
    click_head(page, GRID, 1, 0, PLANTED)
    drawn(page, "Without 1.2, 0.1: change of the loss of the second copy", PLANTED)
    assert query(page)["pins"] == ["1.2,0.1"]
    expect(page.get_by_text("links of one path")).to_be_visible()
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 1280
    page.screenshot(path=f"screenshots/ablation-{scheme}-1280.png", full_page=True)


def test_the_result_is_hidden_until_one_guesses(server, page):
    page.goto(f"{server}/ablation?model=planted-induction&pins=1.2&predict=on&more=tokens")
    expect(page.get_by_text("Predict first.")).to_be_visible()
    assert page.locator(".js-plotly-plot").count() == 0
    page.get_by_role("button", name="Breaks most of it").click()
    drawn(page, "Without 1.2: change of the loss of the second copy", PLANTED)
    expect(page.get_by_text("Right.")).to_be_visible()
    page.locator(".lens-chips b").nth(15).click()
    page.wait_for_url("**token=15**")
    label = page.locator("[aria-label]").filter(has=page.locator(".js-plotly-plot")).first.get_attribute("aria-label")
    assert "a change of 4.16" in label
