"""A talk in the real browser, with everything outside blocked."""

from playwright.sync_api import Page, expect


def test_a_talk_is_played_by_keyboard_alone_and_left_on_the_view_that_stands_there(server: str, page: Page):
    page.goto(f"{server}/deck")
    page.get_by_role("button", name="Start").click()
    deck = page.get_by_role("region", name="How an induction head works, and when it was born")
    question = deck.locator(".question")
    expect(question).to_contain_text("where will head 1.1 look?")
    shown = deck.locator("iframe:not([hidden])")
    expect(shown.content_frame.locator(".lens-subtitle")).to_be_visible()  # behind its question

    page.keyboard.press("Space")
    expect(question).to_be_hidden()
    expect(shown.content_frame.locator(".lens-subtitle")).to_contain_text("head 1.1")
    following = deck.locator("iframe[hidden]")
    expect(following).to_have_attribute("title", "It scores")  # computed in advance

    shown.content_frame.locator(".lens-title").click()  # the keyboard is in the slide now
    page.keyboard.press("PageDown")
    expect(question).to_contain_text("more than chance?")
    page.keyboard.press("PageDown")
    expect(shown).to_have_attribute("title", "It scores")
    expect(page).to_have_url(f"{server}/deck?slide=2&play=1")
    page.keyboard.press("n")
    expect(deck.locator(".note")).to_be_visible()
    page.keyboard.press("q")
    expect(deck.locator(".code svg")).to_be_visible()

    page.keyboard.press("Escape")
    expect(page).to_have_url(f"{server}/head_scores?model=lens-2l&layer=1&head=1")
    expect(page.locator(".gtitle").filter(has_text="every head of lens-2l").first).to_be_visible()
