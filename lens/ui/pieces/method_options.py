"""The Method page's own part of the address, and what stands before anything is computed. Imports no torch."""

from pathlib import Path
from typing import Any

import streamlit as st

from lens.planted.plants import NAMES
from lens.ui.fields import choice, word

STYLE = Path(__file__).parents[1] / "assets" / "method.css"
MORE = {
    "plants": "Planted models",
    "instruments": "Instruments in words",
    "intervals": "How sure intervals are",
    "numbers": "All numbers",
}
OPTIONS = (
    word("instrument", "induction"),
    choice("plant", "planted-offset", NAMES),
    choice("more", "plants", tuple(MORE)),
)
INTRODUCTION = (
    "An instrument that finds something everywhere is worth nothing. Here every instrument of Lens is put to models "
    "whose weights were written by hand, so that the right answer is known: a circuit that is there, imitations that "
    "are not, and random weights. The same runs without the app as `python -m lens.selftest`."
)


def introduce() -> Any:
    """What the page does; returns the place of the scorecard's controls and of the scorecard."""
    st.html(STYLE)
    st.markdown(INTRODUCTION)
    return st.container(), st.empty()
