"""The one menu of Lens: which pages there are, in their order. What a page is called stands in its own folder."""

from functools import cache
from pathlib import Path

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from lens.ui.page import Page
from lens.ui.pages import (
    ablation,
    all_heads,
    attention,
    attribution,
    composition,
    deck,
    findings,
    head,
    head_scores,
    home,
    logit_lens,
    method,
    model,
    neurons,
    ov_copying,
    patching,
    predictions,
    qk_attribution,
    tokens,
    training_dynamics,
)
from lens.ui.view import ViewState, query_for
from lens.ui.workshop import is_allowed

MENU = (
    home.PAGE,
    model.PAGE,
    tokens.PAGE,
    predictions.PAGE,
    attention.PAGE,
    neurons.PAGE,
    head_scores.PAGE,
    all_heads.PAGE,
    head.PAGE,
    ov_copying.PAGE,
    composition.PAGE,
    logit_lens.PAGE,
    attribution.PAGE,
    qk_attribution.PAGE,
    ablation.PAGE,
    patching.PAGE,
    training_dynamics.PAGE,
    findings.PAGE,
    deck.PAGE,
    method.PAGE,
)


def page_of(title: str) -> Page:
    """The row of the menu with this title; KeyError lists the titles."""
    for page in MENU:
        if page.title == title:
            return page
    raise KeyError(f"the menu has no page {title!r}; it has {', '.join(page.title for page in MENU)}")


def present() -> tuple[Page, ...]:
    """The pages whose file exists beside the running ``app.py``; in a workshop, those that it has."""
    return tuple(
        page for page in _with_a_file(Path(get_script_run_ctx().main_script_path).parent) if is_allowed(page.name)
    )


@cache
def _with_a_file(root: Path) -> tuple[Page, ...]:
    """The rows of the menu whose file stands below ``root``, asked of the disk once: every link of a page needs it."""
    return tuple(page for page in MENU if (root / page.file).is_file())


def page_link(view: ViewState, title: str, label: str, with_icon: bool = False, **fields: str) -> None:
    """A link to the page of the menu with this ``title``, with the values kept, and ``fields`` of its address set.

    Nothing where its file does not exist.
    """
    page = page_of(title)
    if page in present():
        icon = f":material/{page.icon}:" if with_icon else None
        st.page_link(page.file, label=label, icon=icon, query_params=query_for(view, page.path, page.options) | fields)


def draw_menu(view: ViewState) -> None:
    """The sectioned list of pages. Links carry the values: they open in a new tab too, and Back has no extra step."""
    section = ""
    for page in present():
        if page.section != section:
            section = page.section
            st.html(f'<div class="lens-section">{section}</div>')
        query = query_for(view, page.path, page.options)
        st.page_link(page.file, label=page.title, icon=f":material/{page.icon}:", width="stretch", query_params=query)
