"""Which pairs of prompts an intervention is tried on: tasks made for the model, or the visitor's own, checked first."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import pandas as pd
import streamlit as st

from lens.analysis.counts import counted
from lens.analysis.interventions import Metric, Pairs, kinds_for
from lens.analysis.interventions.tasks import (
    TASKS,
    Ability,
    Task,
    ability,
    check_all,
    parse_pairs,
    task_or_reason,
    to_pairs,
)
from lens.analysis.least import MIN_SAMPLES
from lens.figures.aligned import Row, aligned
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse, call_key
from lens.ui.ending import end_page
from lens.ui.estimate import forward_seconds
from lens.ui.labels import token_labels
from lens.ui.limits import limits
from lens.ui.models import prepend_bos
from lens.ui.shared.task_fields import AUTO, METRICS
from lens.ui.shared.wording import plain, sentence
from lens.ui.view import ViewState
from lens.ui.waiting import AGREED, offer, remembered
from lens.ui.widgets import bind, number, segmented, select, text_area

NAMES = {
    "ioi": "Indirect object",
    "pronouns": "Pronouns",
    "greater_than": "Greater than",
    "repeated": "Repeated tokens",
    "capitals": "Capitals",
    "own": "Your own pairs",
    "induction": "Induction loss",
}
METRIC_WORDS = {
    "logit_diff": "mean logit of the right answers minus mean logit of the wrong ones",
    "log_prob": "log-probability of the right answer",
    "prob": "probability of the right answers together",
    "prob_diff": "probability of the right answers minus that of the wrong ones",
    "rank": "rank of the right answer among all tokens, 1 is the likeliest",
    "loss": "−log P of the next token of the prompt",
    "kl": "KL divergence of the clean run's prediction from this run's",
}
TASK_HELP = (
    "Pairs of prompts that differ in what carries the answer. **Clean** is the prompt whose answer is right, "
    "**corrupted** the one in which the information is exchanged. Both have the same number of tokens."
)
PAIRS_HELP = (
    "Pairs of prompts. More take longer in proportion. From 16 on, with at least 8 frames and 8 names, there is a 95% "
    "interval; below that no share of the gap and no verdict."
)
CORRUPTION_HELP = (
    "**Swap:** the other of the two names repeats, so the answer becomes the wrong one. **Third:** a new name stands "
    "there, so neither is right."
)
APOSTROPHE_HELP = "isn’t or isn't: different tokens, and not every model knows both equally well."
BLOCK_HELP = "Random tokens of the block that repeats."
TRIAL_SECONDS = 10.0  # estimated seconds of one task; above, none is tried before it is asked for
METRIC_HELP = "The number that is read from the last token's prediction before and after. " + " ".join(
    f"**{METRICS[kind]}:** {words}." for kind, words in METRIC_WORDS.items()
)
SHORT_LINES = 140  # pixels of the box for pairs
DRAWN = 12  # pairs that the checker draws token by token; all are checked
OWN_HELP = (
    "One pair a line, `clean | corrupted | answer | wrong answer` (several answers: commas between them), or JSONL: "
    '`{"clean": "…", "corrupted": "…", "answer": " …", "wrong": [" …"]}`, taken exactly as it is.'
)


class TaskChoice(NamedTuple):
    """The pairs a page works on, and how they came about."""

    name: str  # key of NAMES
    pairs: Pairs
    metric: Metric  # the task's own
    description: str  # how the pairs were made, with numbers and seed
    trial: Pairs | None = None  # say whether the model does the task: at least those a verdict needs; None: ``pairs``
    swapped: bool = False  # whether the wrong answers are the right ones of the corrupted prompt

    @property
    def title(self) -> str:
        """The task in words."""
        return NAMES[self.name]


def choose_task(view: ViewState, model: HookedTransformer, offered: Sequence[str]) -> TaskChoice:
    """The widgets of the task, and its pairs for this model. The page ends, with the reason, where there are none.

    The BOS switch of the header holds here too.
    """
    with st.container(horizontal=True, vertical_alignment="bottom", key="task-controls"):
        name = _choose_name(view, model, offered)
        if name != "own":
            number(view, "pairs", (1, limits().pairs), "Pairs", PAIRS_HELP, width=110)
        if name == "ioi":
            segmented(view, "corruption", ("swap", "third"), "Corrupted by", CORRUPTION_HELP, format_func=str.title)
        if name == "pronouns":
            segmented(view, "apostrophe", ("curly", "straight"), "Apostrophe", APOSTROPHE_HELP, format_func=str.title)
        if name in ("repeated", "induction"):
            longest = max(2, min(limits().block_length, (model.cfg.n_ctx - 1) // 2))
            number(view, "block", (2, longest), "n", BLOCK_HELP, width=100)
    return read_own(view, model) if name == "own" else _made(view, model, name)


def _choose_name(view: ViewState, model: HookedTransformer, offered: Sequence[str]) -> str:
    """The list of tasks; until one is chosen, the first that the open model does."""
    if view["task"] != AUTO:
        return select(view, "task", tuple(offered), "Task", TASK_HELP, format_func=NAMES.get, width=190)
    first = _first_done(view, model, offered)
    seed = bind(view, "task", first)
    return st.selectbox("Task", offered, offered.index(first), help=TASK_HELP, format_func=NAMES.get, width=190, **seed)


def _first_done(view: ViewState, model: HookedTransformer, offered: Sequence[str]) -> str:
    """The first task of the list that the model does, on as many pairs as a verdict needs; else the first it can read.

    Only while trying is quick; a large model starts with the first task.
    """
    readable = []
    for name in filter(TASKS.__contains__, offered):
        try:
            task = _task(view, model, name, MIN_SAMPLES)
        except ValueError:  # its tokenizer has no such words: the next task may still do
            continue
        readable.append(name)
        trial = _first(task.pairs, MIN_SAMPLES)
        if forward_seconds(model, 2 * len(trial) * trial.n_pos, unembed=False) > TRIAL_SECONDS:
            break
        if analyse(ability, model, trial, task.metric, task.swapped).can:
            return name
    return readable[0] if readable else offered[0]


def read_own(view: ViewState, model: HookedTransformer) -> TaskChoice:
    """The editor and the checker of one's own pairs: those that can be patched. Each other is drawn with its problem.

    The page ends where none is left.
    """
    text_area(view, "own", "Pairs, one a line", OWN_HELP, height=SHORT_LINES)
    if not view["own"].strip():
        parts.empty_state("No pairs yet. Write one a line: clean prompt | corrupted prompt | answer | wrong answer")
    return _checked(view, model)


def task_beside(view: ViewState, model: HookedTransformer, name: str) -> TaskChoice:
    """The same task as it is made for a second model, without a widget.

    What stands beside ends, with the reason, where there are no pairs.
    """
    if name == "own":
        return _checked(view, model)
    reason = analyse(task_or_reason, model, name, int(view["pairs"]), *_settings(view))
    if isinstance(reason, str):
        parts.not_computed(reason)
        end_page()
    return _made(view, model, name)


def _checked(view: ViewState, model: HookedTransformer) -> TaskChoice:
    prompts, bos, most = parse_pairs(view["own"]), prepend_bos(view), limits().pairs
    checked = analyse(check_all, model, prompts[:most], bos, limits().prompt_tokens)
    refused = [(index, pair) for index, pair in enumerate(checked) if pair.problem]
    for index, pair in refused[:DRAWN]:
        st.warning(f"**Pair {index + 1}** is left out. {plain(pair.problem)}", icon=":material/rule:")
        if pair.clean:
            st.html(alignment(index, pair.clean, pair.corrupted, pair.differs))
    good = [pair.prompt for pair in checked if not pair.problem]
    if not good:
        st.info("None of the pairs can be patched. Mend them as said above.", icon=":material/edit:")
        end_page()
    if len(prompts) > most:
        view.note(f"{len(prompts)} pairs were given: the first {most} are used")
    pairs = analyse(to_pairs, model, good, bos)
    if twice := next(filter(None, map(model.two_bos, (*pairs.clean, *pairs.corrupted))), ""):
        view.note(f"in your own pairs, {twice.removesuffix('.')}")
    if not all(pairs.wrong):
        if any(pairs.wrong):
            view.note("not every pair has a wrong answer: none is used")
        pairs = replace(pairs, wrong=())
    left = f", {len(refused)} left out" if refused else ""
    about = f"{len(good)} {'pair' if len(good) == 1 else 'pairs'} of your own{left}"
    return TaskChoice("own", pairs, Metric("logit_diff" if pairs.wrong else "log_prob"), about)


def show_ability(model: HookedTransformer, task: TaskChoice) -> Ability | None:
    """The sentence that says whether the model can do the task, before anything is patched.

    Where its two runs cannot be told apart, the page ends with an offer to go on. None for tasks without answers, which
    have none to get right.
    """
    if not task.pairs.answers:
        return None
    trial = (model, task.pairs if task.trial is None else task.trial, task.metric, task.swapped)
    result = analyse(ability, *trial)
    parts.aside("Can it do this?", f"{result.sentence} {sentence(result.note)}")
    key = call_key(ability, trial, {})
    if result.verdict.state == "none" and not result.gap.found and key not in remembered(AGREED):
        offer(key, "Nothing is patched yet. What follows would be about a model that fails at this.", "Go on anyway")
        end_page()
    return result


def choose_metric(view: ViewState, task: TaskChoice) -> Metric:
    """The number that is measured; only those that these pairs allow are offered."""
    offered = [kind for kind in METRICS if kind in ("task", *kinds_for(task.pairs))]
    names = METRICS | {"task": f"Task's own: {METRICS[task.metric.kind].lower()}"}
    kind = select(view, "metric", offered, "Metric", METRIC_HELP, format_func=names.get, width=210)
    if kind in ("task", task.metric.kind):
        return task.metric
    return Metric(kind, where="all") if kind == "loss" else Metric(kind)


def show_pairs(model: HookedTransformer, task: TaskChoice) -> None:
    """The pairs token under token, differences marked, and how they were made."""
    bodies = []
    for index, sides in enumerate(zip(task.pairs.clean[:DRAWN], task.pairs.corrupted)):
        differs = [a != b for a, b in zip(*sides)]
        bodies.append(alignment(index, *(token_labels(model, ids) for ids in sides), differs))
    st.html("".join(bodies))
    rest = f" The first {DRAWN} are drawn." if len(task.pairs) > DRAWN else ""
    parts.aside("Pairs", f"{task.description}.{rest}")


def pair_table(model: HookedTransformer, pairs: Pairs) -> pd.DataFrame:
    """One row per pair: prompts and answers as text."""
    rows = {
        side: ["".join(token_labels(model, ids)) for ids in getattr(pairs, side)] for side in ("clean", "corrupted")
    }
    for name, answers in (("answer", pairs.answers), ("wrong", pairs.wrong)):
        if answers:
            rows[name] = [", ".join(token_labels(model, ids)) for ids in answers]
    return pd.DataFrame(rows)


def _task(view: ViewState, model: HookedTransformer, name: str, n: int) -> Task:
    """The task for this model; ValueError where none of its prompts fits."""
    task = analyse(task_or_reason, model, name, n, *_settings(view))
    if isinstance(task, str):
        raise ValueError(task)
    return task


def _settings(view: ViewState) -> tuple[int, str, str, int]:
    return view["seed"], view["corruption"], view["apostrophe"], int(view["block"])


def _first(pairs: Pairs, n: int) -> Pairs:
    return pairs.take(range(min(n, len(pairs))))


def _made(view: ViewState, model: HookedTransformer, name: str) -> TaskChoice:
    n = int(view["pairs"])
    enough = max(n, MIN_SAMPLES)  # whether the model does it is asked of enough pairs, however few are patched
    task = _task(view, model, name, n if name == "induction" else enough)
    pairs, bos = task.pairs, prepend_bos(view)
    if bos is not None and (model.bos.id is None or not task.prompts):
        view.note("the BOS switch changes nothing here: " + ("this model has none" if task.prompts else "drawn ids"))
    elif bos is not None:
        pairs = analyse(to_pairs, model, task.prompts, bos)
    if len(pairs) < n:
        view.note(f"this task has {counted(len(pairs), 'pair')} for this model, not {n}")
    used = f"; the first {n} of them are used" if len(pairs) > n else ""
    left_out = f". Left out: {'; '.join(task.left_out[:3])}" if task.left_out else ""
    about = task.description + used + left_out
    return TaskChoice(name, _first(pairs, n), task.metric, about, _first(pairs, enough), task.swapped)


def alignment(index: int, clean: Sequence[str], corrupted: Sequence[str], differs: Sequence[bool]) -> str:
    """One pair token under token; ≠ stands under every place at which the two differ or only one has a token."""
    marks = ["≠" if differ else "" for differ in differs]
    rows = [
        Row(name, labels, (marks + ["≠"] * len(labels))[: len(labels)], "differs")
        for name, labels in (("clean", clean), ("corrupted", corrupted))
    ]
    return aligned(rows, f"Pair {index + 1}: clean and corrupted prompt token under token, differences marked")
