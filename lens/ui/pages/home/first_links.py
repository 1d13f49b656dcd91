"""The first links of the chain, computed live for the head with the highest induction score, or the one selected."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import streamlit as st

from lens.figures.cells import Marks
from lens.figures.fitted import small_grid, small_matrix
from lens.figures.grid import grid
from lens.figures.matrix import matrix
from lens.figures.theme import number as said
from lens.ui import parts
from lens.ui.pages.head_scores.board import Board, fill, shown_head
from lens.ui.pages.head_scores.one_head import attention, labels, stripe
from lens.ui.pages.head_scores.tabs import take_away
from lens.ui.pages.home import start as home
from lens.ui.shared import repeats
from lens.ui.shared import score_words as scores
from lens.ui.view import ViewState
from lens.ui.widgets import button

SIDE = 330  # pixels of the matrix
NAME = "induction"


class Shown(NamedTuple):
    """What the first links show, for those that follow."""

    head: tuple[int, int]
    sample: repeats.Sample
    figure: Any
    found: dict[str, home.Found]


def show_chain(view: ViewState, model: Any, outline: Any, places: tuple[Any, Any]) -> Shown:
    """Score all heads, then show where one of them attends and how it scores."""
    left, right = places
    filling = right.empty()
    sample = repeats.sample(model, repeats.settings(view, model), partial(fill, filling))
    score = sample.scores[NAME]
    head, best = shown_head(view, score), scores.strongest(score)
    found = scores.facts(score, *head)
    pattern = attention(model, sample.repeated.tokens[0], *head)
    first = _first_links(sample, pattern, found)
    home.chain(outline, first)
    with left:
        _matrix(model, sample, pattern, head)
        st.markdown(attends_words(sample, pattern, head, found))
        parts.pin_button(view, head, "home:pin")
        home.open_page(view, "attends", head)
    with filling.container():
        title = "2 · It scores: induction, every head"
        figure = grid(scores.measure(score), pinned=view["pins"], current=head, title=title)
        parts.head_grid(small_grid(figure, None), view, key="home:grid", alt=scores.notice(score))
        _numbers(score, found)
        st.markdown(score_words(sample, head, found, best))
        if head != best:
            words = f"Back to the strongest head, {best[0]}.{best[1]}"
            button(words, "The largest induction score of all heads.", view.select, *best, key="home:best")
        home.open_page(view, "scores", head)
    return Shown(head, sample, figure, first)


def explain(view: ViewState, model: Any, shown: Shown) -> None:
    """What belongs to the numbers above: how sure they are, what not to conclude, which model, and how to take them."""
    sample = shown.sample
    board = Board(sample.scores, sample.repeated.tokens, sample.repeated.control, sample)
    score = board.scores[NAME]
    parts.notice(scores.notice(score))
    parts.aside("Against chance", scores.threshold_words(score))
    parts.misreading(scores.MISREADINGS[NAME])
    parts.provenance(view, model)
    parts.formula(scores.FORMULAS[NAME], score.kind.definition)
    take_away(view, board, NAME, shown.figure)


def attends_words(sample: repeats.Sample, pattern: np.ndarray, head: tuple[int, int], found: scores.Facts) -> str:
    """What to see in the matrix, from its numbers."""
    n, bos = sample.settings.n, sample.repeated.bos
    cells, _ = stripe(NAME, n, bos)
    share = float(np.mean([pattern[cell] for cell in cells]))
    rest = float(pattern[1 : bos + n, 0].mean())
    text = (
        f"Head {head[0]}.{head[1]} reads {n} random tokens, then the same {n} again. In the second copy it gives "
        f"{share:.0%} of its attention to the token that came next the first time (orange)"
    )
    text += f"; in the first copy, where there is nothing to find, {rest:.0%} goes to the first token."
    if found.above is None:
        return f"Whether any head attends this way more than chance allows cannot be said from so few sequences. {text}"
    if not scores.n_above(sample.scores[NAME]):
        return f"No head attends this way more than chance allows; this is the best. {text}"
    return text if found.above else f"It cannot be told from chance that this head attends this way. {text}"


def score_words(sample: repeats.Sample, head: tuple[int, int], found: scores.Facts, best: tuple[int, int]) -> str:
    """What the score of the head is worth."""
    score = sample.scores[NAME]
    text = f"Over {sample.settings.seqs} such sequences, head {head[0]}.{head[1]} scores {said(found.value)}"
    text += f"{scores.interval(found)}; where other tokens follow, {said(found.control)}. "
    if not scores.has_verdict(score):
        return f"{text}{scores.no_verdict(score)}"
    above, threshold = scores.n_above(score), said(score.threshold)
    if not above:
        return f"{text}None of the {found.total} heads exceeds {threshold}, what the best of them reaches by chance."
    text += f"{above} of {found.total} heads exceed {threshold}, what the best of all heads reaches by chance. "
    return text + ("It is the strongest." if head == best else f"The strongest is {best[0]}.{best[1]}.")


def _matrix(model: Any, sample: repeats.Sample, pattern: np.ndarray, head: tuple[int, int]) -> None:
    tokens = sample.repeated.tokens[0]
    cells, meaning = stripe(NAME, sample.settings.n, sample.repeated.bos)
    short = [label if len(label) < 9 else label[:8] + "…" for label in labels(model, tokens)]
    title = f"1 · Head {head[0]}.{head[1]} attends: {sample.settings.n} random tokens, twice"
    figure = matrix(pattern, short, title=title, marks=Marks(cells, meaning))
    parts.chart(small_matrix(figure, SIDE, None), title, key="home:matrix")


def _first_links(sample: repeats.Sample, pattern: np.ndarray, found: scores.Facts) -> dict[str, home.Found]:
    cells, _ = stripe(NAME, sample.settings.n, sample.repeated.bos)
    share = float(np.mean([pattern[cell] for cell in cells]))
    state = scores.STATES[found.above]
    rank = f"{said(found.value)}, rank {found.rank} of {found.total}{', within chance' if found.above is False else ''}"
    return {"attends": home.Found(f"{share:.0%} on the repeat", state), "scores": home.Found(rank, state)}


def _numbers(score: Any, found: scores.Facts) -> None:
    unit, null = score.kind.unit, f"{said(score.uniform)} for a head that looks at all keys alike"
    interval = scores.interval(found).strip() or "none"
    with st.container(horizontal=True, key="home-facts"):
        st.metric(
            "Score", said(found.value), help=parts.metric_help(score.kind.definition, unit, null), width="content"
        )
        st.metric("95% interval", interval, help=score.score.note, width="content")
        st.metric("Control", said(found.control), help=score.kind.null, width="content")
        threshold = "none" if score.threshold is None else said(score.threshold)
        st.metric("Threshold", threshold, help=scores.threshold_words(score), width="content")
        rank = "1 is the largest score of all heads."
        st.metric("Rank", f"{found.rank} of {found.total}", help=rank, width="content")
