"""Attribution in a real browser: the grid selects and pins, the strip moves the position, a hostile prompt, themes."""

from urllib.parse import quote

from playwright.sync_api import expect

from lens.ui.fields import DEFAULT_MODEL
from tests.browser.conftest import HOSTILE, click_head, drawn, fits, query, ready

GRID = "Every head"


def test_a_click_selects_a_head_a_second_one_pins_it_and_a_token_moves_the_position(server, page):
    page.goto(f"{server}/attribution")
    drawn(page, GRID, DEFAULT_MODEL)
    assert page.locator(".js-plotly-plot").first.bounding_box()["y"] <= 260
    click_head(page, GRID, 3, 0, DEFAULT_MODEL)  # heads across, layers down
    expect(page.get_by_text("Head 0.3 adds")).to_be_visible()
    page.wait_for_url("**layer=0&head=3**")
    ready(page, DEFAULT_MODEL)
    click_head(page, GRID, 3, 0, DEFAULT_MODEL)
    page.wait_for_url("**pins=0.3**")
    page.locator(".lens-strip b").nth(5).click()
    page.wait_for_url("**at=5**")
    expect(page.get_by_text("above the mean after 5 ").first).to_be_visible()
    page.reload()
    expect(page.get_by_text("above the mean after 5 ").first).to_be_visible()


def test_a_hostile_prompt_and_answer_are_text(server, page):
    page.goto(f"{server}/attribution?prompt={quote(HOSTILE)}&right={quote('<img src=x onerror=alert(1)>')}")
    drawn(page, GRID, DEFAULT_MODEL)
    assert query(page)["prompt"] == [HOSTILE]
    assert page.locator("img[src=x]").count() == 0


def test_the_page_fits_a_projector_and_a_telephone(server, page):
    for width in (390, 1280):
        fits(page, f"{server}/attribution", GRID, "attribution", width, DEFAULT_MODEL)
