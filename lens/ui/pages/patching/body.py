"""Where does the information sit, and where does it move?"""

from functools import partial

import streamlit as st

from lens.ui.explanation import Explanation, explain
from lens.ui.models import open_model
from lens.ui.pages.patching import map as patch_map
from lens.ui.pages.patching import words
from lens.ui.pages.patching.cell import show_cell, show_prompts
from lens.ui.pages.patching.paths import show_paths
from lens.ui.pages.patching.request import PatchMap, read_map, read_request, show_task
from lens.ui.view import ViewState
from lens.ui.widgets import show_tabs

TABS = {
    "approximation": ("Against the approximation", patch_map.show_agreement),
    "path": ("Path patching", show_paths),
    "prompts": ("Per prompt", show_prompts),
}


def draw(view: ViewState) -> None:
    """The page, from top to bottom."""
    model = open_model(view)
    above = st.container()
    left, right = st.columns([1.6, 1], gap="medium")
    place, below = left.empty(), left.container()
    with above:
        request = read_request(view, model, below)
    with left:
        result = read_map(view, model, request, partial(patch_map.draw_meanwhile, place, view))
    cell = patch_map.chosen_cell(view, result)
    with place.container():
        figure = patch_map.show_map(view, result, cell)
    with below:
        show_task(view, model, request.task)
    explain(view, model, explanation(result))
    with right:
        show_cell(view, model, result, cell)
    show_tabs(view, "more", TABS, view, model, result, cell)
    patch_map.draw_export(view, result, figure)


def explanation(result: PatchMap) -> Explanation:
    """What is said of the map."""
    refused = result.cells.refused and f"{result.cells.refused} The change itself is shown."
    return Explanation(
        words.notice(result),
        words.MISREADING,
        asides=(("Not shown as asked", refused),),
        measured=(("Sample", words.sources(result)),),
        formula=words.FORMULA,
        where=words.FORMULA_WHERE,
    )
