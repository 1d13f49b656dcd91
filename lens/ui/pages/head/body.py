"""Everything known about this one head: the chain of evidence."""

from lens.ui.models import open_model
from lens.ui.pages.head import chain as page
from lens.ui.view import ViewState


def draw(view: ViewState) -> None:
    """The page, from top to bottom."""
    model = open_model(view)
    head, data = page.choose_head(view, model)
    found = page.show_chain(view, model, head, data)
    page.explain(view, model, head, found)
    page.take_away(view, model, head, data, found)
