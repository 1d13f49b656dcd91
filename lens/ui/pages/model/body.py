"""What is this model made of, and what will not work?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lens.ui.models import open_model
from lens.ui.outcome import Outcome, conclude
from lens.ui.pages.model import config, fidelity, folding, memory, names, norms, table, works
from lens.ui.widgets import show_tabs

if TYPE_CHECKING:
    from lens.hooked import HookedTransformer
    from lens.ui.view import ViewState

    Tab = Callable[[ViewState, HookedTransformer], Outcome | None]


def of_open_model(draw_tab: Tab) -> Callable[[ViewState], None]:
    """The tab that opens the model first, and ends as every tab does."""

    def draw_whole(view: ViewState) -> None:
        model = open_model(view)
        conclude(view, model, draw_tab(view, model))

    return draw_whole


TABS = {
    "config": ("What it is", of_open_model(config.draw)),
    "works": ("What works", of_open_model(works.draw)),
    "weights": ("Weights", of_open_model(names.draw_weights)),
    "activations": ("Activations", of_open_model(names.draw_activations)),
    "folding": ("Folding", of_open_model(folding.draw)),
    "norms": ("Embedding norms", of_open_model(norms.draw)),
    "memory": ("Memory", of_open_model(memory.draw)),
    "fidelity": ("Fidelity", of_open_model(fidelity.draw)),
    "models": ("All models", lambda view: conclude(view, None, table.draw(view))),  # needs no model to be open
}


def draw(view: ViewState) -> None:
    """The page: one tab."""
    show_tabs(view, "part", TABS, view)
