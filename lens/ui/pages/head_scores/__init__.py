"""Which heads do what, against chance?"""

from lens.ui.fields import choice, integer, word
from lens.ui.limits import limits
from lens.ui.page import Page
from lens.ui.shared.task_fields import task_fields

ON = {"random": "Random", "text": "Prompt", "shipped": "Held-out text", "task": "A task"}
SAMPLES = {"random": "repeats", "text": "text", "shipped": "shipped text", "task": "task"}  # as instruments call them
TASKS = ("ioi", "pronouns", "greater_than", "repeated", "capitals", "own")
MEASURES = {"score": "Score", "difference": "− control"}
PAIR = {"repeat": "The repeat", "control": "Its control"}
TABS = ("table", "scatter", "loss")

PAGE = Page(
    name="head_scores",
    section="Score",
    title="Head scores",
    question="Which heads do what, against chance?",
    icon="leaderboard",
    options=(
        choice("on", "random", tuple(ON)),
        choice("shown", "score", tuple(MEASURES)),
        integer("sequence", 0, high=limits().sequences - 1),
        choice("pair", "repeat", tuple(PAIR)),
        choice("more", "table", TABS),
        word("against", "previous"),
        *(field for field in task_fields(TASKS) if field.name != "metric"),
    ),
    prompt=True,
    compares=True,
)
