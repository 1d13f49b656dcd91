"""A link for a class: it opens at a page with a model and a prompt, and offers only the pages and models that it names.

``?workshop_pages=attention head_scores&workshop_models=lens-2l``. A guide, no lock: there is a way out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from lens.load import catalogue
from lens.ui.fields import address, short
from lens.ui.models import model_problem
from lens.ui.widgets import button

if TYPE_CHECKING:
    from lens.ui.view import ViewState

ON = "lens:workshop"  # what this run may offer
NOT_HERE = "**{}** is not a page of this workshop, which has {}. To see all of Lens, press **Leave the workshop**."
EXIT_HELP = "All pages and all models are offered again; what is open stays open."


class Workshop(NamedTuple):
    """What is offered; all of it where nothing is named."""

    pages: tuple[str, ...] = ()  # their names; Home is "home"
    models: tuple[str, ...] = ()


def start(view: ViewState, pages: Collection[str]) -> None:
    """Offer in this run what the address names of the ``pages`` there are; what cannot be, is said and left out."""
    unknown = [name for name in view["workshop_pages"] if name not in pages]
    if unknown:
        view.note(f"the workshop names {', '.join(map(short, unknown))}, which is no page of Lens: left out")
        view.set(workshop_pages=tuple(name for name in view["workshop_pages"] if name not in unknown))
    problems = {name: model_problem(name) for name in view["workshop_models"]}
    if any(problems.values()):
        for problem in filter(None, problems.values()):
            view.note(f"a model of the workshop is left out: {problem}")
        view.set(workshop_models=tuple(name for name, problem in problems.items() if not problem))
    st.session_state[ON] = Workshop(view["workshop_pages"], view["workshop_models"])
    _keep_to(view, view["workshop_models"])


def _keep_to(view: ViewState, models: Sequence[str]) -> None:
    """No other model than these, where there are any."""
    if not models:
        return
    names = {name for model in models for name in (model, *catalogue.resolve(model, paths=False).names)}
    if view["model"] not in names:
        view.note(f"{short(view['model'])} is not a model of this workshop: showing {models[0]}")
        view.set(model=models[0], revision=None)
    beside = view["with_model"].partition("@")[0]
    if beside and beside not in names:
        view.note(f"{short(beside)} is not a model of this workshop: nothing is compared with it")
        view.set(with_model=None)


def is_allowed(page: str) -> bool:
    """Whether this run offers the page of this name."""
    pages = _now().pages
    return not pages or page in pages


def models() -> tuple[str, ...]:
    """The models that this run offers; none where all are."""
    return _now().models


def is_on() -> bool:
    """Whether this run is of a workshop."""
    return any(_now())


def draw_exit(view: ViewState) -> None:
    """The way out, below the menu."""
    if is_on():
        st.html('<div class="lens-section">Workshop</div>')
        exit_button(view, "menu")


def exit_button(view: ViewState, where: str) -> None:
    """Leaves the workshop; stands in several places."""
    key, icon = f"workshop:leave:{where}", ":material/logout:"
    button("Leave the workshop", EXIT_HELP, _leave, view, key=key, icon=icon, type="tertiary")


def workshop_link(root: str, page: str, model: str, prompt: str, offered: Workshop) -> str:
    """The address of a workshop that begins at the ``page`` of this path."""
    names = {"workshop_pages": " ".join(offered.pages), "workshop_models": " ".join(offered.models)}
    return address(
        root, page, {"model": model, "prompt": prompt} | {name: text for name, text in names.items() if text}
    )


def _now() -> Workshop:
    return st.session_state.get(ON, Workshop())


def _leave(view: ViewState) -> None:
    view.set(workshop_pages=None, workshop_models=None)
