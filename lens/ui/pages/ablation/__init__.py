"""Does the behaviour need it?"""

from lens.analysis.few_shot.words import TASKS as FEW_SHOT
from lens.ui.fields import choice, flag, integer, text
from lens.ui.page import Page
from lens.ui.shared.task_fields import AUTO, task_fields

TASKS = ("induction", "repeated", "ioi", "pronouns", "greater_than", "capitals", "own")
WHAT = {"pins": "Pinned heads", "head": "One head", "layer": "A layer's heads", "mlp": "An MLP"}
SHORT = {"other": "Resample", "mean": "Mean", "zero": "Zero"}
KEPT = {"nothing": "Full", "patterns": "Patterns kept"}
TABS = ("grid", "set", "repair", "few_shot", "tokens", "answers", "table")
LONGEST_SET = 400  # characters of a typed list of heads

PAGE = Page(
    name="ablation",
    section="Intervene",
    title="Ablation",
    question="Does the behaviour need it?",
    icon="content_cut",
    options=(
        *task_fields(TASKS, "induction"),
        choice("what", "pins", tuple(WHAT)),
        choice("put", "other", tuple(SHORT)),
        choice("keep", "nothing", tuple(KEPT)),
        flag("predict", False),
        choice("more", "grid", TABS),
        choice("examples", AUTO, (AUTO, *FEW_SHOT)),
        integer("sequence", 0, high=255),
        integer("token", None, high=4096),
        text("members", "", LONGEST_SET),
    ),
)
