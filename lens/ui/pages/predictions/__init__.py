"""What does it say next, how sure, and what does it write, also when changed?"""

from lens.ui.fields import choice, flag, integer, number, text
from lens.ui.limits import limits
from lens.ui.page import Page

COLOURS = ("probability", "loss", "rank", "entropy")
CHANGES = {
    "none": "Nothing",
    "mean": "Pinned heads at their mean",
    "zero": "Pinned heads zeroed",
    "scale": "Pinned heads scaled",
    "steer": "Steered",
}
ALONG = {"answers": "Right minus wrong answer", "head": "A head's mean write", "vector": "A pasted vector"}
UNITS = {"stream": "The stream's length", "direction": "The direction itself"}
STOPS = {"end": "End of text", "line": "End of line", "never": "Never"}
TOP = 25  # most candidates shown for a prediction
LONGEST_ANSWER = 60  # characters

PAGE = Page(
    name="predictions",
    section="Look",
    title="Predictions",
    question="What does it say next, how sure, and what does it write, also when changed?",
    icon="psychology_alt",
    options=(
        choice("colour", "probability", COLOURS),
        integer("token", None, high=limits().text_tokens),
        integer("top", 10, low=1, high=TOP),
        text("right", "", LONGEST_ANSWER),
        text("wrong", "", LONGEST_ANSWER),
        integer("new", 24, low=1, high=limits().written_tokens),
        number("temperature", 0.0, 0.0, 10.0),
        integer("topk", 0, high=1_000_000),
        number("topp", 1.0, 0.01, 1.0),
        choice("stop", "end", tuple(STOPS)),
        choice("change", "none", tuple(CHANGES)),
        number("factor", 2.0, -10.0, 10.0),
        choice("along", "answers", tuple(ALONG)),
        number("strength", 0.5, -10.0, 10.0),
        choice("unit", "stream", tuple(UNITS)),
        integer("into", None, high=9999),
        flag("each", False),
    ),
    prompt=True,
    compares=True,
)
