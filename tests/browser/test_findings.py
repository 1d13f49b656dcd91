"""A view is kept, goes out as one page that needs nothing, and is opened again, in the real browser."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from lens.ui.fields import DEFAULT_MODEL
from tests.browser.conftest import HOSTILE, drawn


def test_a_view_is_kept_taken_away_and_opened_again(server: str, new_page: Callable[..., Page]):
    page = new_page()
    page.goto(f"{server}/head_scores?layer=1&head=1&n=10")
    drawn(page, "every head of", DEFAULT_MODEL)
    page.get_by_text("Keep this as a finding").click()
    page.get_by_role("textbox", name="Note").fill(HOSTILE)
    page.get_by_role("button", name="Keep", exact=True).click()
    page.get_by_role("link", name="Findings: 1 kept").click(delay=50)
    expect(page.locator(".lens-finding p")).to_have_text(HOSTILE)
    expect(page.locator(".gtitle").filter(has_text="every head of")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Page (HTML)").click()

    alone = new_page()
    alone.set_content(download.value.path().read_text(encoding="utf-8"))
    expect(alone.locator(".gtitle")).to_contain_text("every head of")
    expect(alone.locator("article p").first).to_have_text(HOSTILE)

    page.get_by_role("link", name="Open: Head scores").click(delay=50)
    page.wait_for_url("**/head_scores?*layer=1&head=1&n=10*")
    drawn(page, "every head of", DEFAULT_MODEL)
