"""Which pairs of prompts an intervention is tried on: tasks made for the model, or the visitor's own, checked first."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
import streamlit as st

from lens.ui import parts
from lens.ui.calls import analyse, call_key
from lens.ui.ending import end_page
from lens.ui.fields import Field, choice, integer, text
from lens.ui.limits import limits
from lens.ui.models import prepend_bos
from lens.ui.pieces.tasks_own import EXAMPLE, LONGEST, SHOWN, alignment, read_own
from lens.ui.view import ViewState
from lens.ui.waiting import AGREED, offer, remembered
from lens.ui.widgets import number, segmented, select

NAMES = {
    "ioi": "Indirect object",
    "pronouns": "Pronouns",
    "greater_than": "Greater than",
    "repeated": "Repeated tokens",
    "capitals": "Capitals",
    "own": "Your own pairs",
    "induction": "Induction loss",
}
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
METRIC_WORDS = {
    "logit_diff": "mean logit of the right answers minus mean logit of the wrong ones",
    "log_prob": "log-probability of the right answer",
    "prob": "probability of the right answers together",
    "prob_diff": "probability of the right answers minus that of the wrong ones",
    "rank": "number of tokens that score above the right answer",
    "loss": "−log P of the next token of the prompt",
    "kl": "KL divergence of the clean run's prediction from this run's",
}
TASK_HELP = (
    "Pairs of prompts that differ in what carries the answer. **Clean** is the prompt whose answer is right, "
    "**corrupted** the one in which the information is exchanged. Both have the same number of tokens."
)
PAIRS_HELP = "Pairs of prompts. More take longer in proportion; from 16 on there is a 95% interval."
CORRUPTION_HELP = (
    "**Swap:** the other of the two names repeats, so the answer becomes the wrong one. **Third:** a new name stands "
    "there, so neither is right."
)
APOSTROPHE_HELP = "isn’t or isn't: different tokens, and not every model knows both equally well."
BLOCK_HELP = "Random tokens of the block that repeats."
METRIC_HELP = "The number that is read from the last token's prediction before and after. " + " ".join(
    f"**{METRICS[kind]}:** {words}." for kind, words in METRIC_WORDS.items()
)


class Chosen(NamedTuple):
    """The pairs a page works on, and how they came about."""

    name: str  # key of NAMES
    pairs: Any  # Pairs
    metric: Any  # Metric: the task's own
    description: str  # how the pairs were made, with numbers and seed

    @property
    def title(self) -> str:
        """The task in words."""
        return NAMES[self.name]


def task_fields(offered: Sequence[str], pairs: int = 4) -> tuple[Field, ...]:
    """The fields of the address that ``choose_task`` and ``choose_metric`` own; the first task is the default."""
    return (
        choice("task", offered[0], tuple(offered)),
        integer("pairs", pairs, low=1, high=256),
        choice("corruption", "swap", ("swap", "third")),
        choice("apostrophe", "curly", ("curly", "straight")),
        integer("block", 10, low=2, high=512),
        text("own", EXAMPLE, LONGEST, called="your pairs")._replace(joint=True),
        choice("metric", "task", tuple(METRICS)),
    )


def choose_task(view: ViewState, model: Any, offered: Sequence[str]) -> Chosen:
    """The widgets of the task, and its pairs for this model. The page ends, with the reason, where there are none.

    The BOS switch of the header holds here too.
    """
    from lens.analysis.interventions import Metric

    with st.container(horizontal=True, vertical_alignment="bottom", key="task-controls"):
        name = select(view, "task", tuple(offered), "Task", TASK_HELP, format_func=NAMES.get, width=190)
        if name != "own":
            number(view, "pairs", (1, limits().pairs), "Pairs", PAIRS_HELP, width=110)
        if name == "ioi":
            segmented(view, "corruption", ("swap", "third"), "Corrupted by", CORRUPTION_HELP, format_func=str.title)
        if name == "pronouns":
            segmented(view, "apostrophe", ("curly", "straight"), "Apostrophe", APOSTROPHE_HELP, format_func=str.title)
        if name in ("repeated", "induction"):
            longest = max(2, min(limits().block_length, (model.cfg.n_ctx - 1) // 2))
            number(view, "block", (2, longest), "n", BLOCK_HELP, width=100)
    if name != "own":
        return _made(view, model, name)
    pairs, about = read_own(view, model)
    return Chosen(name, pairs, Metric("logit_diff" if pairs.wrong else "log_prob"), about)


def show_ability(model: Any, chosen: Chosen) -> Any | None:
    """The sentence that says whether the model can do the task, before anything is patched. Returns the Ability.

    When it cannot, the page ends with an offer to go on. None for tasks without answers, which have none to get right.
    """
    from lens.analysis.interventions.tasks import ability

    if not chosen.pairs.answers:
        return None
    found = analyse(ability, model, chosen.pairs)
    parts.aside("Can it do this?", f"{found.sentence} {found.note[:1].upper()}{found.note[1:]}.")
    key = call_key(ability, (model, chosen.pairs), {})
    if not found.can and key not in remembered(AGREED):
        offer(key, "Nothing is patched yet. What follows would be about a model that fails at this.", "Go on anyway")
        end_page()
    return found


def choose_metric(view: ViewState, chosen: Chosen, left_out: Sequence[str] = ()) -> Any:
    """The number that is measured; only those that these pairs allow are offered, and none of ``left_out``."""
    from lens.analysis.interventions import Metric

    pairs = chosen.pairs
    wrong, answers = bool(pairs.wrong) and all(pairs.wrong), bool(pairs.answers) and all(pairs.answers)
    needs = {"logit_diff": wrong, "prob_diff": wrong, "log_prob": answers, "prob": answers, "rank": answers}
    offered = [kind for kind in METRICS if needs.get(kind, True) and kind not in left_out]
    own = METRICS[chosen.metric.kind].lower()
    names = METRICS | {"task": f"Task's own: {own}"}
    kind = select(view, "metric", offered, "Metric", METRIC_HELP, format_func=names.get, width=210)
    if kind in ("task", chosen.metric.kind):
        return chosen.metric
    return Metric(kind, where="all") if kind == "loss" else Metric(kind)


def labels_of(model: Any, ids: Sequence[int]) -> list[str]:
    """Tokens as they are written in figures, one for each id."""
    from lens.tokens import visible

    return list(map(visible, model.to_str_tokens(list(ids))))


def show_pairs(model: Any, chosen: Chosen) -> None:
    """The pairs token under token, differences marked, and how they were made."""
    pairs = chosen.pairs
    bodies = []
    for index in range(min(SHOWN, len(pairs))):
        sides = [labels_of(model, side[index]) for side in (pairs.clean, pairs.corrupted)]
        differs = [a != b for a, b in zip(pairs.clean[index], pairs.corrupted[index])]
        bodies.append(alignment(index, *sides, differs))
    st.html("".join(bodies))
    more = f" The first {SHOWN} are drawn." if len(pairs) > SHOWN else ""
    parts.aside("Pairs", f"{chosen.description}.{more}")


def pair_table(model: Any, chosen: Chosen) -> pd.DataFrame:
    """One row per pair: prompts and answers as text."""
    pairs = chosen.pairs
    rows = {"clean": ["".join(labels_of(model, ids)) for ids in pairs.clean]}
    rows["corrupted"] = ["".join(labels_of(model, ids)) for ids in pairs.corrupted]
    for name, answers in (("answer", pairs.answers), ("wrong", pairs.wrong)):
        if answers:
            rows[name] = [", ".join(labels_of(model, ids)) for ids in answers]
    return pd.DataFrame(rows)


def sizes(name: str, n: int, view: ViewState) -> dict[str, Any]:
    """The arguments of the task ``name`` that give at least ``n`` pairs, sentences and fillings balanced."""
    orders = 2 if name == "ioi" else 1
    fillings = 2 ** max(0, round(math.log2(math.sqrt(n / orders)))) if n > 1 else 1
    sentences = math.ceil(n / (orders * fillings))
    if name == "ioi":
        return {"n_frames": sentences, "n_names": fillings, "seed": view["seed"], "corruption": view["corruption"]}
    if name == "greater_than":
        years = min(fillings, 6)  # single-digit years have no more
        return {"n_frames": math.ceil(n / years), "n_years": years, "seed": view["seed"]}
    if name == "capitals":
        return {"n_frames": min(sentences, 4), "n_names": math.ceil(n / min(sentences, 4)), "seed": view["seed"]}
    if name == "pronouns":
        return {"apostrophe": view["apostrophe"]}
    return {"n": int(view["block"]), "n_pairs": n, "seed": view["seed"]}


def _made(view: ViewState, model: Any, name: str) -> Chosen:
    from lens.analysis.interventions.tasks import TASKS, to_pairs

    n = int(view["pairs"])
    task = analyse(TASKS[name], model, **sizes(name, n, view))
    pairs, bos = task.pairs, prepend_bos(view)
    if bos is not None and (model.bos.id is None or not task.prompts):
        view.note("the BOS switch changes nothing here: " + ("this model has none" if task.prompts else "drawn ids"))
    elif bos is not None:
        pairs = analyse(to_pairs, model, task.prompts, bos)
    if len(pairs) < n:
        view.note(f"this task has {len(pairs)} pairs for this model, not {n}")
    shown = f"; the first {n} of them are used" if len(pairs) > n else ""
    left_out = f". Left out: {'; '.join(task.left_out[:3])}" if task.left_out else ""
    return Chosen(name, pairs.take(range(min(n, len(pairs)))), task.metric, task.description + shown + left_out)
