"""Home in a real browser: text first, presets that open what they say, a head grid that the chain follows."""

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from lens.ui.fields import DEFAULT_MODEL
from lens.ui.pages.home.start import IOI
from tests.browser.conftest import HOSTILE, REAL, click_head, drawn, in_both_themes, prompt_box, query, ready


def test_the_text_stands_before_the_numbers_and_the_chain_fills(server, page):
    page.goto(server)
    expect(page.locator(".lens-hero")).to_be_visible()
    expect(page.get_by_role("link", name="Induction heads of a real language model")).to_be_visible()
    expect(page.locator(".lens-chain li")).to_have_count(7)
    ready(page, DEFAULT_MODEL)
    expect(page.locator(".lens-chain")).to_contain_text("rank 1 of 8")
    expect(page.locator(".lens-chain li.found")).to_have_count(7)
    expect(page.locator(".lens-chain")).not_to_contain_text("computing")
    page.get_by_test_id("stMain").get_by_role("link", name=re.compile(r"^OV copying of \d")).click()
    page.wait_for_url("**/ov_copying?**head=**")
    ready(page, DEFAULT_MODEL)
    assert query(page).keys() == {"layer", "head"}, "a link selects the head, and pins nothing"


def test_a_click_on_the_grid_moves_the_chain_to_that_head(server, page):
    page.goto(f"{server}/?model={REAL}")
    ready(page)
    click_head(page, "2 · It scores", 17, 3)
    drawn(page, "1 · Head 17.3 attends")
    page.wait_for_url(f"**?model={REAL}&layer=17&head=3")
    expect(page.locator(".lens-chain li.later")).to_have_count(3)  # a large model's ablation waits; no checkpoints
    page.get_by_role("button", name="Back to the strongest head, 18.6").click()
    drawn(page, "1 · Head 18.6 attends")


def test_a_click_on_the_head_that_is_shown_selects_it_and_the_next_ones_pin_and_unpin_it(server, page):
    """The first click changes nothing in the figure, which must not swallow the second one."""
    page.goto(server)
    ready(page, DEFAULT_MODEL)
    for pins in (None, ["1.1"], None, ["1.1"]):
        click_head(page, "2 · It scores", 1, 1, DEFAULT_MODEL)
        page.wait_for_url(lambda url, pins=pins: "head=1" in url and ("pins=1.1" in url) is bool(pins))
        ready(page, DEFAULT_MODEL)
        assert query(page).get("pins") == pins
    expect(page.locator(".annotation-text").filter(has_text="pinned: 1.1")).to_be_visible()


@pytest.mark.parametrize(
    ("card", "path", "values", "text", "model"),
    [
        ("Induction heads of a real language model", "head_scores", {}, "every head of smollm2-135m-instruct", REAL),
        ("Indirect object: John and Mary", "attention", {"layer": ["23"], "head": None}, "", REAL),
        ("Repeated random tokens", "tokens", {"part": ["repeat"]}, "Loss on repeated random tokens", DEFAULT_MODEL),
        ("A head is born", "training_dynamics", {"revision": None}, "", ""),
        ("A decoy: it looks, and copies nothing", "method", {"plant": ["planted-decoy"]}, "", ""),
    ],
)
def test_a_preset_sets_prompt_page_and_options(server, page, card, path, values, text, model):
    page.goto(f"{server}/?prompt=mine&layer=1")
    ready(page, DEFAULT_MODEL)
    page.get_by_role("link", name=card).click()
    page.wait_for_url(f"**/{path}**")
    if model:
        ready(page, model)
    assert query(page).get("prompt") in (None, [IOI])  # and not "mine"
    assert {name: query(page).get(name) for name in values} == values
    if text:
        drawn(page, text, model)
    page.go_back()
    ready(page, DEFAULT_MODEL)
    assert query(page)["prompt"] == ["mine"]


# In one go, so that a card cannot move between being measured and being hit.
CORNERS = """card => {
  const box = card.getBoundingClientRect(), link = card.querySelector("a");
  return [[4, 4], [box.width - 4, 4], [4, box.height - 4], [box.width - 4, box.height - 4]].map(
    ([x, y]) => document.elementFromPoint(box.x + x, box.y + y)?.closest("a") === link
  );
}"""


def test_all_of_a_card_is_its_link(server, page):
    """Its words are in the link's name, and a click anywhere on the card, or Enter, follows it."""
    page.goto(server)
    ready(page, DEFAULT_MODEL)
    cards = page.locator("[class*=st-key-starter-], [class*=st-key-preset-]")
    expect(cards).to_have_count(10)
    for card in cards.all():
        card.scroll_into_view_if_needed()
        link = card.get_by_role("link")
        expect(link).to_have_count(1)
        assert card.inner_text().split("\n")[-1].strip() in link.inner_text()
        assert card.evaluate(CORNERS) == [True] * 4
    name = re.compile("A decoy: it looks, and copies nothing.*The instruments on models with known answers", re.DOTALL)
    page.get_by_role("link", name=name).focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/method**plant=planted-decoy**")


def test_a_hostile_prompt_is_text(server, page):
    page.goto(f"{server}/model?prompt={quote(HOSTILE)}")
    ready(page, DEFAULT_MODEL)
    expect(prompt_box(page)).to_have_value(HOSTILE)
    prompt_box(page).fill(HOSTILE + HOSTILE)
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**prompt=*alert*alert*")
    ready(page, DEFAULT_MODEL)
    assert page.locator("img[src=x]").count() == 0


def test_home_fits_the_width_of_a_projector(server, page):
    for width, height in ((1280, 800), (1920, 1080)):
        page.set_viewport_size({"width": width, "height": height})
        page.goto(server)
        ready(page, DEFAULT_MODEL)
        drawn(page, re.compile(r"^1 · Head 1\.\d attends"), DEFAULT_MODEL)
        for scheme in in_both_themes(page):
            assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= width
            page.screenshot(path=f"screenshots/home-{scheme}-{width}.png", full_page=True)
