"""The Head scores page: what is scored, and the grid of all heads. Imports no torch before it computes."""

from functools import partial
from typing import Any

import streamlit as st

from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.ending import end_page
from lens.ui.explanation import Explanation, explain
from lens.ui.limits import limits
from lens.ui.models import read_prompt
from lens.ui.pages.head_scores import ON, SHOWN
from lens.ui.shared import heads, repeats
from lens.ui.shared import score_words as scores
from lens.ui.shared.score_board import GRID_WIDTH, Board, fill
from lens.ui.view import ViewState
from lens.ui.widgets import number, segmented, select

ON_HELP = (
    "**Random:** random tokens that repeat, [BOS] r₁…r_n r₁…r_n, on which only a head's own habit can score, with a "
    "paired control whose second half is n other tokens. **Prompt:** the text above; a score that needs repeated "
    "tokens is computed only if it has some, and one text gives no interval."
)
SHOWN_HELP = (
    "The score, with its control in the hover label, or the score minus the control of the same sequences: what "
    "the repetition adds."
)


def controls(view: ViewState, model: Any) -> str:
    """The row of widgets; returns the name of the score."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="scores-controls"):
        name = select(
            view, "score", tuple(scores.TITLES), "Score", "What is measured; the definition stands above the grid.",
            format_func=scores.TITLES.get, width=200,
        )  # fmt: skip
        on = segmented(view, "on", tuple(ON), "Scored on", ON_HELP, format_func=ON.get)
        segmented(view, "shown", tuple(SHOWN), "Shown", SHOWN_HELP, format_func=SHOWN.get)
        if on == "random":
            bounds = repeats.block_bounds(model, bos=True)
            number(view, "n", bounds, "n", "Random tokens before they repeat; 2n + 1 tokens with BOS.", width=100)
            enough = "Random sequences; their number is the n of intervals and threshold. Intervals need 16."
            number(view, "seqs", (1, limits().sequences), "Sequences", enough, width=100)
            number(view, "seed", (0, 2**31 - 1), "Seed", "The same seed draws the same tokens.", width=100)
    return name


def read_board(view: ViewState, model: Any, name: str, place: Any) -> Board:
    """Compute what the view asks for; the grid fills in ``place`` meanwhile. The page ends if it cannot be computed."""
    if view["on"] == "text":
        board = _on_prompt(view, model)
    else:
        show = partial(fill, place) if name == "induction" else None  # other scores wait until all are computed
        found = repeats.sample(model, repeats.settings(view, model), show)
        if found.settings.seqs < found.wanted:
            view.note(f"{found.settings.seqs} of {found.wanted} sequences are computed: showing these")
        board = Board(found.scores, found.repeated.tokens, found.repeated.control, found)
    if name not in board.scores.scores:
        parts.not_computed(board.scores.missing[name].removeprefix("not computed because ") + ".")
        end_page()
    return board


def show_grid(view: ViewState, score: Any, model: Any) -> Any:
    """The clickable grid; returns the figure."""
    from lens.figures.fitted import small_grid
    from lens.figures.grid import grid

    difference = view["shown"] == "difference" and score.effect is not None
    if view["shown"] == "difference" and score.effect is None:
        view.note("on a prompt this score has no control: showing the score itself")
    title = f"{scores.TITLES[score.kind.name]}{' minus its control' if difference else ''}: every head of {model.name}"
    shown = scores.measure(score, difference)
    current = heads.current(view, heads.strongest(score.score.mean))
    figure = small_grid(grid(shown, pinned=view["pins"], current=current, title=title), GRID_WIDTH)
    words = scores.notice_difference(score) if difference else scores.notice(score, view["on"] == "text")
    parts.head_grid(figure, view, key="scores:grid", alt=f"{title}. {words}")
    return figure


def explain_grid(view: ViewState, model: Any, score: Any, on_text: bool) -> None:
    """What to notice, what not to conclude, where the numbers come from, and the formula."""
    name = score.kind.name
    difference = view["shown"] == "difference" and score.effect is not None
    about = "text" if on_text and name in ("induction", "duplicate") else name
    formulas = scores.FORMULAS | (scores.TEXT_FORMULAS if on_text else {})
    where = "A is the attention pattern, q the query and k the key position, both from 0. Then the mean over sequences."
    explanation = Explanation(
        scores.notice_difference(score) if difference else scores.notice(score, on_text),
        scores.MISREADINGS.get(about, scores.MISREADINGS["entropy"]),
        measured=(("Against chance", scores.threshold_words(score)),),
        formula=formulas[name],
        where=f"{score.kind.definition} {where}",
    )
    explain(view, model, explanation)


def _on_prompt(view: ViewState, model: Any) -> Board:
    import torch

    from lens.analysis.text_scores import text_scores

    tokens = read_prompt(view, model).tokens
    found = analyse(text_scores, model, tokens, torch.ones_like(tokens, dtype=torch.bool), progress=True)
    return Board(found, tokens.cpu().numpy(), None, None)
