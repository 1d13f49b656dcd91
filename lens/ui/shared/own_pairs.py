"""The visitor's own pairs of prompts: an editor, and a checker that refuses a pair with the reason and the way out."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from lens.analysis.interventions import Pairs
from lens.analysis.interventions.tasks import Checked, check_all, parse_pairs, to_pairs
from lens.figures.aligned import Row, aligned
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.ending import end_page
from lens.ui.limits import limits
from lens.ui.models import prepend_bos
from lens.ui.shared.wording import plain
from lens.ui.view import ViewState
from lens.ui.widgets import text_area

SHORT_LINES = 140  # pixels of the box for pairs
DRAWN = 12  # pairs that the checker draws token by token; all are checked
OWN_HELP = (
    "One pair a line, `clean | corrupted | answer | wrong answer` (several answers: commas between them), or JSONL: "
    '`{"clean": "…", "corrupted": "…", "answer": " …", "wrong": [" …"]}`, taken exactly as it is.'
)


def read_own(view: ViewState, model: HookedTransformer) -> tuple[Pairs, str]:
    """The editor and the checker: the pairs that can be patched, and how many. Each other is drawn with its problem.

    The page ends where none is left.
    """
    text_area(view, "own", "Pairs, one a line", OWN_HELP, height=SHORT_LINES)
    if not view["own"].strip():
        parts.empty_state("No pairs yet. Write one a line: clean prompt | corrupted prompt | answer | wrong answer")
    prompts, bos = parse_pairs(view["own"]), prepend_bos(view)
    problems = [(pair, _problem(pair)) for pair in analyse(check_all, model, prompts[: limits().pairs], bos)]
    refused = [(index, *row) for index, row in enumerate(problems) if row[1]]
    for index, pair, problem in refused[:DRAWN]:
        st.warning(f"**Pair {index + 1}** is left out. {plain(problem)}", icon=":material/rule:")
        if pair.clean:
            st.html(alignment(index, pair.clean, pair.corrupted, pair.differs))
    good = [pair.prompt for pair, problem in problems if not problem]
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


def _problem(pair: Checked) -> str:
    longest = limits().prompt_tokens
    if not pair.problem and len(pair.clean) > longest:
        return f"It has {len(pair.clean)} tokens; at most {longest} are patched here. Shorten both prompts."
    return pair.problem


def alignment(index: int, clean: Sequence[str], corrupted: Sequence[str], differs: Sequence[bool]) -> str:
    """One pair token under token; ≠ stands under every place at which the two differ or only one has a token."""
    marks = ["≠" if differ else "" for differ in differs]
    rows = [
        Row(name, labels, (marks + ["≠"] * len(labels))[: len(labels)], "differs")
        for name, labels in (("clean", clean), ("corrupted", corrupted))
    ]
    return aligned(rows, f"Pair {index + 1}: clean and corrupted prompt token under token, differences marked")
