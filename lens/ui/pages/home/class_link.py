"""For who teaches: a link that opens a page with a model and a prompt, and offers a class a part of Lens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from lens.ui.controls import models_offered
from lens.ui.embed import root_address
from lens.ui.limits import limits
from lens.ui.menu import page_of, present
from lens.ui.workshop import Workshop, is_on, workshop_link

if TYPE_CHECKING:
    from lens.ui.view import ViewState

TITLE = "A link for a class"
PAGES = ("Attention", "Head scores")  # offered at first
PAGES_HELP = "The menu of the class has these and no other; none chosen: all."
FIRST_HELP = "The page the link opens."
MODELS_HELP = (
    "The box of models has these and no other; the first one is open. None chosen: all, and the one open here."
)
PROMPT_HELP = "The text the class begins with. Everyone can change it."
ABOUT = (
    "Whoever opens it begins at the same view. It leads through the pages you choose and locks nothing: “Leave the "
    "workshop” below the menu offers all of Lens again."
)


def draw(view: ViewState) -> None:
    """The folded form and the link it makes; nothing inside of a workshop."""
    if is_on():
        return
    box = st.expander(TITLE, key="class", on_change="rerun")
    if not box.open:
        return
    with box:
        left, right = st.columns(2, gap="medium")
        titles = [page.title for page in present()]
        first = [title for title in PAGES if title in titles]
        pages = left.multiselect("Pages", titles, first, key="class:pages", help=PAGES_HELP)
        begin = left.selectbox("Begins at", pages or titles, key="class:first", help=FIRST_HELP)
        offered = models_offered()
        here = [view["model"]] if view["model"] in offered else []
        models = right.multiselect("Models", list(offered), here, offered.get, key="class:models", help=MODELS_HELP)
        prompt = right.text_area(
            "Starter prompt", view["prompt"], 82, limits().prompt_chars, "class:prompt", help=PROMPT_HELP
        )
        names = tuple(page.name for page in present() if page.title in pages)
        model = models[0] if models else view["model"]
        st.code(
            workshop_link(root_address(view), page_of(begin).path, model, prompt, Workshop(names, tuple(models))),
            wrap_lines=True,
            language=None,
        )
        st.caption(ABOUT)
