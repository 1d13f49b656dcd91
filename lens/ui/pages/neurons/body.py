"""Which neurons fire on what?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from lens.ui import parts
from lens.ui.models import open_model, read_prompt
from lens.ui.pages.neurons import LONGEST, compared, contexts, on_prompt, weights
from lens.ui.pages.neurons.choose import choose_neuron

if TYPE_CHECKING:
    from lens.ui.view import ViewState


def draw(view: ViewState) -> None:
    """The page: one neuron on the prompt, its weights as tokens, and where it fires in the shipped text."""
    model = open_model(view)
    if model.cfg.attn_only:
        parts.provenance(view, model)
        parts.empty_state(
            f"{model.name} has no MLP: its layers are attention alone, so there are no neurons. Open another model."
        )
    prompt = read_prompt(view, model, LONGEST)
    neuron = choose_neuron(view, model, prompt)
    activation = on_prompt.draw(view, model, prompt, neuron)
    beside = st.container()
    st.subheader("Weights as tokens", divider="gray")
    weights.draw(view, model, neuron)
    st.subheader("In the shipped text", divider="gray")
    contexts.draw(view, model, neuron)
    compared.draw(view, model, beside, compared.Fired(prompt, activation), neuron)
