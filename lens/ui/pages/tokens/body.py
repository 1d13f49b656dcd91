"""What does the model read, and where is it surprised?"""

from lens.ui.models import open_model
from lens.ui.pages.tokens import PARTS
from lens.ui.pages.tokens.cut import show_cut
from lens.ui.pages.tokens.padding import show_padding
from lens.ui.pages.tokens.prompt import show_prompt
from lens.ui.pages.tokens.repeat import show_repeat
from lens.ui.view import ViewState
from lens.ui.widgets import tabs

TABS = {"prompt": show_prompt, "cut": show_cut, "padding": show_padding, "repeat": show_repeat}


def draw(view: ViewState) -> None:
    """The page: one tab."""
    model = open_model(view)
    part, body = tabs(view, "part", PARTS)
    with body:
        TABS[part](view, model)
