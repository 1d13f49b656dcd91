"""Which heads to look at first?"""

from lens.ui.fields import choice, text, word
from lens.ui.page import Page

LONGEST = 300  # characters of a condition, as ``lens.analysis.head_table`` reads it
NO_COLOUR = "none"

PAGE = Page(
    name="all_heads",
    section="Score",
    title="All heads",
    question="Which heads to look at first?",
    icon="table_rows",
    options=(
        text("where", "", LONGEST, called="the condition"),
        word("across", "previous"),
        word("up", "induction"),
        word("colour", NO_COLOUR),
        choice("more", "table", ("table", "alike", "scan")),
    ),
)
