"""What is known about this one head?"""

from lens.ui.fields import choice, flag, integer
from lens.ui.page import Page
from lens.ui.shared import reads

TEXTS = {"shipped": "Shipped novels", "own": "Your text"}
LOOKS = {"top": "Largest", "tenths": "By tenth"}
MOST_TEXTS, LONGEST_TEXT = 256, 512  # documents, and tokens of each

PAGE = Page(
    name="head",
    section="Score",
    title="One head",
    question="What is known about this one head?",
    icon="center_focus_strong",
    options=(
        reads.FIELD,
        choice("radius", "linear", ("linear", "log")),
        flag("on_text", False),
        choice("corpus", "shipped", tuple(TEXTS)),
        integer("texts", 32, low=1, high=MOST_TEXTS),
        integer("length", 128, low=8, high=LONGEST_TEXT),
        choice("looks", "top", tuple(LOOKS)),
    ),
    prompt=True,
    compares=True,
)
