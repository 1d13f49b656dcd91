"""What is this model made of, and what will not work?"""

from lens.ui.fields import choice, integer, text
from lens.ui.page import Page

TABS = ("config", "works", "weights", "activations", "folding", "norms", "memory", "fidelity", "models")
LONGEST_NAME = 80  # characters
DTYPES = ("float32", "bfloat16", "float16")
LISTS = {"all": "All", "local": "On this machine", "fits": "Fits here", "checkpoints": "With checkpoints"}

PAGE = Page(
    name="model",
    section="Start",
    title="Model",
    question="What is this model made of, and what will not work?",
    icon="schema",
    options=(
        choice("part", "config", TABS),
        text("find", "", LONGEST_NAME),
        text("a", " John", LONGEST_NAME),
        text("b", " Mary", LONGEST_NAME),
        choice("side", "embed", ("embed", "unembed")),
        integer("length", 128, low=1, high=10_000_000),
        integer("batch", 1, low=1, high=100_000),
        choice("dtype", "float32", DTYPES),
        choice("list", "all", tuple(LISTS)),
    ),
    prompt=True,
)
