"""Head scores in a real browser: a click on a cell opens that head, a second pins it, hostile prompts, both themes."""

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import HOSTILE, REAL, click_head, drawn, fits, prompt_box, query, ready


def test_a_click_on_a_cell_selects_the_head_and_opens_its_attention(server, page):
    page.goto(f"{server}/head_scores?model={REAL}")
    drawn(page, "Head 18.6 on sequence 0")
    click_head(page, "Induction: every head", 17, 3)
    drawn(page, "Head 17.3 on sequence 0")
    page.wait_for_url(f"**/head_scores?model={REAL}&layer=17&head=3")
    for url in (
        f"**/head_scores?model={REAL}&layer=17&head=3&pins=17.3",
        f"**/head_scores?model={REAL}&layer=17&head=3",
    ):
        click_head(page, "Induction: every head", 17, 3)
        page.wait_for_url(url)
        ready(page)
    page.get_by_role("button", name="Pin 17.3", exact=True).click()
    page.wait_for_url(f"**/head_scores?model={REAL}&layer=17&head=3&pins=17.3")
    expect(page.locator(".annotation-text").filter(has_text="pinned: 17.3")).to_be_visible()
    expect(page.get_by_text("Head 17.3, this sequence alone:")).to_be_visible()
    page.get_by_label("Sequence", exact=True).fill("5")
    page.keyboard.press("Enter")
    drawn(page, "Head 17.3 on sequence 5")
    page.get_by_role("radio", name="Its control").or_(page.get_by_role("button", name="Its control")).first.click()
    drawn(page, "Head 17.3 on control of sequence 5")
    page.go_back()
    drawn(page, "Head 17.3 on sequence 5")


def test_the_grid_has_words_for_a_screen_reader(server, page):
    page.goto(f"{server}/head_scores?model={REAL}")
    drawn(page, "Induction: every head")
    label = re.compile(r"Induction: every head .* 45 of 270 heads .* strongest is 18\.6")
    expect(page.locator("[aria-label]").filter(has=page.locator(".js-plotly-plot")).first).to_have_attribute(
        "aria-label", label
    )


def test_a_point_of_the_scatter_selects_its_head(server, page):
    page.goto(f"{server}/head_scores?model={REAL}&more=scatter&n=10&seqs=4")
    drawn(page, "Induction against previous token")
    place = page.evaluate(
        """() => {
            const plot = [...document.querySelectorAll('.js-plotly-plot')].at(-1);
            plot.scrollIntoView({ block: 'center' });
            const { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
            const data = plot._fullData[0], ys = Array.from(data.y), top = ys.indexOf(Math.max(...ys));
            return [box.left + xaxis._offset + xaxis.d2p(data.x[top]), box.top + yaxis._offset + yaxis.d2p(ys[top])];
        }"""
    )
    page.mouse.click(*place)
    page.wait_for_url("**head=6**")
    assert query(page)["layer"] == ["18"]
    assert "pins" not in query(page)


def test_a_row_of_the_table_selects_its_head(server, page):
    page.goto(f"{server}/head_scores?model={REAL}&n=10&seqs=4")
    drawn(page, "Induction: every head")
    table = page.get_by_test_id("stDataFrame")
    table.scroll_into_view_if_needed()
    box = table.bounding_box()
    page.mouse.click(box["x"] + 18, box["y"] + 35 + 17)
    page.wait_for_url("**layer=18&head=6**")
    drawn(page, "Head 18.6 on sequence 0")


@pytest.mark.parametrize("how", ["typed", "address"])
def test_a_hostile_prompt_is_text(server, page, how):
    start = f"{server}/head_scores?model={REAL}&on=text"
    page.goto(start if how == "typed" else f"{start}&prompt={quote(HOSTILE * 2)}")
    ready(page)
    if how == "typed":
        prompt_box(page).fill(HOSTILE * 2)
        page.keyboard.press("Control+Enter")
        page.wait_for_url("**prompt=*")
    drawn(page, "on your prompt")
    expect(prompt_box(page)).to_have_value(HOSTILE * 2)
    assert page.locator("img[src=x]").count() == 0


def test_the_page_fits_the_width_of_a_projector(server, page):
    for width in (1280, 1920):
        url = f"{server}/head_scores?model={REAL}&pins=17.3,18.6"
        fits(page, url, "Head 18.6 on sequence 0", "head-scores", width)
