"""Below the grid of OV copying: full against residual, and the table of all heads."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.copying_verdicts import DIFFER, RULE
from lens.analysis.head_vocabulary import beyond_chance, copying_accuracy, most_top, own_ranks_of
from lens.analysis.names import Head
from lens.analysis.rank_correlation import HOW, rank_correlation
from lens.analysis.verdicts import too_few
from lens.figures.measure import Measure
from lens.figures.scatter import scatter
from lens.ui import parts
from lens.ui.calls import analyse, sweep
from lens.ui.estimate import operation_seconds
from lens.ui.explanation import Explanation, explain
from lens.ui.pages.ov_copying import data as ov_data
from lens.ui.pages.ov_copying import data_words as told
from lens.ui.pages.ov_copying import words
from lens.ui.pages.ov_copying.read import Copying
from lens.ui.shared.heads import select_row
from lens.ui.store import to_torch
from lens.ui.view import ViewState
from lens.ui.widgets import number

TABLE_HEIGHT = 380  # pixels
RANKED = 64  # tokens whose ranks are computed for every head
TOP = 1000  # the largest k
TOP_HELP = (
    "For the last column: is the logit of the token itself among the k that the head would raise most by attending to "
    "it? Over the whole vocabulary, for tokens drawn at random. At most a tenth of the vocabulary, since chance alone "
    "reaches k/d_vocab."
)


def show_scatter(view: ViewState, model: Any, found: Copying, null: Any, head: Head) -> None:
    """The two circuits of every head against each other."""
    full, residual = found.scores.full.score, found.scores.residual.score
    x = Measure("residual copying", words.DEFINITIONS["residual"], residual, signed=True)
    y = Measure("full copying", words.DEFINITIONS["full"], full, signed=True)
    sentence = words.scatter_words(full, residual, analyse(rank_correlation, full, residual, model.cfg.group_size))
    figure = scatter(x, y, pinned=view["pins"], current=view.current(), title="Full against residual OV copying")
    parts.head_grid(figure, view, key="ov:scatter", alt=sentence)
    measured = (("Rank correlation", f"Tested {HOW}."),)
    explain(view, model, Explanation(sentence, words.SCATTER_MISREADING, measured=measured))


def largest_k(model: Any) -> int:
    """The largest k of the last column."""
    return min(TOP, most_top(model.cfg.d_vocab))


def show_table(view: ViewState, model: Any, found: Copying, null: Any, head: Head) -> dict[str, Any]:
    """All heads, with what they do on text and in their own rows beside the score; a click on a row selects it.

    Returns what it has beside the scores: "text" and "top", where they were computed.
    """
    k = int(number(view, "topk", (1, largest_k(model)), "Top k", TOP_HELP, width=130))
    place, extra = st.empty(), {}

    def draw(**more: Any) -> pd.DataFrame:
        extra.update({name: value for name, value in more.items() if value is not None})
        return words.table(found.scores, null, found.circuit, **extra)

    def show(**more: Any) -> None:
        place.dataframe(draw(**more), hide_index=True, height=TABLE_HEIGHT, column_config=_columns(k))

    show()
    scores = None
    if model.tokenizer is not None:
        weights = found.shown.score
        scores = ov_data.text_scores(view, model, lambda scores: show(text=ov_data.on_data(scores, weights)))
        scores = None if scores is None else ov_data.on_data(scores, weights)
        show(text=scores)
    top = top_shares(view, model, k, lambda shares: show(top=shares))
    rows = draw(text=scores, top=top)
    with place.container():
        st.dataframe(
            rows,
            hide_index=True,
            height=TABLE_HEIGHT,
            column_config=_columns(k),
            key="ov:table",
            on_select=partial(select_row, view, "ov:table", rows),
            selection_mode="single-row",
            alt=f"All {len(rows)} heads by their {found.circuit} OV copying score, largest first; sortable",
        )
    if scores is None:
        reason = ov_data.NO_TEXT if model.tokenizer is None else "no document has been read"
        parts.not_computed(f"{reason}: the column on text is missing.")
    notices = [] if scores is None else [told.disagreements(null, scores)]
    notices += [] if top is None else [words.top_words(top, k, model.cfg.d_vocab)]
    on_text = "" if scores is None else f"{scores.scores.source}. {RULE} {DIFFER}"
    explain(view, model, Explanation(tuple(notices), words.TABLE_MISREADING, measured=(("On text", on_text),)))
    return extra


def top_shares(view: ViewState, model: Any, k: int, show: Any) -> words.Top | None:
    """Top-k copying accuracy of every head, layer by layer; None if none is computed. ``show(Top)`` while it fills."""
    cfg = model.cfg

    def shares(done: dict) -> words.Top:
        mean, p = (np.full((cfg.n_layers, cfg.n_heads), np.nan, np.float32) for _ in range(2))
        for layer, ranks in done.items():
            accuracy = analyse(copying_accuracy, to_torch(ranks), k)
            mean[layer], p[layer] = accuracy.share, accuracy.p
        one, few = next(iter(done.values())), too_few(accuracy.n, "tokens")
        return words.Top(mean, beyond_chance(p), few, len(one.ids), one.seed, one.description)

    each = 2 * cfg.d_vocab * cfg.d_head * (cfg.d_model + RANKED)
    done = sweep(
        own_ranks_of,
        range(cfg.n_layers),
        model,
        view["embedding"],
        RANKED,
        view["seed"],
        show=lambda done: show(shares(done)),
        estimate=operation_seconds(model, each * cfg.n_layers * cfg.n_heads),
    ).done
    return shares(done) if done else None


def _columns(k: int) -> dict[str, Any]:
    show = partial(st.column_config.NumberColumn, format="%.3f")
    return {
        "head": st.column_config.TextColumn(help="layer.head, both from 0. Click a row to select it.", width=70),
        "full": show(help=words.DEFINITIONS["full"]),
        "residual": show(help=words.DEFINITIONS["residual"]),
        "positive share": show(help="Share of Σ|λ| of the chosen circuit with positive real part; .5 by chance."),
        "largest |λ|": show(help="Of the chosen circuit. Scales differ between heads; the score does not see them."),
        "null low": show(help="2.5th percentile of the head's own random rotations."),
        "null high": show(help="97.5th percentile."),
        "rotations": st.column_config.NumberColumn(help="Random rotations of this head that its null rests on."),
        "outside null": st.column_config.CheckboxColumn(help="Outside these two: expected of 5% of heads by chance."),
        "by weights": st.column_config.TextColumn(help=RULE, width=80),
        "on text": st.column_config.NumberColumn(format="%.4f", help=told.TEXT),
        "text logit": st.column_config.NumberColumn(format="%.4f", help=told.TEXT_LOGIT),
        "by text": st.column_config.TextColumn(help=RULE, width=80),
        "differ": st.column_config.CheckboxColumn(help=DIFFER),
        "in top k": show(label=f"in top {k}", help=words.TOP.format(k)),
        "rank": st.column_config.NumberColumn(help="1 is the largest score of the chosen circuit."),
    }
