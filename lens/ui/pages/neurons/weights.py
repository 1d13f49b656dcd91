"""What a neuron's weights read and write, as tokens of the vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from lens.analysis.answer.neurons import INPUT, OUTPUT, TokenWeights, input_tokens, output_tokens
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.labels import token_labels
from lens.ui.pages.neurons import words

if TYPE_CHECKING:
    from lens.hooked import HookedTransformer
    from lens.ui.pages.neurons.choose import Neuron
    from lens.ui.view import ViewState

SHOWN = 10  # tokens at each end
TITLES = {
    "writes": "It raises, and lowers",
    "reads": "Its input is excited by, and silenced by",
    "gate reads": "Its gate is opened by, and closed by",
}


def draw(view: ViewState, model: HookedTransformer, neuron: Neuron) -> None:
    """A table of both ends for what it writes, and for what excites it."""
    args = (model, neuron.layer, neuron.place, SHOWN)
    with st.container():
        found = {"writes": analyse(output_tokens, *args), "reads": analyse(input_tokens, *args, progress=True)}
        if model.cfg.gated_mlp:
            found["gate reads"] = analyse(input_tokens, *args, gate=True, progress=True)
    for column, (name, one) in zip(st.columns(len(found), gap="large"), found.items()):
        with column:
            st.markdown(f"**{TITLES[name]}**")
            parts.table(_table(model, one), f"{TITLES[name]}: tokens at both ends")
    explanation = Explanation(
        words.of_weights(model, str(neuron), found),
        words.WEIGHTS_MISREADING,
        measured=(("Output", OUTPUT), ("Input", INPUT)),
        formula=words.WEIGHTS_FORMULA,
        where=words.WEIGHTS_WHERE,
    )
    explain(view, None, explanation)
    rows = pd.concat([_long(model, name, one) for name, one in found.items()], ignore_index=True)
    payload = {name: one._asdict() for name, one in found.items()} | {"neuron": str(neuron)}
    html = rows.to_html(index=False, escape=True)
    export(view, Export("neuron_weights", html, rows, payload, code(neuron), reads_prompt=False))


def _table(model: HookedTransformer, one: TokenWeights) -> pd.DataFrame:
    """Both ends side by side, the largest first."""
    return pd.DataFrame({
        "most": token_labels(model, one.high),
        "by": one.high_value,
        "least": token_labels(model, one.low),
        "by ": one.low_value,
    })  # fmt: skip


def _long(model: HookedTransformer, name: str, one: TokenWeights) -> pd.DataFrame:
    ids = [*one.high, *one.low]
    return pd.DataFrame({
        "weights": name, "token": token_labels(model, ids), "id": ids, "value": [*one.high_value, *one.low_value],
    })  # fmt: skip


def code(neuron: Neuron) -> str:
    """The Python that names the tokens again."""
    return (
        "from lens.analysis.answer.neurons import input_tokens, output_tokens\n\n"
        f"print(output_tokens(model, {neuron.layer}, {neuron.place}, {SHOWN}).high.tolist())\n"
        f"print(input_tokens(model, {neuron.layer}, {neuron.place}, {SHOWN}).high.tolist())\n"
    )
