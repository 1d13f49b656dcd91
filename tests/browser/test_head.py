"""The page of one head in a real browser: which head it shows, pinning, hostile prompts, both themes."""

from urllib.parse import quote

from playwright.sync_api import expect

from tests.browser.conftest import HOSTILE, REAL, drawn, fits, prompt_box, query, ready

FEW = f"model={REAL}&n=10&seqs=4"


def test_the_strongest_induction_head_is_shown_and_can_be_pinned(server, page):
    page.goto(f"{server}/head?{FEW}")
    drawn(page, "Head 18.6: OV eigenvalues")
    assert query(page)["layer"] == ["18"]
    expect(page.get_by_text("Not computed because")).to_have_count(1)  # its training is not known
    expect(page.get_by_text("feeds it most")).to_be_visible()
    page.get_by_role("button", name="Pin 18.6", exact=True).click()
    page.wait_for_url("**pins=18.6**")


def test_another_head_by_its_numbers_and_back(server, page):
    page.goto(f"{server}/head?model={REAL}&n=12&seqs=16&layer=23&head=2")
    drawn(page, "Head 23.2: OV eigenvalues")
    offer = page.locator("[class*=st-key-offer]").filter(has_text="What it writes on the repeats is not computed yet")
    offer.get_by_role("button", name="Compute").click()
    expect(page.get_by_text("Weights and data differ about it")).to_be_visible(timeout=120_000)
    ready(page)
    page.get_by_role("button", name="Strongest induction head: 18.6").click()
    drawn(page, "Head 18.6: OV eigenvalues")


def test_a_hostile_prompt_is_text(server, page):
    page.goto(f"{server}/head?{FEW}&layer=18&head=6&prompt={quote(HOSTILE * 2)}")
    drawn(page, "Head 18.6 on your prompt")
    ready(page)
    expect(prompt_box(page)).to_have_value(HOSTILE * 2)
    assert page.locator("img[src=x]").count() == 0


def test_the_page_fits_its_width(server, page):
    for width in (1280, 1920):
        fits(page, f"{server}/head?{FEW}&layer=18&head=6", "Head 18.6: OV eigenvalues", "head", width)


def test_a_file_of_ones_own_is_read_and_stays_text(server, page):
    page.goto(f"{server}/head?model=lens-2l&layer=1&head=1&texts=4&length=24")
    ready(page, "lens-2l")
    page.get_by_text("On text: how far it looks, at what, and where").click()
    drawn(page, "Head 1.1 on 4 chapters", "lens-2l")
    assert query(page)["on_text"] == ["on"]
    page.get_by_text("Your text", exact=True).click()
    expect(page.get_by_text("there is no text of yours yet")).to_be_visible()
    text = (HOSTILE + " and again and again. ") * 8
    file = {"name": "mine.txt", "mimeType": "text/plain", "buffer": text.encode()}
    page.locator("input[type=file]").set_input_files(file)
    drawn(page, "Head 1.1 on 4 pieces", "lens-2l")
    expect(page.get_by_label("Your text", exact=True).last).to_have_value(text)
    assert page.locator("img[src=x]").count() == 0
