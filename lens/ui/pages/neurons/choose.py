"""Which neuron the page is about: chosen by number, or one of those that push the answer most."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import streamlit as st
import torch

from lens.analysis.answer.direct_attribution import Target, neuron_attribution
from lens.analysis.answer.predictions import predict
from lens.ui.calls import analyse
from lens.ui.labels import token_labels
from lens.ui.pages.neurons import SHOWN
from lens.ui.parts import metric_help
from lens.ui.widgets import button, number, segmented

if TYPE_CHECKING:
    from lens.hooked import HookedTransformer
    from lens.ui.models import Prompt
    from lens.ui.view import ViewState

OFFERED = 3  # buttons of neurons that push the answer
BLOCK_HELP = "Zero-based layer of the neuron."
NEURON_HELP = "Zero-based place in its MLP."
SHOWN_HELP = (
    "**This neuron:** every token coloured by its activation. **Strongest of its layer:** the neurons of its layer "
    "with the largest activations on this text, one at a time."
)
PUSH_HELP = (
    "Direct effect on the logit of the likeliest next token: activation times W_out times the token's direction, at "
    "the last position, through the final norm at its scale there."
)


class Neuron(NamedTuple):
    """A neuron by layer and place; ``str`` is "3.117"."""

    layer: int
    place: int

    def __str__(self) -> str:
        return f"{self.layer}.{self.place}"


def choose_neuron(view: ViewState, model: HookedTransformer, prompt: Prompt) -> Neuron:
    """Number boxes, and buttons for the neurons that push the likeliest next token most; the first of them opens."""
    last = prompt.tokens.shape[1] - 1
    with st.container():
        answer = int(analyse(predict, model, prompt.tokens, last, (), 1).top[0])
        pushing = analyse(pushing_neurons, model, prompt.tokens, last, answer, OFFERED)
    for name, size in (("block", model.cfg.n_layers), ("neuron", model.cfg.d_mlp)):
        if view[name] is not None and view[name] >= size:
            view.note(f"{name} {view[name]} does not exist in this model ({size}): showing another")
            view.set(**{name: None})
    if view["block"] is None or view["neuron"] is None:
        layer, place = pushing[0][0]
        view.set(block=layer, neuron=place)
    (label,) = token_labels(model, [answer])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        layer = number(view, "block", (0, model.cfg.n_layers - 1), "Layer", BLOCK_HELP, width=120)
        place = number(view, "neuron", (0, model.cfg.d_mlp - 1), "Neuron", NEURON_HELP, width=140)
        segmented(view, "shown", tuple(SHOWN), "Shown", SHOWN_HELP, format_func=SHOWN.get)
        for (at, which), effect in pushing:
            help = metric_help(PUSH_HELP, "logits")
            key = f"neurons:push:{at}.{which}"
            words = f"Pushes {label}: {at}.{which} · {effect:+.2f}".replace("`", "'")
            button(words, help, view.set, key=key, kwargs={"block": at, "neuron": which})
    return Neuron(int(layer), int(place))


def pushing_neurons(
    model: HookedTransformer, tokens: torch.Tensor, pos: int, answer: int, count: int
) -> list[tuple[tuple[int, int], float]]:
    """The neurons with the largest direct effects on the logit of ``answer``, and those effects in logits."""
    target = Target("logit", torch.tensor([pos]), torch.tensor([answer]))
    found = neuron_attribution(model, tokens, target, count)
    return [(tuple(one), float(part)) for one, part in zip(found.neurons, found.parts[0])]
