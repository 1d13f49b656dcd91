"""The chain as the way through the app: the same steps in the same order above every page of it, the next one below.

Imports no torch: the steps stand on the screen with the frame.
"""

import streamlit as st

from lens.ui.menu import page_link
from lens.ui.page import Page
from lens.ui.shared.chain.link import LINKS, Link
from lens.ui.shared.reads import ON_REPEAT
from lens.ui.view import ViewState

ASKS = {  # after "Next:"; each completes what the step before leaves open
    "attends": "where does it look?",
    "scores": "is that more than chance?",
    "looks there because": "why does it look there?",
    "copies": "would it copy what it looks at?",
    "is fed": "which earlier heads feed it?",
    "matters": "does the model need it?",
    "was born": "when in training did it appear?",
}
WHOLE = "One head"  # the page that shows all steps of one head


def step_of(page: Page) -> Link | None:
    """The step of the chain that a page is about; None for a page beside it."""
    return next((link for link in LINKS if link.page == page.title), None)


def draw_steps(view: ViewState, page: Page) -> None:
    """All steps as links with the head kept, the page's own one marked; nothing on a page beside the chain."""
    own = step_of(page)
    if own is None:
        return
    with st.container(horizontal=True, key="chain-steps", gap="small", vertical_alignment="center"):
        for number, link in enumerate(LINKS, 1):
            with st.container(key=f"chain-step-{number}{'-here' if link is own else ''}", width="content"):
                page_link(view, link.page, f"**{number}** {link.name}", **_tokens(view, link))
        with st.container(key="chain-step-all", width="content"):
            page_link(view, WHOLE, "all of one head")


def _tokens(view: ViewState, link: Link) -> dict[str, str]:
    """The first step on the repeat that the others measure on, until a visitor has chosen what it reads."""
    return {} if link.name != "attends" or view.is_known("reads") else ON_REPEAT


def draw_next(view: ViewState, page: Page) -> None:
    """The link to the step that follows a page's own; after the last one, to all of them."""
    own = step_of(page)
    if own is None:
        return
    number = LINKS.index(own) + 1
    if number < len(LINKS):
        following = LINKS[number]
        page_link(view, following.page, f"Next: **{number + 1}** {ASKS[following.name]} →")
    else:
        page_link(view, WHOLE, "All steps of this head, side by side →")
