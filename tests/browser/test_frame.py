"""The frame in a real browser: addresses, switching pages, the copied link, both themes, hostile prompts."""

import re
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import expect

from lens.ui.fields import DEFAULT_MODEL
from lens.ui.limits import AT_HOME
from tests.browser.conftest import REAL, go, open_controls, prompt_box, query, ready
from tests.helpers import byte_tokenizer, hf_gpt2
from tests.load.models import save

HOSTILE = "</script><img src=x onerror=alert(1)><b>bold</b> {{x}} $x$ **y**"
BUSY = """
import time
import streamlit as st
from lens.ui.calls import analyse, sweep
from lens.ui.frame import frame
from tests.browser.work import nap, slow
with frame("Home", question="Does cancelling work?") as view:
    st.button("Unrelated")
    if st.toggle("sweep"):
        out = sweep(nap, range(40))
        st.write(f"sweep has {len(out.done)} of 40")
    else:
        st.write(f"result {analyse(slow, 60, progress=True)}")
"""

PAGE = """
from lens.ui.frame import frame
from lens.ui.models import open_model, read_prompt
from lens.ui.widgets import head_picker
with frame("TITLE", question="Does the frame hold?") as view:
    model = open_model(view)
    prompt = read_prompt(view, model)
    head_picker(view, model.cfg.n_layers, model.cfg.n_heads)
"""


@pytest.fixture(scope="module")
def frames(serve) -> str:
    """The address of three small pages in the real frame: what the real pages show is tested elsewhere."""
    home, tokens, attention = (PAGE.replace("TITLE", title) for title in ("Home", "Tokens", "Attention"))
    return serve(home, tokens=tokens, attention=attention)


def test_home_opens(server, page):
    page.goto(server)
    expect(page.locator(".lens-title")).to_contain_text("Home")
    ready(page, DEFAULT_MODEL)
    assert page.title() == "Lens"
    expect(page.locator(".st-key-strip summary")).to_contain_text(DEFAULT_MODEL)
    open_controls(page)
    assert page.get_by_role("textbox", name="Prompt").count() == 0  # Home's chain reads random tokens


def test_a_deep_link_keeps_its_values_through_pages_and_reload(frames, page):
    page.goto(f"{frames}/attention?model={REAL}&layer=18&head=6&pins=18.6,17.3&prompt=red%20green%20red")
    ready(page)
    expect(page.get_by_label("Layer", exact=True).first).to_have_value("18")
    go(page, "Tokens")
    ready(page)
    expect(prompt_box(page)).to_have_value("red green red")
    assert query(page) == {"layer": ["18"], "head": ["6"], "pins": ["18.6,17.3"], "prompt": ["red green red"]}
    go(page, "Attention")
    ready(page)
    page.reload()
    ready(page)
    expect(page.get_by_label("Layer", exact=True).first).to_have_value("18")
    expect(page.get_by_label("Head", exact=True).first).to_have_value("6")
    expect(page.locator(".st-key-strip summary")).to_contain_text("18.6 17.3 pinned")


def test_a_widget_changes_the_address_and_back_undoes_it(frames, page):
    page.goto(f"{frames}/attention?model={REAL}")
    ready(page)
    page.get_by_label("Layer", exact=True).first.fill("3")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/attention?model={REAL}&layer=3")
    page.get_by_label("Layer", exact=True).first.fill("5")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/attention?model={REAL}&layer=5")
    page.go_back()
    expect(page.get_by_label("Layer", exact=True).first).to_have_value("3")
    page.go_back()
    expect(page.get_by_label("Layer", exact=True).first).to_have_value("0")


def test_back_across_pages_shows_the_page_as_it_was(frames, page):
    page.goto(f"{frames}/attention?model={REAL}&layer=4")
    ready(page)
    go(page, "Tokens")
    page.wait_for_url(f"**/tokens?model={REAL}&layer=4")
    open_controls(page)
    page.get_by_role("button", name="Examples").click()
    page.get_by_role("button", name="Brackets").click()
    page.wait_for_url(f"**/tokens?model={REAL}&prompt=*")
    page.keyboard.press("Escape")
    page.go_back()
    page.wait_for_url(f"**/tokens?model={REAL}&layer=4")
    page.go_back()
    expect(page.locator(".lens-title")).to_contain_text("Attention")
    expect(page.get_by_label("Layer", exact=True).first).to_have_value("4")


def test_a_prompt_left_for_a_menu_link_is_kept(frames, page):
    page.goto(f"{frames}/attention?model={REAL}")
    ready(page)
    prompt_box(page).fill("typed and not applied")
    go(page, "Tokens")
    ready(page)
    expect(prompt_box(page)).to_have_value("typed and not applied")
    page.wait_for_url(f"**/tokens?model={REAL}&prompt=typed+and+not+applied")


def test_a_menu_link_in_a_new_tab_shows_the_same_state(frames, page):
    page.goto(f"{frames}/attention?model={REAL}&layer=7")
    ready(page)
    with page.context.expect_page() as opened:
        link = page.get_by_test_id("stSidebar").get_by_role("link", name="Tokens", exact=True)
        link.click(button="middle")
    ready(opened.value)
    assert query(opened.value) == {"layer": ["7"]}


def test_fast_changes_are_all_kept(frames, page):
    page.goto(f"{frames}/attention?model={REAL}")
    ready(page)
    more = page.get_by_test_id("stNumberInputStepUp").first
    for _ in range(8):
        more.click()
    page.wait_for_url(f"**/attention?model={REAL}&layer=8")
    ready(page)
    expect(page.get_by_label("Layer", exact=True).first).to_have_value("8")


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_copy_link_holds_the_complete_address(frames, new_page, by):
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto(f"{frames}/attention?model={REAL}&layer=2&prompt=a%20%26%20b")
    ready(page)
    open_controls(page)
    button = page.get_by_role("button", name="Copy link")
    if by == "mouse":
        button.click()
    else:
        button.focus()
        page.keyboard.press("Enter")
    expect(page.get_by_text("Link copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f"{frames}/attention?")
    assert parse_qs(urlsplit(copied).query) == {"model": [REAL], "layer": ["2"], "prompt": ["a & b"]}
    page.goto(copied)
    ready(page)
    expect(page.get_by_label("Layer", exact=True).first).to_have_value("2")


def test_without_a_clipboard_the_link_is_copied_from_a_field(frames, page):
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined });")
    page.goto(f"{frames}/attention?model={REAL}&layer=2")
    ready(page)
    open_controls(page)
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_text(re.compile("Link copied|Press Ctrl"))).to_be_visible()


@pytest.mark.parametrize("path", ["model", "tokens", "attention"])
def test_a_hostile_prompt_is_text(server, page, path):
    page.goto(f"{server}/{path}?model={REAL}&prompt={quote(HOSTILE)}")
    ready(page)
    expect(prompt_box(page)).to_have_value(HOSTILE)
    assert page.locator("img[src=x]").count() == 0


def test_a_prompt_that_turns_the_direction_of_writing_turns_only_itself(frames, page):
    """U+202E writes all that follows from right to left."""
    page.goto(f"{frames}/tokens?model={REAL}&prompt={quote('red ' + chr(0x202E) + 'green')}")
    ready(page)
    prompt = page.locator(".st-key-strip summary code").nth(1)
    expect(prompt).to_contain_text("green")
    assert prompt.evaluate("code => getComputedStyle(code).unicodeBidi") == "isolate"


def test_hostile_values_are_text_in_the_notes(server, page):
    page.goto(f"{server}/?model={quote('<img src=x onerror=alert(1)>')}&bos={quote('<b>x</b>')}&layer=99&pins=zz")
    ready(page, DEFAULT_MODEL)
    expect(page.locator(".lens-notes")).to_contain_text("Layer 99 does not exist in this model")
    expect(page.locator(".lens-notes")).to_contain_text("<b>x</b>")
    assert page.locator("img[src=x]").count() == 0


def test_the_longest_prompt_fits_into_an_address(frames, page):
    text = ("長い文" * AT_HOME.prompt_chars)[: AT_HOME.prompt_chars]
    page.goto(f"{frames}/tokens?model={REAL}")
    ready(page)
    prompt_box(page).fill(text)
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**&prompt=*")
    ready(page)
    page.reload()
    ready(page)
    expect(prompt_box(page)).to_have_value(text)


def test_a_pasted_text_that_is_too_long_is_cut_with_a_sentence(frames, new_page):
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto(f"{frames}/attention?model={REAL}")
    ready(page)
    page.evaluate("navigator.clipboard.writeText('ab '.repeat(1700))")
    prompt_box(page).fill("")
    prompt_box(page).press("Control+v")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".lens-notes")).to_contain_text(
        "Only the first 4,000 of 5,100 characters of the prompt are kept"
    )
    ready(page)
    expect(prompt_box(page)).to_have_value(("ab " * 1700)[:4000])
    assert len(query(page)["prompt"][0]) == 4000


def test_a_pin_that_the_model_lacks_leaves_note_and_no_chip(frames, page):
    page.goto(f"{frames}/attention?pins=9.9,1.2")
    ready(page, DEFAULT_MODEL)
    expect(page.locator(".lens-notes")).to_contain_text("This model has no head 9.9")
    open_controls(page)
    expect(page.locator(".st-key-strip [data-tag]")).to_have_text(["1.2"])
    assert query(page) == {"pins": ["1.2"]}


def test_a_folder_opened_by_hand_opens_again_after_a_reload(frames, page, tmp_path):
    folder = tmp_path / "by-hand"
    save(hf_gpt2(vocab_size=330, n_positions=128), folder, byte_tokenizer())
    page.goto(f"{frames}/attention")
    ready(page, DEFAULT_MODEL)
    open_controls(page)
    box = page.get_by_role("combobox", name="Model")
    box.click()
    box.fill(str(folder))
    page.keyboard.press("Enter")
    page.wait_for_url("**model=local*by-hand**")
    ready(page, "by-hand")
    page.get_by_label("Layer", exact=True).first.fill("2")
    page.keyboard.press("Enter")
    page.wait_for_url("**layer=2**")
    address = page.url
    page.reload()
    again = page.get_by_role("button", name="Open again")
    expect(again).to_have_count(1)
    expect(page.get_by_text("An address opens no folder")).to_be_visible()
    again.click()
    ready(page, "by-hand")
    expect(again).to_have_count(0)
    expect(page.get_by_label("Layer", exact=True).first).to_have_value("2")
    assert page.url == address


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_are_readable(frames, new_page, scheme):
    page = new_page(color_scheme=scheme)
    page.goto(f"{frames}/attention?model={REAL}&pins=18.6")
    ready(page)
    open_controls(page)
    for selector in (".lens-section", "textarea"):
        expect(page.locator(selector).first).to_be_visible()
    colours = page.evaluate(
        """() => [".lens-title", ".lens-badge", ".lens-section", "textarea"].map(selector => {
            const style = getComputedStyle(document.querySelector(selector));
            const back = getComputedStyle(document.querySelector("[data-testid=stApp]")).backgroundColor;
            return [style.color, back];
        })"""
    )
    for text, back in colours:
        assert abs(luminance(text) - luminance(back)) > 0.5, (scheme, text, back)
    page.screenshot(path=f"screenshots/frame-{scheme}.png")


def luminance(colour: str) -> float:
    red, green, blue = (int(n) / 255 for n in re.findall(r"\d+", colour)[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_cancel_and_unrelated_clicks_lose_nothing(serve, page):
    page.goto(serve(BUSY))
    expect(page.get_by_text(re.compile(r"step [1-9]"))).to_be_visible()
    page.get_by_role("button", name="Unrelated").click()  # restarts the page; the work goes on where it was
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled")).to_be_visible()
    page.get_by_role("button", name="Compute").click()
    expect(page.get_by_text("result 60")).to_be_visible(timeout=60_000)


def test_a_cancelled_sweep_shows_what_is_done_and_continues(serve, page):
    page.goto(serve(BUSY))
    page.get_by_text("sweep", exact=True).click()
    page.get_by_role("button", name="Cancel").click()
    text = page.get_by_text(re.compile(r"sweep has \d+ of 40"))
    expect(text).to_be_visible()
    done = int(re.search(r"has (\d+)", text.inner_text()).group(1))
    assert 5 < done < 40
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("sweep has 40 of 40")).to_be_visible(timeout=60_000)


CHAIN = ("attention", "head_scores", "qk_attribution", "ov_copying", "composition", "ablation", "training_dynamics")


def test_the_chain_is_walked_by_links_alone_and_the_head_stays(server, page):
    """From Home, step by step to the last and on to all of one head."""
    page.goto(f"{server}/?layer=1&head=1")
    ready(page, DEFAULT_MODEL)
    page.get_by_test_id("stMain").get_by_role("link", name=re.compile("Attention of 1.1")).click()
    for path in CHAIN:
        page.wait_for_url(f"**/{path}?*layer=1*")
        expect(page.locator("[class*=st-key-chain-step-]")).to_have_count(8)
        ready(page, DEFAULT_MODEL.removesuffix("@"))
        assert {name: query(page)[name] for name in ("layer", "head")} == {"layer": ["1"], "head": ["1"]}
        onward = page.get_by_test_id("stMain").get_by_role("link", name=re.compile("→"))
        onward.last.click()
    page.wait_for_url("**/head?*layer=1*head=1*")


def test_every_step_leads_back_to_the_first(server, page):
    page.goto(f"{server}/training_dynamics?layer=1&head=1")
    ready(page, DEFAULT_MODEL)
    page.get_by_role("link", name="1 attends").click()
    page.wait_for_url("**/attention?*layer=1*head=1*")
    expect(page.locator(".lens-title")).to_contain_text("Attention")
