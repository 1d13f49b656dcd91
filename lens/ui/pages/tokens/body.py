"""What does the model read, and where is it surprised?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens.ui.models import open_model
from lens.ui.pages.tokens.cut import show_cut
from lens.ui.pages.tokens.padding import show_padding
from lens.ui.pages.tokens.prompt import show_prompt
from lens.ui.pages.tokens.repeat import show_repeat
from lens.ui.widgets import show_tabs

if TYPE_CHECKING:
    from lens.ui.view import ViewState

TABS = {
    "prompt": ("Loss by token", show_prompt),
    "cut": ("How text is cut", show_cut),
    "padding": ("Two texts, padded", show_padding),
    "repeat": ("Repeated random tokens", show_repeat),
}


def draw(view: ViewState) -> None:
    """The page: one tab."""
    model = open_model(view)
    show_tabs(view, "part", TABS, view, model)
