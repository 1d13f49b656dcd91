"""What does it say next, how sure, and what does it write, also when changed?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from lens.ui.limits import limits
from lens.ui.models import open_model, read_prompt
from lens.ui.pages.predictions import compared, reading, writing
from lens.ui.pages.predictions.change import choose_answers, choose_change

if TYPE_CHECKING:
    from lens.ui.view import ViewState


def draw(view: ViewState) -> None:
    """The page: what is next at every token of the prompt, then what the model writes after it."""
    model = open_model(view)
    prompt = read_prompt(view, model, limits().prompt_tokens)
    slot, beside = st.container(), st.container()  # above the choosers of the change, whose bars stand in it too
    st.subheader("Writing on", divider="gray")
    settings = writing.choose_settings(view, model, prompt)
    with slot:
        chosen = reading.choose(view, prompt)
        answers = choose_answers(view, model)
    changed = choose_change(view, model, prompt, answers)
    with slot:
        scored = reading.draw(view, model, prompt, chosen, answers, changed)
    writing.draw(view, model, prompt, settings, changed)
    compared.draw(view, model, beside, scored, chosen, answers.ids)
