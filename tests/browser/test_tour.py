"""A chapter of the tour in the real browser, done by hand, with everything outside blocked."""

import re
from pathlib import Path

from playwright.sync_api import expect

from lens.ui.fields import DEFAULT_MODEL
from tests.browser.conftest import CELL, click_head, drawn, prompt_box, query, ready

COLLISIONS = (Path(__file__).parent / "collisions.js").read_text(encoding="utf-8")
SIZE = {"width": 1400, "height": 900}
PARTS = ".js-plotly-plot, button, input, .lens-title, .lens-badge"
OVER = """parts => {
  const tour = document.querySelector(".lens-tour").getBoundingClientRect();
  const over = box => box.width > 1 && box.top < tour.bottom - 1 && box.bottom > tour.top + 1;
  return [...document.querySelectorAll(`[data-testid=stMain] :is(${parts})`)]
    .filter(node => node.checkVisibility() && over(node.getBoundingClientRect()))
    .map(node => node.outerHTML.slice(0, 80));
}"""


def test_a_chapter_is_walked_by_clicks_and_typing(server, page):
    page.set_viewport_size(SIZE)
    status = page.locator(".lens-tour [role=status]")

    def begins(title):
        expect(page.locator(".lens-title")).to_contain_text(title)
        expect(status).to_have_attribute("data-done", "0")
        expect(status).to_contain_text("Not yet.")

    def is_done(says):
        expect(status).to_have_attribute("data-done", "1")
        expect(status).to_contain_text(says)
        ready(page, DEFAULT_MODEL)
        assert page.evaluate(COLLISIONS) == []
        assert page.evaluate(OVER, PARTS) == []

    def goes_on():
        link = page.locator(".lens-tour").get_by_role("link", name=re.compile("^Next: "))
        link.focus()
        page.keyboard.press("Enter")

    page.goto(server)
    page.get_by_role("link", name="Why does this head work?").click()
    begins("Head scores")
    click_head(page, "every head of", 1, 1, DEFAULT_MODEL)
    is_done("head 1.1 scores")
    goes_on()
    begins("Attention")
    drawn(page, "Head 1.1", DEFAULT_MODEL)
    page.mouse.click(*page.evaluate(CELL, ["Head 1.1", 6, 30]))
    is_done("At position 30 head 1.1 gives")
    goes_on()
    begins("Attention")
    prompt_box(page).fill("Ada Byron wrote a letter. Years later Ada Byron wrote again.")
    page.keyboard.press("Control+Enter")
    is_done("of its attention to what followed before")
    goes_on()
    begins("Why it looks there")
    page.get_by_role("tab", name="Every cut").click()
    is_done("with 0.1 cut out of its keys alone")
    goes_on()
    begins("Ablation")
    page.get_by_role("radio", name="One head").click()
    for name, value in (("Layer", "0"), ("Head", "1")):
        ready(page, DEFAULT_MODEL)
        box = page.get_by_role("spinbutton", name=name)
        box.fill(value)
        box.press("Enter")
    is_done("Without head 0.1 the loss of the second copy goes from")
    expect(page.locator(".lens-tour a[data-done]")).to_have_count(5)
    page.locator(".lens-tour").get_by_role("link", name="leave the tour").click()
    expect(page.locator(".lens-tour")).to_have_count(0)
    assert query(page)["what"] == ["head"], "what stands there stays"
    page.go_back()
    expect(status).to_contain_text("Without head 0.1")
