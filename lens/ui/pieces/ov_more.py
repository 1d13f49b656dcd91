"""Below the grid of OV copying: full against residual, copying on data beside the weights, the table."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.copying_on_data import copying_on_data
from lens.figures.measure import Measure
from lens.figures.scatter import scatter
from lens.figures.theme import number
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.pieces import ov_words as words
from lens.ui.pieces import repeats
from lens.ui.pieces.head_scores_more import pin_row
from lens.ui.pieces.ov_copying import Copying
from lens.ui.store import to_torch
from lens.ui.view import ViewState

TABLE_HEIGHT = 380  # pixels
DATA_WORDS = {
    "target_rank": "Rank of the induction target",
    "target_logit": "Logit of the induction target",
    "attended_share": "Share of the attended token",
}


def show_scatter(view: ViewState, found: Copying, null: Any) -> None:
    """The two circuits of every head against each other."""
    full, residual = found.scores.full.score, found.scores.residual.score
    x = Measure("residual copying", words.DEFINITIONS["residual"], residual, signed=True)
    y = Measure("full copying", words.DEFINITIONS["full"], full, signed=True)
    told = words.scatter_words(full, residual)
    figure = scatter(x, y, pinned=view["pins"], title="Full against residual OV copying")
    parts.head_grid(figure, view, key="ov:scatter", alt=told)
    parts.notice(told)


def data_scores(view: ViewState, model: Any) -> Any:
    """Direct paths of all heads on the random tokens that the view names."""
    sample = repeats.sample(model, repeats.settings(view, model))
    return analyse(copying_on_data, model, to_torch(sample.repeated), progress=True)


def show_data(view: ViewState, model: Any, found: Copying, head: tuple[int, int]) -> None:
    """The weights' verdict against what the head writes on repeats."""
    scores = data_scores(view, model)
    rank = scores["target_rank"]
    left, right = st.columns([1.4, 1], gap="medium")
    with left:
        gain = -rank.effect.mean  # ranks it rises by, against the control
        y = Measure("ranks gained on repeats", f"Control minus repeat of: {rank.kind.definition}", gain, signed=True)
        x = words.measure(found.shown.score, None, found.circuit)
        figure = scatter(x, y, pinned=[head, *view["pins"]], title="Copying: weights against data")
        told = data_words(found.shown.score, scores, head)
        parts.head_grid(figure, view, key="ov:data", alt=told)
    with right:
        for name, title in DATA_WORDS.items():
            _metric(scores[name], title, head)
    parts.notice(told)
    parts.aside("Against chance", f"{scores.source}. {rank.score.note[:1].upper()}{rank.score.note[1:]}.")
    parts.misreading(
        "A large direct logit on repeats need not come from copying the token that is attended to: the token before it "
        "may have been moved there by an earlier head. And a head that copies by its weights but looks elsewhere shows "
        "nothing here."
    )


def _metric(score: Any, title: str, head: tuple[int, int]) -> None:
    control, mean = float(score.null_mean[head]), float(score.score.mean[head])
    null = f"{number(score.uniform)}; on the control of the same sequences {number(control)}"
    help = parts.metric_help(score.kind.definition, score.kind.unit, null)
    ends = "" if score.score.low is None else f" [{number(score.score.low[head])}, {number(score.score.high[head])}]"
    st.metric(f"{title}, head {head[0]}.{head[1]}", f"{number(mean)}{ends}", help=help)
    st.caption(f"control {number(control)}, difference {number(float(score.effect.mean[head]))}")


def data_words(weights: np.ndarray, scores: Any, head: tuple[int, int]) -> str:
    """Where weights and data agree, and where they do not."""
    rank, logit = scores["target_rank"], scores["target_logit"]
    gain = -rank.effect.mean
    best = tuple(map(int, np.unravel_index(int(gain.argmax()), gain.shape)))
    among = f"among {round(2 * rank.uniform) + 1} tokens"

    def told(cell: tuple[int, int]) -> str:
        """One head's numbers."""
        name, logits = f"{cell[0]}.{cell[1]}", number(float(logit.score.mean[cell]))
        where = f"rank {number(float(rank.score.mean[cell]))} {among}"
        control, by_weights = number(float(rank.null_mean[cell])), number(float(weights[cell]))
        return (
            f"{name} puts the induction target at {where} (control {control}), direct logit {logits}, copying score by "
            f"weights {by_weights}"
        )

    text = f"On repeats, {told(best)}. "
    if weights[best] < 0.1:
        text += "Weights and data disagree about it: its eigenvalues do not say that it copies. "
    if head != best:
        text += f"Head {told(head)}. "
        if weights[head] > 0.3 and gain[head] < 1:
            text += "It would copy, but on these tokens it does not look at the target. "
    finite = np.isfinite(weights)
    r = float(pd.Series(weights[finite]).rank().corr(pd.Series(gain[finite]).rank()))
    return f"{text}Over all heads the rank correlation of the two is {number(r)}."


def show_table(view: ViewState, found: Copying, null: Any) -> None:
    """All heads; a click on a row pins its head."""
    rows = words.table(found.scores, null, found.circuit)
    show = partial(st.column_config.NumberColumn, format="%.3f")
    config = {
        "head": st.column_config.TextColumn(help="layer.head, both from 0. Click a row to pin it.", width=70),
        "full": show(help=words.DEFINITIONS["full"]),
        "residual": show(help=words.DEFINITIONS["residual"]),
        "positive share": show(help="Share of Σ|λ| of the chosen circuit with positive real part; .5 by chance."),
        "largest |λ|": show(help="Of the chosen circuit. Scales differ between heads; the score does not see them."),
        "null low": show(help="2.5th percentile of the head's own random rotations."),
        "null high": show(help="97.5th percentile."),
        "outside null": st.column_config.CheckboxColumn(help="Outside these two: expected of 5% of heads by chance."),
        "rank": st.column_config.NumberColumn(help="1 is the largest score of the chosen circuit."),
    }
    st.dataframe(
        rows,
        hide_index=True,
        height=TABLE_HEIGHT,
        column_config=config,
        key="ov:table",
        on_select=partial(pin_row, view, "ov:table", rows),
        selection_mode="single-row",
        alt=f"All {len(rows)} heads by their {found.circuit} OV copying score, largest first; sortable",
    )
