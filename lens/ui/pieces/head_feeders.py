"""Fourth link: the earlier heads that write what this head reads, with their own previous-token scores beside them."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.feeders import DEFINITION, MODES, feeders
from lens.figures.theme import number
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.pieces.head import Data, Finding
from lens.ui.view import ViewState

MOST = 4  # feeders of each mode


def show(view: ViewState, model: Any, head: tuple[int, int], data: Data) -> Finding:
    """The strongest feeders of queries, keys and values."""
    found = analyse(feeders, model, head)
    if not found.scores:
        parts.not_computed(f"{found.missing['V']}.")
        return Finding("layer 0 has no feeders", "none")
    previous = data.sample.scores["previous"]
    rows = strongest(found, previous.score.mean)
    help = parts.metric_help(DEFINITION, "share", f"{number(found.chance)} (1/√d_model, exact)")
    config = {
        "by": st.column_config.TextColumn(help=f"Q: {MODES['Q']}; K: {MODES['K']}; V: {MODES['V']}.", width=50),
        "composition": st.column_config.NumberColumn(format="%.3f", help=help),
        "× chance": st.column_config.NumberColumn(format="%.1f", help="Over 1/√d_model."),
        "z": st.column_config.NumberColumn(format="%.1f", help="Among the heads of the feeder's layer."),
        "previous token": st.column_config.NumberColumn(
            format="%.3f", help="The feeder's own previous-token score on random tokens."
        ),
    }
    alt = f"Heads that feed head {head[0]}.{head[1]} most, by composition"
    st.dataframe(rows, hide_index=True, height="content", column_config=config, alt=alt)
    for mode, reason in found.missing.items():
        st.caption(f"{mode}: not computed because {reason}.")
    best = rows.loc[rows["composition"].idxmax()] if "K" not in found.scores else rows[rows["by"] == "K"].iloc[0]
    times = f"{best['× chance']:.1f}"
    told = (
        f"By {best['by']}, head {best['feeder']} feeds it most: {number(best['composition'])}, {times} times chance; "
        f"that head's own previous-token score is {number(best['previous token'])}. "
        f"{_previous_words(rows, previous.threshold)} {found.note}"
    )
    st.html(f'<p class="lens-told">{told}</p>')
    row = {"feeders": rows.to_dict("records")}
    return Finding(f"most by {best['feeder']} ({best['by']}, {times} × chance)", "", row)


def _previous_words(rows: pd.DataFrame, threshold: float) -> str:
    """Which of the feeders by K attend to the token before: what an induction head's keys need."""
    if "K" not in set(rows["by"]):
        return ""
    keys = rows[(rows["by"] == "K") & (rows["previous token"] > threshold)]
    named = ", ".join(f"{row['feeder']} ({number(row['previous token'])})" for row in keys.to_dict("records"))
    if not named:
        return f"None of those that feed its keys most is a previous-token head (above {number(threshold)})."
    return f"Of those that feed its keys most, previous-token heads (above {number(threshold)}) are {named}."


def strongest(found: Any, previous: np.ndarray) -> pd.DataFrame:
    """The ``MOST`` strongest feeders of each mode, with both baselines."""
    rows = []
    for mode, score in found.scores.items():
        spread = score.std(1, keepdims=True, ddof=1) if score.shape[1] > 2 else np.full((len(score), 1), np.nan)
        z = (score - score.mean(1, keepdims=True)) / np.where(spread > 0, spread, np.nan)
        for flat in np.argsort(-score, axis=None)[:MOST]:
            cell = tuple(map(int, np.unravel_index(flat, score.shape)))
            rows.append(
                {
                    "by": mode,
                    "feeder": f"{cell[0]}.{cell[1]}",
                    "composition": float(score[cell]),
                    "× chance": float(score[cell]) / found.chance,
                    "z": float(z[cell]),
                    "previous token": float(previous[cell]),
                }
            )
    return pd.DataFrame(rows)
