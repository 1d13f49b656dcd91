"""What the address of a page can say about the pairs of prompts an intervention is tried on. Imports no torch."""

from collections.abc import Sequence

from lens.analysis.least import MIN_SAMPLES
from lens.ui.fields import Field, choice, integer, text

AUTO = "auto"  # the first task on the list that the open model does
METRICS = {
    "task": "The task's own",
    "logit_diff": "Logit difference",
    "log_prob": "Log-probability",
    "prob": "Probability",
    "prob_diff": "Probability difference",
    "rank": "Rank",
    "loss": "Loss",
    "kl": "KL to the clean run",
}
EXAMPLE = (
    "After John and Mary went to the store, Mary gave a bottle of milk to | "
    "After John and Mary went to the store, John gave a bottle of milk to | John | Mary"
)
LONGEST = 8000  # characters of pasted pairs that an address holds


def task_fields(offered: Sequence[str], default: str = AUTO) -> tuple[Field, ...]:
    """The fields of the address that ``choose_task`` and ``choose_metric`` own."""
    return (
        choice("task", default, (*offered, AUTO) if default == AUTO else tuple(offered)),
        integer("pairs", MIN_SAMPLES, low=1, high=256),
        choice("corruption", "swap", ("swap", "third")),
        choice("apostrophe", "curly", ("curly", "straight")),
        integer("block", 10, low=2, high=512),
        text("own", EXAMPLE, LONGEST, called="your pairs")._replace(joint=True),
        choice("metric", "task", tuple(METRICS)),
    )
