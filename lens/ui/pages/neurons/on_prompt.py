"""A neuron on the prompt, or the strongest of its layer: CircuitsVis, and what is to be said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch

from lens.analysis.answer.direct_attribution import DRAWS, NeuronPush, Target, neuron_push
from lens.analysis.answer.neurons import ACTIVATION, layer_activations
from lens.analysis.answer.predictions import predict
from lens.figures.strip import Scale, token_strip
from lens.ui.calls import analyse
from lens.ui.circuitsvis import colored_tokens, text_neuron_activations
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.pages.neurons import words
from lens.ui.pages.neurons.choose import OFFERED, pushing_neurons

if TYPE_CHECKING:
    from lens.hooked import HookedTransformer
    from lens.ui.models import Prompt
    from lens.ui.pages.neurons.choose import Neuron
    from lens.ui.view import ViewState

STRONGEST = 24  # neurons of a layer that are shown together


def draw(view: ViewState, model: HookedTransformer, prompt: Prompt, neuron: Neuron) -> np.ndarray:
    """The text in colours; the neuron's activations [pos]."""
    values = analyse(layer_activations, model, prompt.tokens, neuron.layer)
    own, labels = values[:, neuron.place], prompt.labels
    top = float(np.abs(own).max()) or 1.0
    if view["shown"] == "layer":
        chosen = strongest(values, neuron.place)
        names = [f"{neuron.layer}.{place}" for place in chosen]
        activations = values[:, None, chosen]
        text_neuron_activations(labels, activations, [f"{neuron.layer}"], names, key="neurons:layer")
    else:
        label = f"Activation of neuron {neuron} over {len(labels)} tokens"
        colored_tokens(labels, own, key="neurons:text", top=top, label=label)
    scale = Scale(f"activation of neuron {neuron}", high=top, signed=True)
    push = push_of(view, model, prompt, neuron)
    rows = pd.DataFrame({"position": np.arange(len(own)), "token": labels, "activation": own})
    explanation = Explanation(
        (words.on_prompt(str(neuron), own, labels, values), words.of_push(model, push)),
        words.PROMPT_MISREADING,
        measured=(("Activation", ACTIVATION), ("Sample", words.prompt_sample(len(own)))),
        formula=words.FORMULA_GATED if model.cfg.gated_mlp else words.FORMULA,
        where=words.WHERE,
    )
    explain(view, model, explanation)
    html = token_strip(labels, own, scale=scale)
    payload = {"neuron": str(neuron), "activation": own, "direct effect": push._asdict()}
    export(view, Export("neuron", html, rows, payload, code(neuron, push)))
    return own


class Pushed(NamedTuple):
    """What the neuron adds to the likeliest next token at the end of the prompt."""

    token: int
    pos: int
    effect: NeuronPush
    largest: float  # of all neurons, by size


def push_of(view: ViewState, model: HookedTransformer, prompt: Prompt, neuron: Neuron) -> Pushed:
    """The direct effect of the neuron, beside what it does for random tokens and what the strongest neuron does."""
    pos = prompt.tokens.shape[1] - 1
    token = int(analyse(predict, model, prompt.tokens, pos, (), 1).top[0])
    target = Target("logit", torch.tensor([pos]), torch.tensor([token]))
    effect = analyse(neuron_push, model, prompt.tokens, target, *neuron, DRAWS, view["seed"])
    ((_, largest), *_) = analyse(pushing_neurons, model, prompt.tokens, pos, token, OFFERED)
    return Pushed(token, pos, effect, largest)


def strongest(values: np.ndarray, own: int) -> list[int]:
    """The neurons with the largest activation anywhere on the text but its first token; ``own`` first."""
    sizes = np.abs(values[min(1, len(values) - 1) :]).max(0)
    order = np.argsort(-sizes, kind="stable").tolist()
    return [own, *(place for place in order if place != own)][:STRONGEST]


def code(neuron: Neuron, push: Pushed) -> str:
    """The Python that reads the activations and the direct effect again."""
    return (
        "import torch\n\n"
        "from lens.analysis.answer.direct_attribution import Target, neuron_push\n"
        "from lens.analysis.answer.neurons import layer_activations\n\n"
        f"activations = layer_activations(model, tokens, {neuron.layer})  # [pos, neuron]\n"
        f'print(" ".join(f"{{value:.4f}}" for value in activations[:, {neuron.place}].tolist()))\n'
        f'target = Target("logit", torch.tensor([{push.pos}]), torch.tensor([{push.token}]))\n'
        f"push = neuron_push(model, tokens, target, {neuron.layer}, {neuron.place})  # logits, and for random tokens\n"
    )
