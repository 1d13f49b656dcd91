"""Training dynamics in a real browser: a run opened by its path, a point clicked, a head that plays, both themes."""

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.analysis.runs import write_run
from tests.browser.conftest import ROOT, at_rest, open_controls, query, streamlit_server
from tests.helpers import byte_tokenizer

HOSTILE = "</script><img src=x onerror=alert(1)>"
SMALL = "n=12&texts=4&late=40&early=8&around=2"
CURVE = """([name, index]) => {
    const plot = [...document.querySelectorAll('.js-plotly-plot')].find(
        node => node.data.some(trace => trace.name === name));
    plot.scrollIntoView({ block: 'center' });
    const trace = plot._fullData.find(trace => trace.name === name), box = plot.getBoundingClientRect();
    const { xaxis: x, yaxis: y } = plot._fullLayout;
    return [box.left + x._offset + x.c2p(trace.x[index]), box.top + y._offset + y.c2p(trace.y[index])];
}"""
PLAYED = """() => {
    const plot = [...document.querySelectorAll('.js-plotly-plot')].find(node => node.layout.sliders);
    return [plot.layout.sliders[0].active, plot._fullData[2].x[0], plot._transitionData._frames.length];
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "run", byte_tokenizer())


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The real app with a cache of its own."""
    with streamlit_server(ROOT / "app.py", {"LENS_CACHE": str(tmp_path_factory.mktemp("cache"))}) as url:
        yield url


def drawn(page):
    """The curves and the playing head are on the page, and the page is at rest."""
    expect(page.locator(".gtitle").filter(has_text="Head ").first).to_be_visible(timeout=120_000)
    at_rest(page)


def open_run(page, address, folder, rest_of=SMALL):
    page.goto(f"{address}/training_dynamics?model=smollm2-135m-instruct&{rest_of}")
    open_controls(page)
    box = page.get_by_role("combobox", name="Model")
    expect(page.get_by_text("No checkpoints of")).to_be_visible(timeout=120_000)
    at_rest(page)
    box.click()
    box.fill(str(folder))
    page.keyboard.press("Enter")
    drawn(page)


def test_a_click_on_a_point_opens_that_checkpoint_and_selects_the_head(address, page, folder):
    open_run(page, address, folder, f"{SMALL}&axis=linear&pins=1.2")
    page.mouse.click(*page.evaluate(CURVE, ["run head 1.2", 3]))
    page.wait_for_url("**revision=checkpoint-100**")
    drawn(page)
    assert (query(page)["layer"], query(page)["head"], query(page)["pins"]) == (["1"], ["2"], ["1.2"])
    page.get_by_role("button", name="Unpin 1.2", exact=True).click()
    page.wait_for_url(lambda url: "pins" not in url)
    drawn(page)
    expect(page.locator(".lens-badge b")).to_contain_text("@step 100")
    expect(page.get_by_label("Checkpoint", exact=True)).to_have_value(re.compile("step 100"))
    page.get_by_role("link", name="Attention", exact=True).click()
    expect(page.locator(".lens-badge b")).to_contain_text("@checkpoint-100", timeout=120_000)


def test_the_head_plays_and_the_slider_goes_to_a_checkpoint(address, page, folder):
    open_run(page, address, folder, f"{SMALL}&axis=linear")
    assert page.evaluate(PLAYED) == [4, 400, 5]
    page.locator(".updatemenu-button").filter(has_text="Play").click()
    page.wait_for_function(f"({PLAYED})()[0] === 1")
    page.wait_for_function(f"({PLAYED})()[1] === 400", timeout=20_000)
    rail = page.locator(".slider-rail-touch-rect").bounding_box()
    page.mouse.click(rail["x"] + 2, rail["y"] + rail["height"] / 2)
    page.wait_for_function(f"({PLAYED})()[1] === 0")
    at_rest(page)


CELL = """([row, column]) => {
    const plots = [...document.querySelectorAll('.js-plotly-plot')];
    const plot = plots.find(node => node.data.some(trace => trace.type === 'heatmap') && !node.layout.sliders);
    plot.scrollIntoView({ block: 'center' });
    const box = plot.getBoundingClientRect(), { xaxis: x, yaxis: y } = plot._fullLayout;
    return [box.left + x._offset + x.c2p(column), box.top + y._offset + y.c2p(row)];
}"""


def test_a_click_on_a_cell_of_every_head_opens_its_checkpoint_and_its_head(address, page, folder):
    open_run(page, address, folder, f"{SMALL}&score=duplicate")
    page.mouse.click(*page.evaluate(CELL, [6, 2]))
    page.wait_for_url("**revision=checkpoint-40**")
    drawn(page)
    assert (query(page)["layer"], query(page)["head"]) == (["1"], ["2"])


def test_a_cancel_keeps_the_curves_that_are_done(address, page):
    page.goto(f"{address}/training_dynamics?model=lens-2l&texts=64&seqs=64")
    button = page.get_by_role("button", name="Cancel", exact=True)
    expect(button).to_be_visible(timeout=120_000)
    filling = page.get_by_text("Prefix matching − control, each head (probability)").first
    expect(filling).to_be_visible(timeout=120_000)  # one checkpoint can take long on a busy machine
    button.click()
    expect(page.get_by_text(re.compile(r"Cancelled: \d+ of 22 parts are computed and kept"))).to_be_visible()
    drawn(page)
    page.get_by_text("Measured on").click()
    expect(page.get_by_text(re.compile(r"Checkpoints: lens-2l \d+ of 22"))).to_be_visible()
    page.get_by_role("button", name="Continue").click()
    # New words close the row they stand in; they are on the page all the same.
    expect(page.get_by_text("Checkpoints: lens-2l 22 of 22")).to_be_attached(timeout=120_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_hostile_prompt_plays_as_text(address, new_page, folder, scheme):
    page = new_page(color_scheme=scheme)
    open_run(page, address, folder, f"{SMALL}&play=prompt&prompt={quote(HOSTILE)}")
    labels = page.locator(".js-plotly-plot .xtick text, .js-plotly-plot .ytick text")
    expect(labels.filter(has_text="<").first).to_be_attached()
    assert page.locator("img[src='x']").count() == 0


def test_a_model_without_checkpoints_has_words_not_a_chart(address, page):
    page.goto(f"{address}/training_dynamics?model=smollm2-135m-instruct")
    expect(page.get_by_text("No checkpoints of smollm2-135m-instruct are known")).to_be_visible(timeout=120_000)
    assert page.locator(".js-plotly-plot").count() == 0
