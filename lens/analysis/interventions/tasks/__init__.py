"""Tasks with a known answer: pairs of prompts made for the model at hand, and whether it can do them."""

from lens.analysis.interventions.tasks.capitals import capitals
from lens.analysis.interventions.tasks.greater import greater_than
from lens.analysis.interventions.tasks.ioi import ioi
from lens.analysis.interventions.tasks.own import JSONL_FORM, TEXT_FORM, parse_pairs
from lens.analysis.interventions.tasks.prompts import Checked, PromptPair, answer_id, check, check_all, to_pairs
from lens.analysis.interventions.tasks.pronouns import pronouns
from lens.analysis.interventions.tasks.repeated import chance_loss, induction, induction_on, repeat_pairs, repeated
from lens.analysis.interventions.tasks.sized import TASKS, task_of, task_or_reason
from lens.analysis.interventions.tasks.task import Ability, Task, ability

__all__ = [
    "JSONL_FORM",
    "TASKS",
    "TEXT_FORM",
    "Ability",
    "Checked",
    "PromptPair",
    "Task",
    "ability",
    "answer_id",
    "capitals",
    "chance_loss",
    "check",
    "check_all",
    "greater_than",
    "induction",
    "induction_on",
    "ioi",
    "parse_pairs",
    "pronouns",
    "repeat_pairs",
    "repeated",
    "task_of",
    "task_or_reason",
    "to_pairs",
]
