"""Everything known about this one head: the chain of evidence."""

from lens.ui.models import open_model
from lens.ui.pages.head import chain
from lens.ui.view import ViewState


def draw(view: ViewState) -> None:
    """The page, from top to bottom."""
    model = open_model(view)
    case = chain.choose_head(view, model)
    chain.conclude(case, chain.show_chain(case))
