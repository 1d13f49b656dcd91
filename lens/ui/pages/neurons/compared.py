"""Another checkpoint or prompt beside the first: the neuron's activation on the text."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from lens.analysis.answer.neurons import ACTIVATION, layer_activations
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.ending import end_page
from lens.ui.models import read_prompt
from lens.ui.pages.neurons import LONGEST
from lens.ui.shared.compare import pairs
from lens.ui.shared.compare.section import compare

if TYPE_CHECKING:
    import numpy as np
    from streamlit.delta_generator import DeltaGenerator

    from lens.hooked import HookedTransformer
    from lens.ui.models import Prompt
    from lens.ui.pages.neurons.choose import Neuron
    from lens.ui.shared.compare.pairs import Pair
    from lens.ui.shared.compare.section import Sides
    from lens.ui.view import ViewState


class Fired(NamedTuple):
    """A neuron on a text."""

    prompt: Prompt
    activation: np.ndarray  # [pos]


def draw(view: ViewState, model: HookedTransformer, place: DeltaGenerator, first: Fired, neuron: Neuron) -> None:
    """The section."""
    compare(view, model, place, first, partial(fired, model.name, neuron), partial(_pairs, neuron))


def fired(name: str, neuron: Neuron, view: ViewState, model: HookedTransformer) -> Fired:
    """The numbers of one side; the section ends for another model, whose neuron of that number is another one."""
    if model.name != name:
        parts.not_computed(
            f"neuron {neuron} of {name} has no counterpart in {model.name}: of two trainings the neurons of one number "
            "share nothing but the number. A checkpoint of this model, or another prompt, can stand beside it."
        )
        end_page()
    prompt = read_prompt(view, model, LONGEST)
    return Fired(prompt, analyse(layer_activations, model, prompt.tokens, neuron.layer)[:, neuron.place])


def _pairs(neuron: Neuron, sides: Sides, first: Fired, second: Fired) -> list[Pair]:
    code = (
        "from lens.analysis.answer.neurons import layer_activations\n\n"
        f"values = layer_activations(model, tokens, {neuron.layer})[:, {neuron.place}]"
    )
    quantity = pairs.Quantity(f"activation of neuron {neuron}", "", ACTIVATION, code, signed=True)
    along = pairs.text("position", sides.models, (first.prompt, second.prompt))
    return [pairs.tokens(quantity, first.activation, second.activation, along)]
