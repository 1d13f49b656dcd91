"""Which earlier head feeds it?"""

from lens.ui.fields import choice, heads, integer
from lens.ui.page import Page

MEASURES = {"null": "− null", "score": "Score", "z": "z in its layer"}
WEIGHTS = {"folded": "Folded", "raw": "Raw"}
TURNS = {
    "repeat": "n − 1, as on repeats",
    "next": "1, the token before",
    "ignored": "0, rotation ignored",
    "chosen": "…",
}
TABS = ("graph", "virtual", "prefix", "table")

PAGE = Page(
    name="composition",
    section="Weights",
    title="Composition",
    question="Which earlier head feeds it?",
    icon="account_tree",
    compares=True,
    options=(
        choice("mode", "K", ("Q", "K", "V")),
        choice("shown", "null", tuple(MEASURES)),
        choice("weights", "folded", tuple(WEIGHTS)),
        choice("turn", "repeat", tuple(TURNS)),
        integer("offset", 1, high=10_000_000),
        heads("sender", 1),
        integer("edges", 30, low=1, high=200),
        choice("more", "graph", TABS),
    ),
)
