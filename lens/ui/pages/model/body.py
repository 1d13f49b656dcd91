"""What is this model made of, and what will not work?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lens.ui.models import open_model
from lens.ui.pages.model.config import show_config
from lens.ui.pages.model.fidelity import show_fidelity
from lens.ui.pages.model.folding import show_folding
from lens.ui.pages.model.memory import show_memory
from lens.ui.pages.model.names import show_activations, show_weights
from lens.ui.pages.model.norms import show_norms
from lens.ui.pages.model.table import show_models
from lens.ui.pages.model.works import show_works
from lens.ui.widgets import show_tabs

if TYPE_CHECKING:
    from lens.model import Transformer
    from lens.ui.view import ViewState


def of_open_model(draw_tab: Callable[[ViewState, Transformer], None]) -> Callable[[ViewState], None]:
    """The tab that opens the model first."""
    return lambda view: draw_tab(view, open_model(view))


TABS = {
    "config": ("What it is", of_open_model(show_config)),
    "works": ("What works", of_open_model(show_works)),
    "weights": ("Weights", of_open_model(show_weights)),
    "activations": ("Activations", of_open_model(show_activations)),
    "folding": ("Folding", of_open_model(show_folding)),
    "norms": ("Embedding norms", of_open_model(show_norms)),
    "memory": ("Memory", of_open_model(show_memory)),
    "fidelity": ("Fidelity", of_open_model(show_fidelity)),
    "models": ("All models", show_models),  # needs no model to be open
}


def draw(view: ViewState) -> None:
    """The page: one tab."""
    show_tabs(view, "part", TABS, view)
