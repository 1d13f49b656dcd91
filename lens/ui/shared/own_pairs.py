"""The visitor's own pairs of prompts: an editor, and a checker that refuses a pair with the reason and the way out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from lens.figures.aligned import Row, aligned
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.ending import end_page
from lens.ui.limits import limits
from lens.ui.models import prepend_bos
from lens.ui.view import ViewState
from lens.ui.widgets import text_area

SHORT_LINES = 140  # pixels of the box for pairs
SHOWN = 12  # pairs that the checker draws token by token; all are checked
OWN_HELP = (
    "One pair a line, `clean | corrupted | answer | wrong answer` (several answers: commas between them), or JSONL: "
    '`{"clean": "…", "corrupted": "…", "answer": " …", "wrong": [" …"]}`, taken exactly as it is.'
)


def read_own(view: ViewState, model: Any) -> tuple[Any, str]:
    """The editor and the checker: the Pairs that can be patched, and how many. Each other is shown with its problem.

    The page ends where none is left.
    """
    from lens.analysis.interventions.tasks import check_all, parse_pairs, to_pairs

    text_area(view, "own", "Pairs, one a line", OWN_HELP, height=SHORT_LINES)
    if not view["own"].strip():
        parts.empty_state("No pairs yet. Write one a line: clean prompt | corrupted prompt | answer | wrong answer")
    prompts = parse_pairs(view["own"])
    bos = prepend_bos(view)
    checked = analyse(check_all, model, prompts[: limits().pairs], bos)
    refused = [(i, one, _problem(one)) for i, one in enumerate(checked) if _problem(one)]
    for index, one, problem in refused[:SHOWN]:
        st.warning(f"**Pair {index + 1}** is left out. {_plain(problem)}", icon=":material/rule:")
        if one.clean:
            st.html(alignment(index, one.clean, one.corrupted, one.differs))
    good = [one.prompt for one in checked if not _problem(one)]
    if not good:
        st.info("None of the pairs can be patched. Mend them as said above.", icon=":material/edit:")
        end_page()
    if len(prompts) > limits().pairs:
        view.note(f"{len(prompts)} pairs were given: the first {limits().pairs} are used")
    pairs = analyse(to_pairs, model, good, bos)
    if twice := next(filter(None, map(model.two_bos, (*pairs.clean, *pairs.corrupted))), ""):
        view.note(f"in your own pairs, {twice.removesuffix('.')}")
    if not all(pairs.wrong):
        if any(pairs.wrong):
            view.note("not every pair has a wrong answer: none is used")
        pairs = replace(pairs, wrong=())
    left = f", {len(refused)} left out" if refused else ""
    return pairs, f"{len(good)} {'pair' if len(good) == 1 else 'pairs'} of your own{left}"


def _problem(one: Any) -> str:
    longest = limits().prompt_tokens
    if not one.problem and len(one.clean) > longest:
        return f"It has {len(one.clean)} tokens; at most {longest} are patched here. Shorten both prompts."
    return one.problem


def _plain(sentence: str) -> str:
    """Markdown's own characters as they are: the sentence may quote a stranger's prompt."""
    return "".join(f"\\{one}" if one in r"\`*_{}[]<>()#+-.!|$~:" else one for one in sentence)


def alignment(index: int, clean: Sequence[str], corrupted: Sequence[str], differs: Sequence[bool]) -> str:
    """One pair token under token; ≠ stands under every place at which the two differ or only one has a token."""
    marks = ["≠" if differ else "" for differ in differs]
    rows = [
        Row(name, labels, (marks + ["≠"] * len(labels))[: len(labels)], "differs")
        for name, labels in (("clean", clean), ("corrupted", corrupted))
    ]
    return aligned(rows, f"Pair {index + 1}: clean and corrupted prompt token under token, differences marked")
