"""The pages by keyboard alone: scrolling, toolbars, words that say what they mean."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ready

MODEL = "planted-induction"
MAIN = "document.querySelector('[data-testid=stMain]').scrollTop"
FOCUS = "(style => `${style.outlineStyle} ${style.outlineWidth}`)(getComputedStyle(document.activeElement))"


@pytest.fixture
def attention(server, page):
    page.goto(f"{server}/attention?model={MODEL}&layer=1&head=2")
    ready(page, MODEL)
    expect(page.locator(".nsewdrag").first).to_be_visible()
    return page


def press_until(page, key, condition):
    """Press a key until its script, which comes a moment after the page, hears it."""
    for _ in range(40):
        page.keyboard.press(key)
        page.wait_for_timeout(250)
        if page.evaluate(condition):
            return
    raise AssertionError(f"{key} does not lead to {condition}")


def test_the_page_scrolls_before_anything_was_clicked(attention):
    assert attention.evaluate("document.activeElement === document.body")
    press_until(attention, "PageDown", f"{MAIN} > 100")
    attention.keyboard.press("Home")
    attention.wait_for_function(f"{MAIN} === 0")
    attention.keyboard.press("ArrowDown")
    attention.wait_for_function(f"{MAIN} > 0")


def test_a_toolbar_is_one_stop_with_arrows_between_its_buttons(attention):
    attention.locator(".modebar-btn").first.focus()
    name = "document.activeElement.getAttribute('aria-label')"
    first = attention.evaluate(name)
    attention.keyboard.press("ArrowRight")
    assert attention.evaluate(name) != first
    attention.keyboard.press("ArrowLeft")
    assert attention.evaluate(name) == first
    attention.keyboard.press("Tab")
    assert not attention.evaluate("document.activeElement.matches('.modebar-btn')")
    slab = "getComputedStyle(document.querySelector('.modebar-group')).backgroundColor"
    assert attention.evaluate(slab) == "rgba(0, 0, 0, 0)"


def test_a_toolbar_lies_beside_the_title(attention):
    attention.locator(".nsewdrag").first.hover()
    title, bar = (attention.locator(name).first.bounding_box() for name in (".gtitle", ".modebar"))
    assert bar["y"] > title["y"] + title["height"]


def test_a_word_says_what_it_means_under_the_focus_and_nothing_sticks_out(attention):
    word = attention.locator(".lens-line.notice .lens-term").first
    word.focus()
    attention.keyboard.press("Shift+Tab")
    attention.keyboard.press("Tab")
    said = attention.evaluate("getComputedStyle(document.activeElement, '::after').content")
    assert said.strip('"') == word.get_attribute("data-said")
    assert attention.evaluate(FOCUS) == "solid 2px"
    attention.set_viewport_size({"width": 390, "height": 800})
    word.focus()
    assert attention.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390


def test_focus_is_a_frame_which_the_current_page_has_not(attention):
    links = attention.get_by_test_id("stSidebar").get_by_test_id("stPageLink-NavLink")
    links.first.focus()
    attention.keyboard.press("Tab")
    assert attention.evaluate(FOCUS) == "solid 2px"
    here = links.filter(has_text="Attention").evaluate("link => getComputedStyle(link).outlineStyle")
    assert here == "none"


def test_headings_read_as_words(attention):
    expect(attention.locator("h1")).to_have_text(re.compile(r"^Attention: Where does each head look\?$"))
