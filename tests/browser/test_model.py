"""The Model page in a real browser: copying names, the fidelity card to green, choosing a model, both themes."""

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import REAL, in_both_themes, prompt_box, query, ready

HOSTILE = "</script><img src=x onerror=alert(1)>"


def open_tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()
    ready(page)


def test_a_name_is_found_and_copied(server, new_page):
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto(f"{server}/model?model={REAL}&part=activations")
    ready(page)
    page.get_by_role("textbox", name="Find names").fill("17.attn pattern")
    page.keyboard.press("Enter")
    page.wait_for_url("**find=17.attn*")
    name = page.get_by_role("button", name="blocks.17.attn.hook_pattern", exact=True)
    name.click()
    expect(page.get_by_text("Copied blocks.17.attn.hook_pattern")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "blocks.17.attn.hook_pattern"
    expect(page.get_by_role("cell", name="[1, 9, 13, 13]", exact=True)).to_be_visible()
    name.press("Enter")  # from the keyboard, too
    assert query(page) == {"part": ["activations"], "find": ["17.attn pattern"]}


def test_a_fold_opens_and_shows_its_rows(server, page):
    page.goto(f"{server}/model?model={REAL}&part=weights")
    ready(page)
    row = page.get_by_role("button", name="blocks.3.attn.W_K", exact=True)
    expect(row).to_have_count(0)
    page.locator("summary").filter(has_text=re.compile(r"^blocks\.3 ")).click()
    expect(row).to_be_visible()


def test_the_fidelity_card_becomes_green_when_it_is_asked_for(server, page):
    page.goto(f"{server}/model?model={REAL}&part=fidelity")
    ready(page)
    expect(page.locator(".lens-facts")).to_have_count(0)
    page.get_by_role("button", name=re.compile("^Check it, about")).click()
    expect(page.locator(".lens-facts tr.good").first).to_be_visible()  # it fills while it runs
    expect(page.locator(".lens-facts tr.good")).to_have_count(9, timeout=480_000)
    expect(page.locator(".lens-facts tr.bad")).to_have_count(0)
    ready(page)
    expect(page.get_by_text("9 of 9 checks hold on 13 tokens")).to_be_visible()
    page.screenshot(path="screenshots/model-fidelity.png", full_page=True)


def test_a_row_of_the_table_offers_its_model_and_fetches_nothing(server, page):
    page.goto(f"{server}/model?model={REAL}&part=models")
    expect(page.get_by_text("names, 29 of them refused")).to_be_visible()
    table = page.get_by_test_id("stDataFrame")
    box = table.bounding_box()
    page.mouse.click(box["x"] + 18, box["y"] + 33 * 5 + 16)  # the row of gpt2
    page.wait_for_url("**/model?model=gpt2")
    expect(page.get_by_text("It can be fetched from the Hugging Face Hub (548 MB)")).to_be_visible()


@pytest.mark.parametrize("part", ["config", "activations", "folding"])
def test_hostile_text_is_text(server, page, part):
    texts = f"prompt={quote(HOSTILE)}&find={quote('<img')}&a={quote(HOSTILE)}"
    page.goto(f"{server}/model?model={REAL}&part={part}&{texts}")
    ready(page)
    expect(prompt_box(page)).to_have_value(HOSTILE)
    assert page.locator("img[src=x]").count() == 0


def test_it_looks_right_in_both_themes(server, page):
    page.goto(f"{server}/model?model={REAL}")
    for tab in ("What it is", "What works", "Embedding norms", "Memory"):
        open_tab(page, tab)
        expect(page.locator(".lens-line.notice >> visible=true")).to_have_count(1)
        for scheme in in_both_themes(page):
            page.screenshot(path=f"screenshots/model-{tab.lower().replace(' ', '-')}-{scheme}.png", full_page=True)
