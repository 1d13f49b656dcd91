"""Below the grid of head scores: the table, two scores against each other, what repetition saves, and the export."""

from functools import partial

import streamlit as st

from lens.analysis.induction_loss import repeat_losses_of, summarise_repeats
from lens.analysis.instruments.instrument import Instrument
from lens.analysis.instruments.registry import instrument, pattern_names
from lens.analysis.instruments.sample import Sample
from lens.analysis.instruments.sample import repeats as repeats_sample
from lens.analysis.rank_correlation import HOW, rank_correlation
from lens.analysis.score_results import HeadScore
from lens.figures.scatter import scatter
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse, sweep
from lens.ui.explanation import Explanation, explain
from lens.ui.shared import instruments, repeat_loss, repeats
from lens.ui.shared import score_words as words
from lens.ui.shared.heads import head_table
from lens.ui.shared.instrument_list import grouped
from lens.ui.shared.score_board import Board, measure, table
from lens.ui.store import to_numpy, to_torch
from lens.ui.view import ViewState
from lens.ui.widgets import select

SCATTER_MISREADING = (
    "Heads that score high on both need not do both at once: each score is a mean over other queries. And the order of "
    "all heads says little about the few at the ends, which are the ones to look at."
)
UNEMBED = 2  # times the work of the layers alone, roughly, for a small model with a large vocabulary


def columns(score: HeadScore) -> parts.Columns:
    """What each column of the table means."""
    kind, show = score.kind, partial(st.column_config.NumberColumn, format="%.4f")
    even = f"; uniform attention gives {score.uniform:.4f}" if score.n_queries else ""
    null = f"{kind.null}{even}" if score.null_mean is not None else ""
    help, interval = parts.metric_help(kind.definition, kind.unit, null), f"An end of the interval: {score.score.note}."
    above = st.column_config.CheckboxColumn(help=words.threshold_words(score))
    largest = max(1.0, float(score.score.mean.max()))
    bar = st.column_config.ProgressColumn(help=help, format="%.4f", min_value=0, max_value=largest)
    return {
        "head": st.column_config.TextColumn(help="layer.head, both from 0. Click a row to select it.", width=70),
        "layer": st.column_config.NumberColumn(help="Layer, from 0.", width=60),
        "index": st.column_config.NumberColumn(help="Head within its layer, from 0.", width=60),
        "score": bar if kind.unit == "probability" else show(help=help),
        "CI low": show(help=interval),
        "CI high": show(help=interval),
        "control": show(help=f"The null: {kind.null}."),
        "null": show(help=f"The null: {kind.null}."),
        "difference": show(help="Score minus control, mean."),
        "above threshold": above,
        "above chance": above,
        "rank": st.column_config.NumberColumn(help="1 stands out most; equal scores share the better rank."),
    }


def show_table(view: ViewState, model: HookedTransformer, board: Board, score: HeadScore) -> None:
    """All heads by the score; a click on a row selects its head."""
    rows = table(score)
    alt = f"All {len(rows)} heads by their {words.title(score).lower()} score, largest first; sortable"
    head_table(view, rows, "scores:table", columns(score), alt)


def show_scatter(view: ViewState, model: HookedTransformer, board: Board, score: HeadScore) -> None:
    """The score against another one."""
    name, others = score.kind.name, _others(view, model, board, score)
    if view["against"] == name:
        view.set(against=next(iter(others)))
    help = "The score across; the one chosen above the grid is up. What takes long stands here once it is measured."
    titles = {other: instrument(other).title for other in others}
    against = select(view, "against", tuple(others), "Against", help, format_func=titles.get, width=260)
    pair = (others[against](), score)
    x, y = (measure(each, view["shown"] == "difference") for each in pair)
    title = f"{words.title(score)} against {titles[against].lower()}"
    figure = scatter(x, y, pinned=view["pins"], current=view.current(), title=title)
    text = words.both(*pair, analyse(rank_correlation, *(each.score.mean for each in pair), model.cfg.group_size))
    parts.head_grid(figure, view, key="scores:scatter", alt=text)
    explain(view, model, Explanation(text, SCATTER_MISREADING, measured=(("Rank correlation", f"Tested {HOW}."),)))


def _others(view: ViewState, model: HookedTransformer, board: Board, score: HeadScore) -> dict[str, partial[HeadScore]]:
    """How to read each score that can stand across: on this sample, else on the repeats; none that takes long."""
    patterns = board.scores
    samples = []
    if board.on in ("weights", "task", "repeats"):
        sample = repeats.sample(model, repeats.settings(view, model))
        patterns, samples = sample.scores, [repeats_sample(to_torch(sample.repeated))]
    others = {name: partial(patterns.__getitem__, name) for name in pattern_names() if name in patterns.scores}
    for kind in grouped():
        if kind.pattern is None and not kind.needs.why_not(model) and instruments.at_once(model, kind, samples):
            others[kind.name] = partial(_measured, model, kind, samples)
    return {name: read for name, read in others.items() if name != score.kind.name}


def _measured(model: HookedTransformer, kind: Instrument, samples: list[Sample]) -> HeadScore:
    return instruments.measured(model, kind, samples)[kind.name]


def show_loss(view: ViewState, model: HookedTransformer, board: Board, score: HeadScore) -> None:
    """What repetition saves, by position."""
    if board.on != "repeats":
        parts.not_computed("this is measured on random tokens: choose them under 'Scored on'.")
        return
    chosen = repeats.settings(view, model) if board.sample is None else board.sample.settings
    n, seqs, seed, bos = chosen
    same, place = (n, int(bos), seed, repeats.tokens(model, chosen).set_size), st.empty()

    def draw(done: dict) -> None:
        with place:
            losses = to_numpy(summarise_repeats(repeat_loss.join(done), *same))
            parts.chart(repeat_loss.figure(losses), "The losses so far")

    cells = repeat_loss.blocks(seqs, n)
    estimate = UNEMBED * repeats.seconds(model, chosen)
    done = sweep(repeat_losses_of, cells, model, n, seed, bos, show=draw, estimate=estimate).done
    if not done:
        return
    summary = analyse(summarise_repeats, repeat_loss.join(done), *same)
    text = repeat_loss.notice(summary, n)
    with place.container():
        parts.chart(repeat_loss.figure(summary), alt=text, key="scores:loss")
    explain(view, model, Explanation(text, repeat_loss.MISREADING))


TABS = {
    "table": ("All heads", show_table),
    "scatter": ("Two scores", show_scatter),
    "loss": ("What repetition saves", show_loss),
}
