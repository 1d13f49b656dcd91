"""The first minutes: the chain is walked by links alone, and on every page a picture stands on the first screen."""

import re
from pathlib import Path

import numpy as np
from playwright.sync_api import expect

from lens.figures.grid import grid
from lens.figures.lines import Line, repeat_loss
from lens.figures.measure import Axes, Measure
from lens.figures.patch_map import patch_map
from lens.figures.theme import standalone
from lens.figures.thumbnails import thumbnails
from lens.figures.training import Axis, Level, Panel, Span, Trace, training
from lens.ui.fields import DEFAULT_MODEL
from lens.ui.menu import MENU
from tests.browser.conftest import SIZE, drawn, query, ready

CHAIN = ("attention", "head_scores", "qk_attribution", "ov_copying", "composition", "ablation", "training_dynamics")
SIZES = {(1400, 900): 260, (700, 450): 330, (390, 844): 560}  # pixels: window, and where the first picture may begin
# A figure; where a page has none first, its strip or table of tokens, its facts or its scorecard. The default model has
# no MLPs, so the page of neurons says that.
PICTURES = (
    ".js-plotly-plot, .lens-facts, .lens-card table, .lens-empty, "
    ".st-key-tokens-strip, .st-key-predictions-strip, .st-key-logit_lens-table"
)
FIRST = """pictures => {
  const main = document.querySelector("[data-testid=stMain]");
  const tops = [...main.querySelectorAll(pictures)].map(node => node.getBoundingClientRect())
    .filter(box => box.height > 24).map(box => box.top + main.scrollTop);
  return [Math.min(...tops), main.scrollWidth - innerWidth];
}"""

# Of those on the first screen, what is said first of a figure; what else is to notice goes on without a title.
NOTICES = """() => [...document.querySelectorAll(".lens-line.notice b")]
  .filter(title => title.checkVisibility({visibilityProperty: true}) && title.getBoundingClientRect().top < innerHeight)
  .map(title => title.parentNode.textContent)"""
COLLISIONS = (Path(__file__).parent / "collisions.js").read_text(encoding="utf-8")
DRAWN = """() => [...document.querySelectorAll("[data-testid=stMain] [data-testid=stPlotlyChart]")].every(
  chart => chart.querySelector(".js-plotly-plot")?.getBoundingClientRect().height > 24)"""

GO = """path => {
  const link = Object.assign(document.createElement("a"), {className: "lens-go", href: path});
  document.body.append(link);
  link.click();
  link.remove();
}"""

# Back, or Forward, pressed again before the page of the last step has begun.
HURRY = """async steps => {
  for (let step = 0; step < Math.abs(steps); step++) {
    history.go(Math.sign(steps));
    await new Promise(done => setTimeout(done, 40));
  }
}"""


def follow(page, name):
    """A link of the page itself, not of the menu, as a hand clicks it."""
    page.get_by_test_id("stMain").get_by_role("link", name=re.compile(name)).first.click(delay=50)


def stands(page, path):
    """The page of this address, about head 1.1, at rest."""
    page.wait_for_url(f"**/{path}?*layer=1*head=1*")
    ready(page, DEFAULT_MODEL)
    assert {name: query(page)[name] for name in ("layer", "head")} == {"layer": ["1"], "head": ["1"]}


def test_a_newcomer_reaches_all_links_of_the_chain_by_links_alone_and_comes_back(server, page):
    page.goto(server)
    follow(page, "1 · See it")
    for number, path in enumerate(CHAIN, 1):
        stands(page, path)
        expect(page.locator(f".st-key-chain-step-{number}-here")).to_be_visible()
        follow(page, "→$")
    stands(page, "head")
    expect(page.locator(".lens-chain li.found")).to_have_count(7)
    for number, path in enumerate(CHAIN, 1):
        follow(page, "^Attention of 1.1" if number == 1 else f"^{number} ")
        stands(page, path)
    follow(page, "^1 attends")
    stands(page, "attention")
    page.get_by_test_id("stSidebar").get_by_role("link", name="Home").click(delay=50)
    drawn(page, "1 · Head 1.1 attends", DEFAULT_MODEL)
    steps = page.evaluate("history.length")
    page.evaluate(HURRY, -4)  # past attention, training_dynamics and ablation
    stands(page, "composition")
    expect(page.locator(".lens-title")).to_contain_text("Composition")
    page.evaluate(HURRY, 4)
    drawn(page, "1 · Head 1.1 attends", DEFAULT_MODEL)
    assert page.evaluate("history.length") == steps, "a page that was left has written itself into the steps of Back"


def test_a_head_that_a_sentence_names_is_a_link_that_keeps_this_tab(server, page):
    page.goto(f"{server}/head_scores?n=10")
    drawn(page, "every head of", DEFAULT_MODEL)
    page.evaluate("window.thisTab = true")
    page.locator(".lens-line.notice a").first.click()
    page.wait_for_url("**/head?n=10&layer=1&head=1")
    ready(page, DEFAULT_MODEL)
    assert page.evaluate("window.thisTab")


def test_what_heads_read_is_the_same_from_page_to_page(server, page):
    page.goto(f"{server}/?layer=1&head=1")
    drawn(page, "1 · Head 1.1 attends", DEFAULT_MODEL)
    follow(page, "^Attention of 1.1")
    stands(page, "attention")
    assert query(page)["reads"] == ["repeat"]
    expect(page.locator(".annotation-text").filter(has_text="after its first occurrence")).to_be_visible()
    expect(page.locator(".lens-line.notice")).to_contain_text("Of the outlined cells")
    page.get_by_role("radio", name="Prompt").click()
    page.wait_for_url(lambda url: "reads" not in url)
    expect(page.locator(".annotation-text")).to_have_count(0)


def at_rest(page):
    """Where the first picture begins and how much wider than the window the page is, once neither moves."""
    before, now = None, page.evaluate(FIRST, PICTURES)
    while now != before:
        page.wait_for_timeout(400)
        before, now = now, page.evaluate(FIRST, PICTURES)
    return now


def test_a_picture_stands_on_the_first_screen_of_every_page_and_nothing_moves_sideways(server, page):
    late = []
    page.goto(server)
    for one in (page for page in MENU if page.section != "Show"):  # a deck is a list of addresses
        page.set_viewport_size(SIZE)
        page.evaluate(GO, f"/{one.path}")  # as a link does: the app is loaded once
        expect(page.locator(".lens-title")).to_contain_text(f"{one.title}: ")
        page.locator(PICTURES).first.wait_for()
        expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
        for (width, height), latest in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_function(DRAWN)
            first, sideways = at_rest(page)
            assert sideways <= 0, f"{one.title} is {sideways} pixels wider than the window of {width}"
            if not 0 < first <= latest:
                late.append(f"{one.title} at {width}: {first}")
            if width == 1400:
                assert len(page.evaluate(NOTICES)) <= 1, f"{one.title} gives more than one notice at first sight"
                assert page.evaluate(COLLISIONS) == [], f"on {one.title} parts of a chart lie over each other"
    assert not late, "the first picture begins too far down"


def exported():
    """Figures with colour bars, facets, a legend and labels at their edges."""
    values = np.linspace(-1, 1, 8).reshape(2, 4)
    score = Measure("score minus control", "What it is. " * 12, values, "probability", threshold=0.2, signed=True)
    axes = Axes("layer", "position", columns=[f"{at} ·token" for at in range(4)])
    x, points = np.array([1.0, 10, 100, 1000]), np.array([(1, at, 0, 2) for at in range(4)])
    curve = Trace("lens-2l head 1.1", x, np.array([0.4, 4, 9, 10]), points, 1, legend=True)
    levels = [Level(np.log(25), "ln 25: a guess among the repeated tokens"), Level(9.0, "null of lens-2l", right=True)]
    panels = [Panel("Loss on repeated random tokens: second copy, first copy dotted (nats)", [curve], levels)] * 3
    return (
        grid(score, title="Every head"),
        patch_map(score, axes, [[""] * 4] * 2),
        thumbnails(np.ones((2, 4, 6, 6)) / 6, title="Every head of every layer"),
        repeat_loss([Line("repeated", np.full(50, 3.0)), Line("control", np.full(50, 9.0))], 25, n_sampled=805),
        training(panels, Axis("training tokens", log=True), title="", spans=[Span(10, 100, 1, "phase change")]),
    )


def test_in_an_exported_file_nothing_of_a_figure_lies_over_another_part_of_it(page):
    page.set_viewport_size({"width": 1000, "height": 700})
    for figure in exported():
        page.set_content(standalone(figure).to_html(include_plotlyjs=True))
        page.locator(".plotly .main-svg").first.wait_for()
        assert page.evaluate(COLLISIONS) == [], figure.layout.title.text
