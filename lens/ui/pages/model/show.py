"""Which piece draws which part of the Model page. Each is imported only when its tab is open."""

from importlib import import_module
from typing import Any

from lens.ui.models import open_model
from lens.ui.view import ViewState

PIECES = {
    "config": "model_config.show_config",
    "works": "model_works.show_works",
    "weights": "model_names.show_weights",
    "activations": "model_names.show_activations",
    "folding": "model_folding.show_folding",
    "norms": "model_norms.show_norms",
    "memory": "model_memory.show_memory",
    "fidelity": "model_fidelity.show_fidelity",
}


def show_part(view: ViewState, part: str) -> None:
    """Draw one tab; the table of all models needs no model to be open."""
    if part == "models":
        from lens.ui.pages.model.table import show_models

        show_models(view)
        return
    model: Any = open_model(view)
    module, name = PIECES[part].split(".")
    getattr(import_module(f"lens.ui.pieces.{module}"), name)(view, model)
