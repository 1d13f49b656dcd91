"""Why does this head look there?"""

from lens.ui.fields import choice, integer, text
from lens.ui.page import Page

WHERE = {"stripe": "Its stripe on repeats", "cell": "A cell of the prompt"}
TABS = ("pairs", "cuts", "table")

PAGE = Page(
    name="qk_attribution",
    section="Attribute",
    title="Why it looks there",
    question="Why does this head look there?",
    icon="troubleshoot",
    options=(
        choice("where", "stripe", tuple(WHERE)),
        integer("key", None, high=4096),
        text("asks", "", 20),  # with "answers": the pair of writes whose cut is shown, by name; empty: the largest
        text("answers", "", 20),
        choice("more", "pairs", TABS),
    ),
    prompt=True,
    compares=True,
)
