"""Which component pushes it?"""

from lens.ui.fields import choice, integer, text
from lens.ui.page import Page
from lens.ui.shared.task_fields import task_fields

KINDS = {"logit": "Logit", "logit_diff": "Difference", "log_prob": "Log-probability"}
WEIGHTS = {"folded": "Folded", "raw": "Raw"}
TASKS = ("ioi", "pronouns", "greater_than", "repeated", "capitals", "own")
TABS = ("neurons", "prompts", "table")

PAGE = Page(
    name="attribution",
    section="Attribute",
    title="Attribution",
    question="Which component pushes it?",
    icon="stacked_bar_chart",
    options=(
        choice("kind", "logit", tuple(KINDS)),
        text("right", "", 40),
        text("wrong", "", 40),
        integer("at", None, high=4096),
        choice("weights", "folded", tuple(WEIGHTS)),
        choice("more", "neurons", TABS),
        *(field for field in task_fields(TASKS) if field.name != "metric"),
    ),
    prompt=True,
    compares=True,
)
