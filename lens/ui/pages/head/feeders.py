"""Fourth link: the earlier heads that write what this head reads, with their own previous-token scores beside them."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.composition import DEFINITION, READS, composition
from lens.analysis.head_weights import why_not_bilinear
from lens.figures.theme import number
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.pages.composition.words import feeders
from lens.ui.pages.head.chain import Data, Finding
from lens.ui.shared import score_words as scores
from lens.ui.view import ViewState

MOST = 4  # feeders of each mode


def show(view: ViewState, model: Any, head: tuple[int, int], data: Data) -> Finding:
    """The strongest feeders of queries, keys and values."""
    if head[0] == 0:
        parts.not_computed("no head is in an earlier layer than layer 0.")
        return Finding("layer 0 has no feeders", "none")
    found = by_mode(model, data.sample.settings.n)
    previous = data.sample.scores["previous"]
    rows = strongest(found, head, previous.score.mean)
    help = parts.metric_help(
        f"{DEFINITION.format('X', 'X')} X: QK for Q, its transpose for K, OV for V.",
        "share",
        f"{number(found['V'].null)} (1/√d_model, exact)",
    )
    config = {
        "by": st.column_config.TextColumn(help=f"Q: {READS['Q']}; K: {READS['K']}; V: {READS['V']}.", width=50),
        "composition": st.column_config.NumberColumn(format="%.3f", help=help),
        "× chance": st.column_config.NumberColumn(format="%.1f", help="Over 1/√d_model."),
        "z": st.column_config.NumberColumn(format="%.1f", help="Among the heads of the feeder's layer."),
        "previous token": st.column_config.NumberColumn(
            format="%.3f", help="The feeder's own previous-token score on random tokens."
        ),
    }
    alt = f"Heads that feed head {head[0]}.{head[1]} most, by composition"
    st.dataframe(rows, hide_index=True, height="content", column_config=config, alt=alt)
    if "K" not in found:
        st.caption(f"Q and K: not computed because {why_not_bilinear(model.cfg)}.")
    best = rows.loc[rows["composition"].idxmax()] if "K" not in found else rows[rows["by"] == "K"].iloc[0]
    times, pairs = f"{best['× chance']:.1f}", found[best["by"]]
    feeder = tuple(map(int, best["feeder"].split(".")))
    beyond, n = bool(pairs.beyond(head)[feeder]), int(np.isfinite(pairs.p[:, :, head[0], head[1]]).sum())
    told = (
        f"By {best['by']}, head {best['feeder']} feeds it most: {number(best['composition'])}, {times} times chance, "
        f"{'more' if beyond else 'no more'} than the best of {n} earlier heads would by random rotations; "
        f"that head's own previous-token score is {number(best['previous token'])}. "
        f"{_previous_words(rows, previous)} {_turn_words(found)}"
    )
    st.html(f'<p class="lens-told">{told}</p>')
    row = {"feeders": rows.to_dict("records"), "by": best["by"], "beyond chance": beyond}
    if not beyond:
        return Finding(f"by no head beyond chance ({best['by']})", "none", row)
    return Finding(f"most by {best['feeder']} ({best['by']}, {times} × chance)", "found", row)


def _previous_words(rows: pd.DataFrame, previous: Any) -> str:
    """Which of the feeders by K attend to the token before: what an induction head's keys need."""
    if "K" not in set(rows["by"]):
        return ""
    if not scores.has_verdict(previous):
        return f"Which of them are previous-token heads cannot be said. {scores.no_verdict(previous)}"
    line = f"above {number(previous.threshold)}"
    keys = [row for row in rows.to_dict("records") if row["by"] == "K" and previous.above[_cell(row["feeder"])]]
    if not keys:
        return f"None of those that feed its keys most is a previous-token head ({line})."
    named = ", ".join(f"{row['feeder']} ({number(row['previous token'])})" for row in keys)
    return f"Of those that feed its keys most, previous-token heads ({line}) are {named}."


def _cell(name: str) -> tuple[int, int]:
    layer, head = name.split(".")
    return int(layer), int(head)


def by_mode(model: Any, n: int) -> dict[str, Any]:
    """Composition of all pairs, as the page of that name shows it first: keys n − 1 tokens back, as on repeats of n."""
    rotary = model.cfg.positions == "rotary"
    offset = min(n - 1, model.cfg.n_ctx - 1) if rotary else 0
    modes = READS if why_not_bilinear(model.cfg) is None else ("V",)
    asked = {mode: (mode, 0 if mode == "V" else offset, "folded") for mode in modes}
    return {mode: analyse(composition, model, *args, progress=True) for mode, args in asked.items()}


def _turn_words(found: dict[str, Any]) -> str:
    offset = found["K"].offset if "K" in found else None
    return "" if offset is None else f"For Q and K, the key stands δ = {offset} tokens before its query."


def strongest(found: dict[str, Any], head: tuple[int, int], previous: np.ndarray) -> pd.DataFrame:
    """The ``MOST`` strongest feeders of each mode, with both baselines."""
    rows = []
    for mode, pairs in found.items():
        for cell in feeders(pairs, head)[:MOST]:
            score = float(pairs.scores[*cell, *head])
            rows.append(
                {
                    "by": mode,
                    "feeder": f"{cell[0]}.{cell[1]}",
                    "composition": score,
                    "× chance": score / pairs.null,
                    "z": float(pairs.z[*cell, *head]),
                    "previous token": float(previous[cell]),
                }
            )
    return pd.DataFrame(rows)
