"""What does the model read, and where is it surprised?"""

from lens.ui.fields import choice, flag, integer, text
from lens.ui.limits import limits
from lens.ui.page import Page

TABS = ("prompt", "cut", "padding", "repeat")
COLOURS = ("loss", "probability", "rank", "entropy")
LONGEST_PIECE = 200  # characters
TOP = 25  # most candidates shown for a prediction

PAGE = Page(
    name="tokens",
    section="Look",
    title="Tokens",
    question="What does the model read, and where is it surprised?",
    icon="segment",
    options=(
        choice("part", "prompt", TABS),
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
    ),
    prompt=True,
    compares=True,
)
