"""Below the grid of OV copying: full against residual, and the table of all heads."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.head_vocabulary import own_ranks_of
from lens.figures.measure import Measure
from lens.figures.scatter import scatter
from lens.ui import parts
from lens.ui.calls import sweep
from lens.ui.estimate import operation_seconds
from lens.ui.pieces import ov_data
from lens.ui.pieces import ov_data_words as told
from lens.ui.pieces import ov_words as words
from lens.ui.pieces.head_scores_more import select_row
from lens.ui.pieces.ov_copying import Copying
from lens.ui.view import ViewState
from lens.ui.widgets import number

TABLE_HEIGHT = 380  # pixels
RANKED = 64  # tokens whose ranks are computed for every head
TOP = 1000  # the largest k
TOP_HELP = (
    "For the last column: is the logit of the token itself among the k that the head would raise most by attending to "
    "it? Over the whole vocabulary, for tokens drawn at random."
)


def show_scatter(view: ViewState, found: Copying, null: Any) -> None:
    """The two circuits of every head against each other."""
    full, residual = found.scores.full.score, found.scores.residual.score
    x = Measure("residual copying", words.DEFINITIONS["residual"], residual, signed=True)
    y = Measure("full copying", words.DEFINITIONS["full"], full, signed=True)
    sentence = words.scatter_words(full, residual)
    figure = scatter(x, y, pinned=view["pins"], current=view.current(), title="Full against residual OV copying")
    parts.head_grid(figure, view, key="ov:scatter", alt=sentence)
    parts.notice(sentence)


def show_table(view: ViewState, model: Any, found: Copying, null: Any) -> None:
    """All heads, with what they do on text and in their own rows beside the score; a click on a row selects it."""
    k = int(number(view, "topk", (1, min(TOP, model.cfg.d_vocab)), "Top k", TOP_HELP, width=130))
    place, extra = st.empty(), {}

    def draw(**more: Any) -> pd.DataFrame:
        extra.update({name: value for name, value in more.items() if value is not None})
        return words.table(found.scores, null, found.circuit, **extra)

    def show(**more: Any) -> None:
        place.dataframe(draw(**more), hide_index=True, height=TABLE_HEIGHT, column_config=_columns(k))

    show()
    scores = None
    if model.tokenizer is not None:
        scores = ov_data.text_scores(view, model, lambda scores: show(text=scores))
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
    else:
        parts.notice(told.disagreements(found.shown.score, null, scores["text_share"].effect))
        parts.aside("On text", f"{scores.source}. {told.DISAGREE}")
    if top is not None:
        parts.notice(words.top_words(top, k, model.cfg.d_vocab))


def top_shares(view: ViewState, model: Any, k: int, show: Any) -> words.Top | None:
    """Top-k copying accuracy of every head, layer by layer; None if none is computed. ``show(Top)`` while it fills."""
    cfg = model.cfg

    def shares(done: dict) -> words.Top:
        mean = np.full((cfg.n_layers, cfg.n_heads), np.nan, np.float32)
        for layer, ranks in done.items():
            mean[layer] = (ranks.rank < k).mean(1)
        one = next(iter(done.values()))
        return words.Top(mean, len(one.ids), one.seed, one.description)

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
        "outside null": st.column_config.CheckboxColumn(help="Outside these two: expected of 5% of heads by chance."),
        "on text": st.column_config.NumberColumn(format="%.4f", help=told.TEXT),
        "disagree": st.column_config.CheckboxColumn(help=told.DISAGREE),
        "in top k": show(label=f"in top {k}", help=words.TOP.format(k)),
        "rank": st.column_config.NumberColumn(help="1 is the largest score of the chosen circuit."),
    }
