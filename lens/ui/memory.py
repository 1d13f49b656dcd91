"""The memory bar: which models are in memory, how much each takes of what there is, and a button that lets one go."""

import html

import streamlit as st

from lens.analysis.counts import size
from lens.load.ram import budget_bytes
from lens.ui.garbage import set_aside
from lens.ui.limits import limits
from lens.ui.residents import Resident, Residents

SLOT = "lens:memory"
HELP = (
    "Models that stay open, so that going back to one costs nothing. When their weights would take more than the "
    "budget, the one that was used longest ago is let go. Set LENS_MODEL_MEMORY (such as 6GB) to change the budget."
)


@st.cache_resource(show_spinner=False)
def residents() -> Residents:
    """The models in memory, of the whole process."""
    return Residents(budget_bytes())


def memory_control() -> None:
    """A thin bar, and the list behind a button."""
    st.session_state[SLOT] = st.empty()
    draw_memory()
    _listed()


def let_go(key: str) -> None:
    """Drop a model; its memory comes back as soon as no page holds it."""
    residents().drop(key)
    set_aside()


def draw_memory() -> None:
    """Draw the bar again, as it is now."""
    models, budget = residents().resident(), residents().budget
    st.session_state[SLOT].html(memory_html(models, budget))


def memory_html(models: list[Resident], budget: int) -> str:
    """The bar: one piece per model, as wide as its share of the budget, and the sum in words."""
    total = sum(model.n_bytes for model in models)
    whole = max(total, budget, 1)
    pieces = "".join(f'<i style="width:{100 * model.n_bytes / whole:.2f}%"></i>' for model in models)
    words = f"{size(total)} of {size(budget)} for models"
    return (
        f'<div class="lens-memory" role="img" aria-label="Memory: {html.escape(names_and_sizes(models))}; {words}.">'
        f"<div>{pieces}</div><span>{words}</span></div>"
    )


def names_and_sizes(models: list[Resident]) -> str:
    """The models and their sizes, in words."""
    return ", ".join(f"{model.name} {size(model.n_bytes)}" for model in models) or "no model is open"


@st.fragment
def _listed() -> None:
    """The list; its body runs when it is opened, and then alone."""
    box = st.popover("Models in memory", type="tertiary", key="memory", on_change="rerun")
    if not box.open:
        return
    with box:
        for number, model in enumerate(residents().resident()):
            left, right = st.columns([3, 1], vertical_alignment="center")
            left.html(f"<b>{html.escape(model.name)}</b><br>{size(model.n_bytes)}")
            if not limits().hosted:  # there it belongs to all visitors
                text = f"Let {model.name} go. It is opened again when a page needs it."
                key = f"drop:{number}:{model.key}"
                right.button("Drop", key=key, help=text, on_click=let_go, args=(model.key,))
        st.caption(f"{size(residents().total)} of {size(residents().budget)}. {HELP}", width=300)
