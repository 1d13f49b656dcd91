"""What the address of the Tokens page can say beside the shared fields. Imports no torch."""

from lens.ui.fields import choice, flag, integer, text
from lens.ui.limits import limits

PARTS = {
    "prompt": "Loss by token",
    "cut": "How text is cut",
    "padding": "Two texts, padded",
    "repeat": "Repeated random tokens",
}
COLOURS = ("loss", "probability", "rank", "entropy")
LONGEST_PIECE = 200  # characters
TOP = 25  # most candidates shown for a prediction

OPTIONS = (
    choice("part", "prompt", tuple(PARTS)),
    choice("colour", "loss", COLOURS),
    integer("token", None, high=limits().text_tokens),
    integer("top", 8, low=1, high=TOP),
    flag("table", False),
    flag("compare", False),
    text("piece", " Claire", LONGEST_PIECE),
    text("find", "cat", LONGEST_PIECE),
    flag("case", True),
    integer("page", 1, low=1, high=100_000),
    integer("id", 256),
    text("other", "After John and Mary went to the store, John gave it to", limits().prompt_chars),
    choice("pad", "right", ("right", "left")),
)
