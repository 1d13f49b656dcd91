"""What is this model made of, and what will not work?"""

from lens.ui.models import open_model
from lens.ui.pages.model import PARTS
from lens.ui.pages.model.config import show_config
from lens.ui.pages.model.fidelity import show_fidelity
from lens.ui.pages.model.folding import show_folding
from lens.ui.pages.model.memory import show_memory
from lens.ui.pages.model.names import show_activations, show_weights
from lens.ui.pages.model.norms import show_norms
from lens.ui.pages.model.table import show_models
from lens.ui.pages.model.works import show_works
from lens.ui.view import ViewState
from lens.ui.widgets import tabs

TABS = {
    "config": show_config,
    "works": show_works,
    "weights": show_weights,
    "activations": show_activations,
    "folding": show_folding,
    "norms": show_norms,
    "memory": show_memory,
    "fidelity": show_fidelity,
}


def draw(view: ViewState) -> None:
    """The page: one tab. The table of all models needs no model to be open."""
    part, body = tabs(view, "part", PARTS)
    with body:
        if part == "models":
            show_models(view)
        else:
            TABS[part](view, open_model(view))
