"""Below the grid of head scores: the table, two scores against each other, what repetition saves, and the export."""

from functools import partial
from typing import Any

import streamlit as st

from lens.analysis.induction_loss import repeat_losses_of, summarise_repeats
from lens.analysis.rank_correlation import HOW, rank_correlation
from lens.analysis.stats import INTERVAL
from lens.figures.scatter import scatter
from lens.ui import parts
from lens.ui.calls import analyse, sweep
from lens.ui.explanation import Explanation, explain
from lens.ui.shared import repeat_loss, repeats
from lens.ui.shared import score_words as scores
from lens.ui.shared.heads import head_table
from lens.ui.shared.score_board import Board
from lens.ui.store import to_numpy
from lens.ui.view import ViewState
from lens.ui.widgets import select

SCATTER_MISREADING = (
    "Heads that score high on both need not do both at once: each score is a mean over other queries. And the order of "
    "all heads says little about the few at the ends, which are the ones to look at."
)
UNEMBED = 2  # times the work of the layers alone, roughly, for a small model with a large vocabulary


def columns(score: Any) -> dict[str, Any]:
    """What each column of the table means."""
    kind, show = score.kind, partial(st.column_config.NumberColumn, format="%.4f")
    null = f"{kind.null}; uniform attention gives {score.uniform:.4f}" if score.effect is not None else ""
    interval = f"An end of the interval of the mean: {INTERVAL} over sequences."
    return {
        "head": st.column_config.TextColumn(help="layer.head, both from 0. Click a row to select it.", width=70),
        "layer": st.column_config.NumberColumn(help="Layer, from 0.", width=60),
        "index": st.column_config.NumberColumn(help="Head within its layer, from 0.", width=60),
        "score": st.column_config.ProgressColumn(
            help=parts.metric_help(kind.definition, kind.unit, null), format="%.4f", min_value=0,
            max_value=max(1.0, float(score.score.mean.max())) if kind.unit == "probability" else None,
        ) if kind.unit == "probability" else show(help=parts.metric_help(kind.definition, kind.unit, null)),
        "CI low": show(help=interval),
        "CI high": show(help=interval),
        "control": show(help=f"The null: {kind.null}."),
        "difference": show(help="Score minus control, mean over sequences."),
        "above threshold": st.column_config.CheckboxColumn(help=scores.threshold_words(score)),
        "rank": st.column_config.NumberColumn(help="1 is the largest score; equal scores share the better rank."),
    }  # fmt: skip


def show_table(view: ViewState, model: Any, board: Board, name: str) -> None:
    """All heads by the score; a click on a row selects its head."""
    score = board.scores[name]
    rows = scores.table(score)
    alt = f"All {len(rows)} heads by their {scores.TITLES[score.kind.name].lower()} score, largest first; sortable"
    head_table(view, rows, "scores:table", columns(score), alt)


def show_scatter(view: ViewState, model: Any, board: Board, name: str) -> None:
    """The score against another one."""
    others = tuple(other for other in scores.TITLES if other in board.scores.scores and other != name)
    if view["against"] == name:
        view.set(against=others[0])
    help = "The score across; the one chosen above the grid is up."
    against = select(view, "against", others, "Against", help, format_func=scores.TITLES.get, width=260)
    x, y = (scores.measure(board.scores[which], view["shown"] == "difference") for which in (against, name))
    title = f"{scores.TITLES[name]} against {scores.TITLES[against].lower()}"
    figure = scatter(x, y, pinned=view["pins"], current=view.current(), title=title)
    pair = (board.scores[against], board.scores[name])
    means = (score.score.mean for score in pair)
    words = scores.both(*pair, analyse(rank_correlation, *means, model.cfg.group_size))
    parts.head_grid(figure, view, key="scores:scatter", alt=words)
    explain(view, model, Explanation(words, SCATTER_MISREADING, measured=(("Rank correlation", f"Tested {HOW}."),)))


def show_loss(view: ViewState, model: Any, board: Board, name: str) -> None:
    """What repetition saves, by position."""
    if board.sample is None:
        parts.not_computed("this is measured on random tokens: choose them under 'Scored on'.")
        return
    n, seqs, seed, bos = board.sample.settings
    same, place = (n, int(bos), seed, board.sample.repeated.set_size), st.empty()

    def draw(done: dict) -> None:
        with place:
            losses = to_numpy(summarise_repeats(repeat_loss.join(done), *same))
            parts.chart(repeat_loss.figure(losses), "The losses so far")

    cells = repeat_loss.blocks(seqs, n)
    estimate = UNEMBED * repeats.seconds(model, board.sample.settings)
    found = sweep(repeat_losses_of, cells, model, n, seed, bos, show=draw, estimate=estimate)
    if not found.done:
        return
    summary = analyse(summarise_repeats, repeat_loss.join(found.done), *same)
    words = repeat_loss.notice(summary, n)
    with place.container():
        parts.chart(repeat_loss.figure(summary), alt=words, key="scores:loss")
    explain(view, model, Explanation(words, repeat_loss.MISREADING))


TABS = {
    "table": ("All heads", show_table),
    "scatter": ("Two scores", show_scatter),
    "loss": ("What repetition saves", show_loss),
}
