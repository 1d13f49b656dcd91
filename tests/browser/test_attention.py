"""The Attention page in a real browser: clicks on rows and heads, CircuitsVis through re-runs, hostile prompts."""

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from lens.figures.theme import head_colours
from tests.browser.conftest import REAL, go, prompt_box, query, ready

HOSTILE = "</script><img src=x onerror=alert(1)>"
TEXT = "red apple green pear red apple green pear"
# Streamlit's v2 components live in shadow roots: Playwright's own selectors pierce those, querySelector does not.
NODES = "document.querySelectorAll('body > [id^=lens-circuits]').length"


def drawn(page, title, model=REAL):
    """The chart with this title stands, and nothing is running."""
    expect(page.locator(".gtitle").first).to_contain_text(title)
    ready(page, model)


def circuits(page):
    """The one CircuitsVis view of the page, drawn."""
    view = page.locator(".lens-circuits")
    expect(view).to_have_count(1)
    expect(view.locator("canvas, img, svg").first).to_be_visible()
    return view


def chip(page, position):
    return page.locator(".lens-chips .lens-strip b").nth(position)


def cell(page, row, column, size):
    """The middle of a cell of the matrix, relative to its plot."""
    box = page.locator(".js-plotly-plot .nsewdrag").first.bounding_box()
    return box["x"] + (column + 0.5) * box["width"] / size, box["y"] + (row + 0.5) * box["height"] / size


def test_a_click_on_a_row_locks_its_query_and_a_second_one_unlocks_it(server, page):
    page.goto(f"{server}/attention?model={REAL}&layer=0&head=0&prompt={quote(TEXT)}")
    drawn(page, "Head 0.0")
    size = page.locator(".lens-chips b").count()
    page.mouse.click(*cell(page, 6, 2, size))
    page.wait_for_url("**query=6*")
    expect(chip(page, 6)).to_have_class(re.compile(r"\bon\b"))
    expect(page.locator(".annotation-text").filter(has_text="◂ query 6")).to_have_count(1)
    expect(page.locator(".lens-line.notice")).to_contain_text("Query 6 ")
    ready(page)
    page.mouse.click(*cell(page, 6, 1, size))
    expect(page.locator(".annotation-text")).to_have_count(0)
    assert "query" not in query(page)
    chip(page, 4).click()
    page.wait_for_url("**query=4*")
    ready(page)  # an open list closes when the page is drawn anew
    page.get_by_role("combobox", name="Locked query").click(delay=90)
    page.get_by_role("option", name=re.compile("^3: ")).click()
    page.wait_for_url("**query=3*")
    page.go_back()
    expect(page.locator(".annotation-text").filter(has_text="query 4")).to_have_count(1)
    ready(page)
    expect(page.locator(".annotation-text")).to_have_count(1)


def test_a_click_on_a_small_picture_makes_its_head_the_current_one(server, page):
    page.goto(f"{server}/attention?model={REAL}&look=all&prompt={quote(TEXT)}")
    drawn(page, "All 270 heads")
    box = page.locator(".js-plotly-plot .nsewdrag").first.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 18.5 / 30, box["y"] + box["height"] * 6.5 / 9)
    page.wait_for_url("**head=6*")
    assert query(page) == {"look": ["all"], "layer": ["18"], "head": ["6"], "prompt": [TEXT]}
    ready(page)
    expect(page.get_by_label("Layer", exact=True).first).to_have_value("18")
    for pinned, url in ((["18.6"], "**pins=18.6**"), (None, lambda url: "pins" not in url)):
        page.mouse.click(box["x"] + box["width"] * 18.5 / 30, box["y"] + box["height"] * 6.5 / 9)
        page.wait_for_url(url)
        ready(page)
        assert query(page).get("pins") == pinned
    page.get_by_role("radio", name="Matrix").click()
    drawn(page, "Head 18.6")


def test_pinned_heads_are_laid_over_each_other(server, page):
    page.goto(f"{server}/attention?model={REAL}&layer=18&head=6&prompt={quote(TEXT)}")
    drawn(page, "Head 18.6")
    page.get_by_role("button", name="Pin 18.6").click()
    page.wait_for_url("**pins=18.6*")
    page.get_by_role("button", name=re.compile("Most content-dependent")).click()
    page.wait_for_url(lambda url: "layer=18&head=6" not in url)
    ready(page)
    page.get_by_role("button", name=re.compile(r"^\S*\s*Pin ")).click()
    page.wait_for_url("**pins=18.6%2C*")
    page.get_by_role("radio", name="Pinned").click()
    drawn(page, "2 heads")
    expect(page.locator(".legendtext").first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("look", ["text", "maps"])
def test_circuitsvis_works_on_a_deep_link_and_after_a_page_switch(server, new_page, look, scheme):
    page = new_page(color_scheme=scheme)
    page.goto(f"{server}/attention?model={REAL}&look={look}&layer=18&prompt={quote(TEXT)}")
    ready(page)
    fits(circuits(page))
    go(page, "Tokens")
    ready(page)
    expect(page.locator(".lens-circuits")).to_have_count(0)
    go(page, "Attention")
    ready(page)
    view = circuits(page)
    fits(view)
    expect(view).to_have_attribute("data-mode", scheme)
    expect(view).to_have_attribute("aria-label", re.compile(r"18\.0|9 heads"))


def fits(view):
    """As high as what it holds: neither a scroll bar of its own nor room left under it."""
    inner, outer, last = view.evaluate(
        """view => [view.scrollHeight, view.clientHeight,
             view.getBoundingClientRect().bottom - view.lastElementChild.getBoundingClientRect().bottom]"""
    )
    assert inner == outer > 150
    assert 0 <= last < 12


@pytest.mark.parametrize("look", ["text", "maps"])
def test_many_runs_leave_nothing_behind(server, page, look):
    page.goto(f"{server}/attention?model={REAL}&layer=0&head=0&look={look}&prompt={quote(TEXT)}")
    ready(page)
    circuits(page)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def alive() -> tuple[int, int]:
        """DOM nodes and event listeners of the tab, those that only a script still holds included."""
        session.send("HeapProfiler.collectGarbage")
        metrics = {metric["name"]: int(metric["value"]) for metric in session.send("Performance.getMetrics")["metrics"]}
        return metrics["Nodes"], metrics["JSEventListeners"]

    more, counts = page.get_by_test_id("stNumberInputStepUp").first, []
    for layer in range(1, 11):
        more.click()
        page.wait_for_url(f"**layer={layer}*")
        ready(page)
        circuits(page)
        assert page.evaluate(NODES) == 0
        counts.append(alive())
    # Streamlit itself keeps about 10 nodes a run; a drawing that is not taken down keeps 100 and up to 191 listeners.
    nodes, listeners = (last - early for last, early in zip(counts[-1], counts[3]))
    assert nodes < 250
    assert listeners < 100


@pytest.mark.parametrize("how", ["address", "typed"])
def test_a_hostile_prompt_is_text_in_every_view(server, page, how):
    page.goto(f"{server}/attention?model={REAL}&query=3" + (f"&prompt={quote(HOSTILE)}" if how == "address" else ""))
    ready(page)
    if how == "typed":
        prompt_box(page).fill(HOSTILE)
        page.keyboard.press("Control+Enter")
        page.wait_for_url("**prompt=*")
        ready(page)
    proofs = {
        "Matrix": page.locator(".ytick").filter(has_text="script").first,
        "On the text": page.locator(".lens-circuits").filter(has_text="script"),
        "Head maps": page.locator(".lens-circuits[aria-label^='Attention maps'] canvas").first,  # tokens only on hover
        "All heads": page.locator(".gtitle").filter(has_text="All 270 heads"),
    }
    for label, proof in proofs.items():
        page.get_by_role("radio", name=label).click()
        expect(proof).to_be_visible()
        ready(page)
        assert page.locator("img[src=x]").count() == 0


def test_the_longest_prompt_stays_usable(server, page):
    text = "The Eiffel Tower is in the city of Paris. The Colosseum is in the city of Rome, and nobody knows. " * 38
    page.goto(f"{server}/attention?model={REAL}&layer=18&head=6&prompt={quote(text[:3900])}")
    expect(page.locator(".gtitle").first).to_contain_text("Head 18.6", timeout=240_000)
    expect(page.locator(".lens-line").filter(has_text="drawn in blocks of")).to_be_visible()
    page.get_by_test_id("stNumberInputStepUp").nth(1).click()
    drawn(page, "Head 18.7")
    page.get_by_role("radio", name="Head maps").click()
    fits(circuits(page))
    expect(page.locator(".lens-line").filter(has_text="are drawn.")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_draw_every_view(server, new_page, scheme):
    page = new_page(color_scheme=scheme)
    page.goto(f"{server}/attention?model={REAL}&layer=18&head=6&query=8&prompt={quote(TEXT)}")
    for look, label in (("matrix", "Matrix"), ("text", "On the text"), ("maps", "Head maps"), ("all", "All heads")):
        page.get_by_role("radio", name=label).click()
        ready(page)
        page.wait_for_timeout(500)
        page.screenshot(path=f"screenshots/attention-{look}-{scheme}.png", full_page=True)


LIT = "chip => [...chip.classList].filter(name => ['looked', 'looks', 'here'].includes(name))"
# 1.2: a head of a planted model that looks from the second copy of a repeat at what followed in the first.
HUES_OF_LAYER = head_colours([(1, head) for head in range(4)])
PLANTED = f"attention?model=planted-induction&layer=1&head=2&prompt={quote(TEXT)}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_hovered_token_lights_up_strip_and_matrix_and_nothing_is_sent(server, chromium, scheme):
    context = chromium.new_context(viewport={"width": 1440, "height": 1400}, color_scheme=scheme)
    page, sent = context.new_page(), []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    page.goto(f"{server}/{PLANTED}")
    drawn(page, "Head 1.2", "planted-induction")
    frames, line, before = page.locator(".lens-light"), page.locator(".lens-looks"), len(sent)
    assert before > 0  # the count counts
    expect(line).to_contain_text("orange is what it looks at")
    plain = chip(page, 0).evaluate("chip => getComputedStyle(chip).backgroundColor")
    chip(page, 19).hover()
    assert chip(page, 19).evaluate(LIT) == ["here"]
    at, weight = re.search(r"19 'a' looks at (\d+) '.' (\d\.\d\d)", line.text_content()).groups()
    assert float(weight) > 0.5
    assert chip(page, int(at)).evaluate(LIT) == ["looked"]
    assert chip(page, int(at)).evaluate("chip => getComputedStyle(chip).backgroundColor") != plain
    expect(frames).to_have_count(2)
    row, column, plot = (box.bounding_box() for box in (frames.first, frames.last, page.locator(".nsewdrag").first))
    size = page.locator(".lens-chips b").count()
    assert row["y"] - plot["y"] == pytest.approx(19 * plot["height"] / size, abs=1)
    assert column["x"] - plot["x"] == pytest.approx(19 * plot["width"] / size, abs=1)
    chip(page, int(at)).hover()  # the other way round: it is looked at by the token that was hovered
    assert chip(page, 19).evaluate(LIT) == ["looks"]
    page.mouse.move(*cell(page, 25, 3, size))  # a row of the matrix lights up the text
    expect(chip(page, 25)).to_have_class(re.compile(r"\bhere\b"))
    page.mouse.move(5, 5)
    expect(frames).to_have_count(0)
    chip(page, 0).focus()
    for position in (1, 2):
        page.keyboard.press("ArrowRight")
        assert "here" in chip(page, position).evaluate(LIT)
    page.wait_for_timeout(300)
    assert len(sent) == before
    context.close()


def test_circuitsvis_speaks_of_queries_and_keys_in_the_hues_of_the_heads(server, page):
    page.goto(f"{server}/{PLANTED}&look=text")
    ready(page, "planted-induction")
    view = circuits(page)
    assert view.locator("option").all_text_contents() == ["query → what it looks at", "key → who looks at it"]
    assert view.locator("figcaption").all_text_contents() == ["1.0", "1.1", "1.2", "1.3"]
    page.goto(f"{server}/{PLANTED}&look=maps")
    ready(page, "planted-induction")
    view = circuits(page)
    assert view.locator("h4").all_text_contents() == ["1.0", "1.1", "1.2", "1.3"]
    expect(view.locator("h2")).to_have_text("1.2")  # the current head is enlarged
    hues = view.locator("h4").evaluate_all("names => names.map(name => getComputedStyle(name).backgroundColor)")
    halves = [[(255 + int(colour[i : i + 2], 16)) / 2 for i in (1, 3, 5)] for colour in HUES_OF_LAYER]
    for hue, half in zip(hues, halves):
        assert [float(part) for part in re.findall(r"[\d.]+", hue)[:3]] == pytest.approx(half, abs=1)
    assert "Source" not in view.text_content()
