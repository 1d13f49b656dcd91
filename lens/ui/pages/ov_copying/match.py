"""What one head would match, by its query and key weights, and the strongest directions of its two matrices."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.head_weights import why_not_bilinear
from lens.analysis.names import Head
from lens.analysis.previous_from_weights import DEFINITION as PREVIOUS
from lens.analysis.previous_from_weights import NULL as PREVIOUS_NULL
from lens.analysis.previous_from_weights import previous_from_weights
from lens.analysis.qk_circuit import EIGENVALUES, SAME_TOKEN, qk_circuits, top_pairs
from lens.analysis.rotation_test import beyond_rotations
from lens.analysis.svd_view import directions, half_of_squares
from lens.figures.measure import Measure
from lens.figures.theme import number as said
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation, explain
from lens.ui.labels import token_labels
from lens.ui.pages.ov_copying.read import Copying
from lens.ui.pages.ov_copying.words import MATCH_MISREADING
from lens.ui.shared import heads
from lens.ui.store import to_torch
from lens.ui.view import ViewState
from lens.ui.waiting import AGREED, offer, remembered
from lens.ui.widgets import number, segmented

PAIRS = 20
SLOW = 2e9  # pairs of tokens above which the search waits for a click
DIRECTIONS, TOKENS = 8, 6
DISTANCE_HELP = (
    "How many tokens the key stands before the query. Rotary positions turn queries by it; 0 leaves the rotation out, "
    "as if both stood at the same place. Without rotary positions it changes nothing."
)

DIRECTIONS_MISREADING = (
    "The tokens are those whose embeddings reach farthest along a direction. That names the direction; it does not "
    "say that these tokens are all it is for: earlier layers write into the same directions."
)
LEFT_OUT = {  # of the same-token score, which knows tokens only
    "learned": "W_pos is",
    "shortformer": "W_pos is",
    "rotary": "the rotation is",
    "alibi": "this model has no W_pos, and its bias by distance is",
}


def show_match(view: ViewState, model: Any, found: Copying, null: Any, head: Head) -> None:
    """Same-token and previous-token preference from weights, and the pairs of tokens that score highest."""
    reason = why_not_bilinear(model.cfg)
    if reason is not None:
        parts.not_computed(f"{reason}.")
        return
    rotary = model.cfg.positions == "rotary"
    distance = 0
    if rotary:
        distance = int(number(view, "distance", (0, model.cfg.n_ctx - 1), "Distance", DISTANCE_HELP, width=130))
    same = analyse(qk_circuits, model, view["embedding"], distance, progress=True)
    before = analyse(previous_from_weights, model, seed=view["seed"], progress=True)
    with st.container(horizontal=True):
        spread = abs(float(same.same_token[head]) / z) if (z := float(same.same_z[head])) else 0.0
        rotations = f"0 ± {said(spread)} for a random rotation between its queries and its keys"
        _metric("Same token", same.same_token, head, "standard deviations", SAME_TOKEN, rotations)
        _metric("QK eigenvalue score", same.score, head, "−1 … 1", EIGENVALUES, "about 0")
        chance = f"{said(float(before.null[head]))} ({PREVIOUS_NULL})"
        _metric("Previous token", before.score, head, "probability", PREVIOUS, chance)
    left_out = LEFT_OUT[model.cfg.positions] if distance == 0 else ""
    beyond = analyse(beyond_rotations, to_torch(same.same_z))
    explain(view, model, Explanation(_match_words(same, beyond, before, head, left_out), MATCH_MISREADING))
    _pairs(view, model, head, distance)


def _metric(title: str, values: np.ndarray, head: Head, unit: str, definition: str, null: str) -> None:
    rank = int(Measure(title, "", values).ranks()[head])
    help = parts.metric_help(definition, unit, null)
    st.metric(f"{title}, {head[0]}.{head[1]}", f"{said(float(values[head]))} · {rank} of {values.size}", help=help)


def _match_words(same: Any, sign: np.ndarray, before: Any, head: Head, left_out: str) -> str:
    """``sign``: 1 where the same-token score is beyond what rotations of all heads give."""
    best = [heads.strongest(values) for values in (same.same_token, before.score)]
    text = f"By weights, {best[0]} matches equal tokens most "
    chance = "more" if sign[best[0]] > 0 else "no more"
    text += f"({said(float(same.same_token[best[0]]))} standard deviations, {chance} than the best of all heads would "
    text += f"by random rotations between queries and keys), and {best[1]} the token "
    text += f"before ({said(float(before.score[best[1]]))}; its null {said(float(before.null[best[1]]))}). "
    text += f"Head {head[0]}.{head[1]}: {said(float(same.same_token[head]))} and {said(float(before.score[head]))}."
    tail = f"{left_out} left out of the first; " if left_out else ""
    where = f"n = {before.n_tokens} tokens at {before.n_pos} positions for the second"
    return f"{text} These are of lone embeddings ({tail}{where}): what earlier layers write is not in them."


def _pairs(view: ViewState, model: Any, head: Head, distance: int) -> None:
    """The highest of all pairs of tokens; a search through billions waits for a click."""
    key = f"pairs-{view['model']}-{head}-{distance}-{view['embedding']}"
    if model.cfg.d_vocab**2 > SLOW and key not in remembered(AGREED):
        n = model.cfg.d_vocab**2 / 1e9
        offer(key, f"The highest of {n:.1f} billion query–key pairs are not searched yet.", "Search, about 20 s")
        return
    found = analyse(top_pairs, model, head, PAIRS, view["embedding"], distance, progress=True)
    frame = pd.DataFrame(
        {"query": token_labels(model, found.row), "key": token_labels(model, found.column), "score": found.value}
    )
    help = "Attention score before the softmax, minus the mean of the query over all keys; nats."
    config = {"score": st.column_config.NumberColumn(format="%.1f", help=help)}
    st.dataframe(
        frame, hide_index=True, height=300, column_config=config,
        alt=f"Query and key tokens that head {head[0]}.{head[1]} matches most",
    )  # fmt: skip
    equal = int((found.row == found.column).sum())
    st.caption(f"The {len(frame)} highest pairs of the whole vocabulary; {equal} of them are a token with itself.")


def show_directions(view: ViewState, model: Any, found: Copying, null: Any, head: Head) -> None:
    """Singular values of OV or QK, and the tokens at both ends of the strongest directions."""
    help = "**OV:** what is read, and what is written for it. **QK:** what asks, and what answers."
    side = segmented(view, "side", ("OV", "QK"), "Matrix", help)
    folded = view["weights"] == "folded"
    kept = analyse(directions, model, head, side, DIRECTIONS, TOKENS, folded)
    names = {"OV": ("reads", "writes"), "QK": ("query", "key")}[side]
    rows = []
    for one in range(min(DIRECTIONS, len(kept.singular))):
        row = {"direction": one, "singular value": kept.singular[one], "share so far": kept.share[one]}
        for name, ends in zip(names, (kept.left, kept.right)):
            row[f"{name} +"] = " ".join(token_labels(model, ends.high[one]))
            row[f"{name} −"] = " ".join(token_labels(model, ends.low[one]))
        rows.append(row)
    config = {
        "singular value": st.column_config.NumberColumn(format="%.2f", help="Of the matrix, from large to small."),
        "share so far": st.column_config.NumberColumn(format="%.2f", help="Of the sum of all squared singular values."),
    }
    alt = f"Strongest directions of the {side} matrix of head {head[0]}.{head[1]} with their tokens"
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=config, alt=alt)
    half = half_of_squares(kept.share)
    text = (
        f"{half} of {len(kept.singular)} directions hold half of head {head[0]}.{head[1]}'s {side} matrix; the first "
        f"holds {said(float(kept.share[0]))}, 1/{len(kept.singular)} if all were alike. + and − are the two ends of "
        "a direction: what is read at one end is written at the end with the same sign."
    )
    explain(view, model, Explanation(text, DIRECTIONS_MISREADING))
