"""Patching in a real browser: a click on a cell looks into it, on a head selects it, both themes fit a projector."""

from functools import partial

from playwright.sync_api import expect

from lens.ui.fields import DEFAULT_MODEL
from lens.ui.shared.task_fields import EXAMPLE
from tests.browser import conftest
from tests.browser.conftest import go, in_both_themes, query, ready

PLANTED = "model=planted-induction&task=repeated"


drawn = partial(conftest.drawn, model="planted-induction")
click_cell = partial(conftest.click_head, model="planted-induction")  # of any map: across, down


def test_a_click_on_a_cell_looks_into_it_and_the_address_keeps_it(server, page):
    page.goto(f"{server}/patching?{PLANTED}")
    drawn(page, "Stream before the layer")
    expect(page.locator("strong", has_text="Layer 0 at 10")).to_be_visible()
    click_cell(page, "Stream before the layer", 14, 1)
    page.wait_for_url("**cell=1.14**")
    expect(page.locator("strong", has_text="Layer 1 at 14")).to_be_visible()
    page.reload()
    expect(page.locator("strong", has_text="Layer 1 at 14")).to_be_visible()


def test_a_click_on_a_head_selects_it_and_a_second_one_pins_it(server, page):
    page.goto(f"{server}/patching?{PLANTED}&cells=head")
    drawn(page, "Output of heads")
    click_cell(page, "Output of heads", 2, 1)
    page.wait_for_url("**cell=1.2**")
    assert (query(page)["layer"], query(page)["head"]) == (["1"], ["2"])
    drawn(page, "Output of heads")
    click_cell(page, "Output of heads", 2, 1)
    page.wait_for_url("**pins=1.2**")
    assert query(page)["cell"] == ["1.2"]
    page.get_by_role("tab", name="Path patching").click()
    expect(page.get_by_text("Strongest direct senders into the final stream: head 1.2")).to_be_visible()
    page.get_by_role("radio", name="Values").or_(page.get_by_role("button", name="Values")).first.click()
    expect(page.get_by_text("Strongest direct senders into the values of 1.2: embedding (20.00)")).to_be_visible()
    click_cell(page, "Direct paths into the values of 1.2", 1, 0)
    page.wait_for_url("**receivers=1.2**")
    expect(page.get_by_text("Strongest direct senders into the values of 1.2: embedding (20.00)")).to_be_visible()
    assert (query(page)["layer"], query(page)["head"], query(page)["pins"]) == (["0"], ["1"], ["1.2"])


def test_own_pairs_go_from_page_to_page_and_the_metric_is_called_what_it_is(server, page):
    page.goto(f"{server}/patching?task=own")
    metric = page.get_by_role("combobox", name="Metric").first  # for a moment the one before stands there too
    expect(metric).to_have_value("Task's own: logit difference")
    ready(page, DEFAULT_MODEL)
    pair = EXAMPLE.rpartition(" | ")[0]  # without its wrong answer there is no difference
    box = page.get_by_role("textbox", name="Pairs, one a line").first
    box.fill(pair)
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**own=**")
    expect(metric).to_have_value("Task's own: log-probability")
    ready(page, DEFAULT_MODEL)
    go(page, "Ablation")
    ready(page, DEFAULT_MODEL)
    page.get_by_role("combobox", name="Task").click(delay=90)
    page.get_by_role("option", name="Your own pairs").click()
    expect(page.get_by_role("textbox", name="Pairs, one a line").first).to_have_value(pair)
    expect(metric).to_have_value("Task's own: log-probability")
    ready(page, DEFAULT_MODEL)
    expect(page.get_by_role("combobox", name="Metric")).to_have_count(1)
    assert query(page)["own"] == [pair]


def test_the_page_fits_the_width_of_a_projector(server, page):
    for width, height in ((1280, 800), (1920, 1080)):
        page.set_viewport_size({"width": width, "height": height})
        page.goto(f"{server}/patching?{PLANTED}")
        drawn(page, "APPROXIMATION against exact values")
        for scheme in in_both_themes(page):
            assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= width
            page.screenshot(path=f"screenshots/patching-{scheme}-{width}.png")
