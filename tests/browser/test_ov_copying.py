"""OV copying in a real browser: a click on a cell selects, hostile tokens, both themes. Few random tokens: quick."""

from urllib.parse import quote

from playwright.sync_api import expect

from tests.browser.conftest import CELL, HOSTILE, REAL, drawn, fits, query, ready

FEW = f"model={REAL}&n=10&seqs=4"


def test_a_click_on_a_cell_selects_the_head_even_while_the_null_fills(server, page):
    page.goto(f"{server}/ov_copying?{FEW}")
    grid = "Full OV copying: every head"
    expect(page.locator(".gtitle").filter(has_text=grid).first).to_be_visible(timeout=120_000)
    expect(page.get_by_text("the central 95% of its own 200 random rotations").first).to_be_visible(timeout=120_000)
    for _ in range(5):  # a grid that is drawn anew between the two halves of a click loses it
        page.mouse.click(*page.evaluate(CELL, [grid, 18, 6]))
        page.wait_for_timeout(3000)
        if query(page).get("head") == ["6"]:
            break
    assert query(page)["layer"] == ["18"]
    assert query(page)["head"] == ["6"]
    drawn(page, "Head 18.6: eigenvalues")
    few = "Which heads are induction heads cannot be said: 4 sequences"
    expect(page.get_by_text(few)).to_be_visible(timeout=120_000)
    expect(page.get_by_text("Head 18.6 would copy")).to_be_visible(timeout=120_000)


def test_the_grid_has_words_for_a_screen_reader(server, page):
    page.goto(f"{server}/ov_copying?{FEW}")
    drawn(page, "Full OV copying: every head")
    label = page.locator("[aria-label]").filter(has=page.locator(".js-plotly-plot")).first.get_attribute("aria-label")
    assert "The head that copies most is 29.2" in label


def test_hostile_text_is_text(server, page):
    page.goto(f"{server}/ov_copying?{FEW}&pins=18.6&attended={quote(HOSTILE)}&prompt={quote(HOSTILE)}")
    expect(page.get_by_text("a row needs exactly one")).to_be_visible(timeout=120_000)
    ready(page)
    assert page.locator("img[src=x]").count() == 0


def test_the_page_fits_its_width(server, page):
    url = f"{server}/ov_copying?{FEW}&pins=23.2,18.6&radius=log&more=data&on=text"
    for width in (1280, 1920):
        fits(page, url, "Copying: weights against text", "ov-copying", width)
