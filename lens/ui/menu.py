"""The one menu of Lens: sections, pages, addresses. A new page is one file in ``pages/`` and one row here."""

from pathlib import Path
from typing import NamedTuple

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from lens.ui.view import ViewState, query_for


class Page(NamedTuple):
    """A page of the app. ``file`` is relative to the repository; its stem is the address."""

    section: str
    title: str
    file: str
    icon: str  # one of Streamlit's bundled Material icons

    @property
    def path(self) -> str:
        """The address under the app's root; Home has none."""
        return "" if self.file == "app.py" else Path(self.file).stem


MENU = (
    Page("Start", "Home", "app.py", "home"),
    Page("Start", "Model", "pages/model.py", "schema"),
    Page("Look", "Tokens", "pages/tokens.py", "segment"),
    Page("Look", "Predictions", "pages/predictions.py", "bar_chart"),
    Page("Look", "Attention", "pages/attention.py", "grid_on"),
    Page("Look", "Neurons", "pages/neurons.py", "scatter_plot"),
    Page("Score", "Head scores", "pages/head_scores.py", "leaderboard"),
    Page("Score", "One head", "pages/head.py", "center_focus_strong"),
    Page("Weights", "OV copying", "pages/ov_copying.py", "content_copy"),
    Page("Weights", "Composition", "pages/composition.py", "account_tree"),
    Page("Attribute", "Logit lens", "pages/logit_lens.py", "stacked_line_chart"),
    Page("Attribute", "Attribution", "pages/attribution.py", "waterfall_chart"),
    Page("Intervene", "Ablation", "pages/ablation.py", "content_cut"),
    Page("Intervene", "Patching", "pages/patching.py", "healing"),
    Page("Learn", "Training dynamics", "pages/training_dynamics.py", "timeline"),
    Page("Trust", "Method", "pages/method.py", "verified"),
)


def page_of(title: str) -> Page:
    """The row of the menu with this title; KeyError lists the titles."""
    for page in MENU:
        if page.title == title:
            return page
    raise KeyError(f"the menu has no page {title!r}; it has {', '.join(page.title for page in MENU)}")


def present() -> tuple[Page, ...]:
    """The pages whose file exists beside the running ``app.py``."""
    root = Path(get_script_run_ctx().main_script_path).parent
    return tuple(page for page in MENU if (root / page.file).is_file())


def draw_menu(view: ViewState) -> None:
    """The sectioned list of pages. Links carry the values: they open in a new tab too, and Back has no extra step."""
    section = ""
    for page in present():
        if page.section != section:
            section = page.section
            st.html(f'<div class="lens-section">{section}</div>')
        query = query_for(view, page.path)
        st.page_link(page.file, label=page.title, icon=f":material/{page.icon}:", width="stretch", query_params=query)
