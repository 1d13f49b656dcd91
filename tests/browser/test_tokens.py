"""The Tokens page in a real browser: choosing tokens by click and key, tabs, hostile prompts, both themes."""

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import REAL, in_both_themes, prompt_box, query, ready

HOSTILE = "</script><img src=x onerror=alert(1)>"


def chip(page, position):
    return page.locator(".lens-chips .lens-strip b").nth(position)


def expected(page, position):
    """The chart about this token is on the page."""
    expect(page.locator(".gtitle").first).to_contain_text(f"Expected at {position},")


def test_a_click_on_a_token_shows_what_was_expected_there(server, page):
    page.goto(f"{server}/tokens?model={REAL}")
    ready(page)
    chip(page, 11).click()
    page.wait_for_url(f"**/tokens?model={REAL}&token=11")
    expected(page, 11)
    expect(chip(page, 11)).to_have_class(re.compile(r"\bon\b"))
    expect(page.locator(".bartext").filter(has_text="what came")).to_have_count(1)
    page.get_by_role("combobox", name="Token", exact=True).click(delay=90)
    page.get_by_role("option", name=re.compile("^6: ")).click()
    page.wait_for_url(f"**/tokens?model={REAL}&token=6")
    expected(page, 6)
    page.go_back()
    expected(page, 11)


def test_the_keyboard_goes_through_the_strip(server, page):
    page.goto(f"{server}/tokens?model={REAL}&token=5")
    ready(page)
    chip(page, 5).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(chip(page, 7)).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/tokens?model={REAL}&token=7")
    ready(page)
    expect(chip(page, 7)).to_be_focused()
    expect(chip(page, 7)).to_have_attribute("aria-selected", "true")
    expect(chip(page, 7)).to_have_attribute("aria-label", re.compile(r"position 7 .* loss .* nats"))
    page.keyboard.press("End")
    page.keyboard.press("Space")
    page.wait_for_url(f"**/tokens?model={REAL}&token=12")
    chip(page, 12).focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/tokens?model={REAL}&token=0")
    expect(page.get_by_text("Not computed because the first token has no prediction")).to_be_visible()


def test_tabs_and_folds_are_in_the_address(server, page):
    page.goto(f"{server}/tokens?model={REAL}")
    ready(page)
    page.get_by_text("What the BOS token changes").click()
    expect(page.get_by_text("Difference (nats)")).to_be_visible()
    page.get_by_role("tab", name="How text is cut").click()
    page.wait_for_url("**part=cut*")
    page.get_by_role("button", name="2342+2017=21445").click()
    expect(page.locator(".lens-aligned >> visible=true").locator("tr").nth(1).locator("td")).to_have_count(15)
    assert query(page) == {"part": ["cut"], "compare": ["on"], "piece": ["2342+2017=21445"]}
    page.reload()
    ready(page)
    expect(page.get_by_role("tab", name="How text is cut")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_label("Text", exact=True)).to_have_value("2342+2017=21445")


@pytest.mark.parametrize("how", ["address", "typed"])
def test_a_hostile_prompt_is_text_in_every_tab(server, page, how):
    address = f"prompt={quote(HOSTILE)}&other={quote(HOSTILE)}x&piece={quote(HOSTILE)}&find={quote('<img')}"
    page.goto(f"{server}/tokens?model={REAL}&table=on&" + (address if how == "address" else ""))
    ready(page)
    if how == "typed":
        prompt_box(page).fill(HOSTILE)
        page.keyboard.press("Control+Enter")
        page.wait_for_url("**prompt=*")
        ready(page)
    expect(chip(page, 0)).to_be_visible()
    text = "".join(page.locator(".lens-chips .lens-strip b").all_inner_texts())
    assert HOSTILE in text.replace("·", " ")
    for tab in ("How text is cut", "Two texts, padded"):
        page.get_by_role("tab", name=tab).click()
        ready(page)
        expect(page.locator(".lens-aligned >> visible=true").first).to_be_visible()
        assert page.locator("img[src=x]").count() == 0


def test_random_tokens_are_drawn_and_charted(server, page):
    page.goto(f"{server}/tokens?model={REAL}&part=repeat&n=10&seqs=4")
    ready(page)
    expect(page.locator(".lens-strip b")).to_have_count(21)
    expect(page.locator(".gtitle").first).to_contain_text("repeated random tokens")
    page.get_by_text("Measured on").click()
    expect(page.get_by_text("no interval: 4 sequences")).to_be_visible()


def test_a_long_computation_shows_progress_and_can_be_cancelled(server, page):
    page.goto(f"{server}/tokens?model={REAL}&prompt={quote('1a' * 1000)}")
    expect(page.get_by_text(re.compile(r"(layers|predictions) · \d+ s"))).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled")).to_be_visible()
    expect(prompt_box(page)).to_have_value("1a" * 1000)


def test_it_looks_right_in_both_themes(server, page):
    page.goto(f"{server}/tokens?model={REAL}&token=13")
    ready(page)
    expected(page, 2)
    for scheme in in_both_themes(page):
        page.screenshot(path=f"screenshots/tokens-{scheme}.png", full_page=True)


def test_another_prompt_replaces_the_strip(server, page):
    page.goto(f"{server}/tokens?model={REAL}")
    ready(page)
    prompt_box(page).fill("The quick brown fox jumps over the lazy dog. " * 6)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".lens-chips .lens-strip b")).to_have_count(62)
