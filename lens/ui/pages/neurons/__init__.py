"""Which neurons fire on what?"""

from lens.ui.fields import choice, integer
from lens.ui.page import Page

SHOWN = {"neuron": "This neuron", "layer": "Strongest of its layer"}
CONTEXTS = {"top": "Highest", "low": "Lowest", "deciles": "By tenth", "tokens": "Per chapter"}
LONGEST = 256  # tokens of a prompt, and of a chapter
CHAPTERS = 71

PAGE = Page(
    name="neurons",
    section="Look",
    title="Neurons",
    question="Which neurons fire on what?",
    icon="scatter_plot",
    options=(
        integer("block", None, high=9999),
        integer("neuron", None, high=10_000_000),
        choice("shown", "neuron", tuple(SHOWN)),
        choice("contexts", "top", tuple(CONTEXTS)),
        integer("texts", 32, low=1, high=CHAPTERS),
        integer("length", 128, low=8, high=LONGEST),
    ),
    prompt=True,
    compares=True,
)
