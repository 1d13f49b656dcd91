"""What does the model read, and where is it surprised?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens.ui import parts
from lens.ui.models import open_model
from lens.ui.outcome import conclude
from lens.ui.pages.tokens import cut, padding, prompt, repeat
from lens.ui.shared.compare.asked import is_asked
from lens.ui.widgets import show_tabs

if TYPE_CHECKING:
    from lens.ui.view import ViewState

TABS = {
    "prompt": ("Loss by token", prompt.draw),
    "cut": ("How text is cut", cut.draw),
    "padding": ("Two texts, padded", padding.draw),
    "repeat": ("Repeated random tokens", repeat.draw),
}


ON_ONE_TAB = "What stands beside is compared under “Loss by token” alone; this tab is about the first."


def draw(view: ViewState) -> None:
    """The page: one tab."""
    model = open_model(view)
    conclude(view, model, show_tabs(view, "part", TABS, view, model))
    if view["part"] != "prompt" and is_asked(view):
        parts.aside("Beside", ON_ONE_TAB)
