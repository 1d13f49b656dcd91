"""Text of all pages in both themes: its computed colour has a contrast of 4.5:1 with what lies behind it (WCAG 2)."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import in_both_themes

CONTRAST = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")
LEAST = 4.5
PAGES = {
    "home": "?layer=1&head=1&pins=1.1",
    "offer": "?model=nobody/no-such-model",  # a primary button
    "note": "?pins=9.9&bos=maybe",
    "model": "model",
    "tokens": "tokens",
    "predictions": "predictions?right=%20m&wrong=%20c&change=steer",
    "attention": "attention",
    "neurons": "neurons?model=smollm2-135m-instruct&block=2&neuron=7&texts=4&length=32",
    "text": "attention?look=text&query=5",  # tokens in colours, by CircuitsVis too
    "maps": "attention?look=maps",
    "head_scores": "head_scores?pins=1.1,0.2",
    "all_heads": "all_heads?colour=first&pins=1.1,0.1",
    "head": "head",
    "ov_copying": "ov_copying?pins=1.2",
    "composition": "composition",
    "logit_lens": "logit_lens?answer=%20m&numbers=on",
    "attribution": "attribution?more=prompts&task=repeated",
    "qk_attribution": "qk_attribution",
    "ablation": "ablation",
    "patching": "patching?model=planted-induction&task=repeated&cells=head",
    "training_dynamics": "training_dynamics",
    "method": "method?seqs=4",
}


@pytest.mark.parametrize("name", PAGES)
def test_all_text_can_be_read(server, page, name):
    page.goto(f"{server}/{PAGES[name]}")
    expect(page.locator(".lens-title")).to_be_visible()
    expect(
        page.locator(".js-plotly-plot, .lens-empty, .lens-line, [data-testid=stAlert], [class*=st-key-offer]").first
    ).to_be_visible(timeout=120_000)
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning", timeout=240_000)
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
    for scheme in in_both_themes(page):
        page.wait_for_timeout(500)  # what was stale fades, and colours turn
        found = page.evaluate(CONTRAST)
        assert len(found) > 20
        page.screenshot(path=f"screenshots/contrast-{name}-{scheme}.png", full_page=True)
        assert sorted({(value, where, text) for text, value, where in found if value < LEAST}) == [], scheme


def test_the_measure_knows_what_it_measures(page):
    page.set_content(
        '<div data-testid="stApp" style="background:#fff">'
        '<p style="color:#000">black</p><p style="color:#767676">just</p><p style="color:#777">under</p>'
        '<div style="opacity:.5"><p style="color:#000">half</p></div>'
        '<b style="background:rgb(127 182 255)"><i style="color:#fff">button</i></b><p hidden>not there</p></div>'
    )
    found = {text: value for text, value, _ in page.evaluate(CONTRAST)}
    assert found == {"black": 21, "just": 4.54, "under": 4.48, "half": 3.98, "button": 2.09}
