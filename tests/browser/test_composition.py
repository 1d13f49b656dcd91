"""Composition in a real browser: a click on a pair chooses it, rows and nodes choose, hostile prompts, both themes."""

from urllib.parse import quote

from playwright.sync_api import expect

from tests.browser.conftest import HOSTILE, REAL, click_head, drawn, fits, query

SMALL = f"model={REAL}&n=10&seqs=4"
MATRIX = "K-composition − null of all pairs of heads"
N_HEADS = 9


def click_pair(page, sender, receiver):
    """Click the cell of a pair: receivers across, senders down, both counted through all layers."""
    across, down = (layer * N_HEADS + head for layer, head in (receiver, sender))
    click_head(page, MATRIX, across, down)


def test_a_click_on_a_pair_chooses_it_and_a_second_one_pins_the_receiver(server, page):
    page.goto(f"{server}/composition?{SMALL}")
    drawn(page, "The 30 strongest pairs")
    expect(page.get_by_text("Feeders of 18.7 through K")).to_be_visible()
    click_pair(page, (16, 0), (17, 3))  # its strongest: of the others of a large map it is only said what they are
    expect(page.get_by_text("Feeders of 17.3 through K")).to_be_visible()
    page.wait_for_url("**layer=17&head=3**sender=16.0**")
    click_pair(page, (11, 1), (17, 3))
    page.wait_for_url("**layer=17&head=3**sender=11.1**")
    assert "pins" not in query(page)
    click_pair(page, (11, 1), (17, 3))
    page.wait_for_url("**pins=17.3**")
    assert query(page)["sender"] == ["11.1"]
    page.get_by_role("tab", name="Virtual weights").click()
    expect(page.get_by_text("11.1 → 17.3 through K: the first of the directions")).to_be_visible()
    page.reload()
    expect(page.get_by_text("11.1 → 17.3 through K: the first of the directions")).to_be_visible()


def test_a_node_of_the_graph_becomes_the_receiver_and_a_row_the_sender(server, page):
    page.goto(f"{server}/composition?{SMALL}&edges=10")
    click_head(page, "The 10 strongest pairs", 18, 8)
    expect(page.get_by_text("Feeders of 18.8 through K")).to_be_visible()
    page.wait_for_url("**layer=18&head=8**")
    drawn(page, MATRIX)
    table = page.get_by_test_id("stDataFrame").first
    table.scroll_into_view_if_needed()
    box = table.bounding_box()
    page.mouse.click(box["x"] + 18, box["y"] + 35 + 35 + 17)
    page.wait_for_url("**sender=**")
    drawn(page, MATRIX)


def test_the_weights_agree_with_the_activations_about_the_strongest_induction_head(server, page):
    page.goto(f"{server}/composition?{SMALL}&more=prefix&pins=17.3")
    drawn(page, "Prefix matching: weights against activations")
    expect(page.get_by_text("From weights the strongest is 18.6")).to_be_visible()
    expect(page.get_by_text("the strongest induction head 18.6 has")).to_be_visible()


def test_a_hostile_prompt_changes_nothing(server, page):
    page.goto(f"{server}/composition?{SMALL}&prompt={quote(HOSTILE)}")
    drawn(page, MATRIX)
    assert query(page)["prompt"] == [HOSTILE]
    assert page.locator("img[src=x]").count() == 0


def test_the_page_fits_the_width_of_a_projector(server, page):
    for width in (1280, 1920):
        fits(page, f"{server}/composition?{SMALL}&pins=18.6", "The 30 strongest pairs", "composition", width)
