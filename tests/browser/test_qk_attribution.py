"""Why it looks there in a real browser: clicks on the pattern and on the pairs, a hostile prompt, both themes."""

from urllib.parse import quote

from playwright.sync_api import expect

from lens.ui.fields import DEFAULT_MODEL
from tests.browser.conftest import HOSTILE, click_head, drawn, fits, query

PAIRS = "Pairs of writes"


def test_a_pair_that_is_clicked_is_cut_and_a_cell_that_is_clicked_is_asked_about(server, page):
    page.goto(f"{server}/qk_attribution")
    drawn(page, PAIRS, DEFAULT_MODEL)
    expect(page.get_by_text("37% is left unexplained")).to_be_visible()
    assert page.locator(".js-plotly-plot").first.bounding_box()["y"] <= 260
    click_head(page, PAIRS, 4, 3, DEFAULT_MODEL)  # 0.1 by the query, 0.2 by the key
    page.wait_for_url("**asks=0.1&answers=0.2**")
    expect(page.get_by_text("Cut head 0.1 × head 0.2.")).to_be_visible()
    page.get_by_role("radio", name="A cell of the prompt").click()
    drawn(page, "Head 1.1 on your prompt", DEFAULT_MODEL)
    click_head(page, "Head 1.1 on your prompt", 5, 14, DEFAULT_MODEL)
    page.wait_for_url("**query=14**key=5**")
    expect(page.get_by_text("From 14 ")).to_be_visible()
    page.reload()
    expect(page.get_by_text("From 14 ")).to_be_visible()


def test_a_hostile_prompt_is_text(server, page):
    page.goto(f"{server}/qk_attribution?where=cell&prompt={quote(HOSTILE + ' and so on')}")
    drawn(page, PAIRS, DEFAULT_MODEL)
    assert query(page)["where"] == ["cell"]
    assert page.locator("img[src=x]").count() == 0


def test_the_page_fits_a_projector_and_a_telephone(server, page):
    for width in (390, 1280):
        fits(page, f"{server}/qk_attribution", PAIRS, "qk", width, DEFAULT_MODEL)
