"""What one head would match, by its query and key weights, and the strongest directions of its two matrices."""

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.head_weights import why_not_bilinear
from lens.analysis.largest_head import largest_head
from lens.analysis.names import Head
from lens.analysis.previous_from_weights import DEFINITION as PREVIOUS
from lens.analysis.previous_from_weights import NULL as PREVIOUS_NULL
from lens.analysis.previous_from_weights import PreviousToken, previous_from_weights
from lens.analysis.qk_circuit import EIGENVALUES, SAME_TOKEN, QKCircuits, qk_circuits, top_pairs
from lens.analysis.rotation_test import beyond_rotations
from lens.analysis.svd_view import directions, half_of_squares
from lens.figures.measure import Measure
from lens.figures.theme import number as written
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse, call_key, is_kept
from lens.ui.explanation import Explanation, explain
from lens.ui.labels import token_labels
from lens.ui.pages.ov_copying.grid import Copying
from lens.ui.pages.ov_copying.words import MATCH_MISREADING
from lens.ui.shared.copying_words import Null
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


def show_match(view: ViewState, model: HookedTransformer, copying: Copying, null: Null | None, head: Head) -> None:
    """Same-token and previous-token preference from weights, and the pairs of tokens that score highest."""
    reason, cfg, distance = why_not_bilinear(model.cfg), model.cfg, 0
    if reason is not None:
        parts.not_computed(f"{reason}.")
        return
    if cfg.positions == "rotary":
        distance = int(number(view, "distance", (0, cfg.n_ctx - 1), "Distance", DISTANCE_HELP, width=130))
    same = analyse(qk_circuits, model, view["embedding"], distance, progress=True)
    before = analyse(previous_from_weights, model, seed=view["seed"], progress=True)
    spread = abs(float(same.same_token[head]) / z) if (z := float(same.same_z[head])) else 0.0
    rotations = f"0 ± {written(spread)} for a random rotation between its queries and its keys"
    chance = f"{written(float(before.null[head]))} ({PREVIOUS_NULL})"
    with st.container(horizontal=True):
        _metric("Same token", same.same_token, head, "standard deviations", SAME_TOKEN, rotations)
        _metric("QK eigenvalue score", same.score, head, "−1 … 1", EIGENVALUES, "about 0")
        _metric("Previous token", before.score, head, "probability", PREVIOUS, chance)
    left_out = LEFT_OUT[cfg.positions] if distance == 0 else ""
    explain(view, model, Explanation(_match_words(same, before, head, left_out), MATCH_MISREADING))
    _show_pairs(view, model, head, distance)


def _metric(title: str, values: np.ndarray, head: Head, unit: str, definition: str, null: str) -> None:
    rank = int(Measure(title, "", values).ranks()[head])
    help = parts.metric_help(definition, unit, null)
    st.metric(f"{title}, {head}", f"{written(float(values[head]))} · {rank} of {values.size}", help=help)


def _match_words(same: QKCircuits, before: PreviousToken, head: Head, left_out: str) -> str:
    matches, previous = largest_head(same.same_token), largest_head(before.score)
    beyond = analyse(beyond_rotations, to_torch(same.same_z))[matches] > 0  # what rotations of all heads give
    tail = f"{left_out} left out of the first; " if left_out else ""
    return (
        f"By weights, {matches} matches equal tokens most ({written(float(same.same_token[matches]))} standard "
        f"deviations, {'more' if beyond else 'no more'} than the best of all heads would by random rotations between "
        f"queries and keys), and {previous} the token before ({written(float(before.score[previous]))}; its null "
        f"{written(float(before.null[previous]))}). Head {head}: {written(float(same.same_token[head]))} and "
        f"{written(float(before.score[head]))}. These are of lone embeddings ({tail}n = {before.n_tokens} tokens at "
        f"{before.n_pos} positions for the second): what earlier layers write is not in them."
    )


def _show_pairs(view: ViewState, model: HookedTransformer, head: Head, distance: int) -> None:
    """The highest of all pairs of tokens; a search through billions waits for a click."""
    what = (model, head, PAIRS, view["embedding"], distance)
    key = f"pairs-{call_key(top_pairs, what, {})}"
    if model.cfg.d_vocab**2 > SLOW and key not in remembered(AGREED) and not is_kept(top_pairs, *what):
        n = model.cfg.d_vocab**2 / 1e9
        offer(key, f"The highest of {n:.1f} billion query–key pairs are not searched yet.", "Search, about 20 s")
        return
    pairs = analyse(top_pairs, *what, progress=True)
    ends = {name: token_labels(model, ids) for name, ids in (("query", pairs.row), ("key", pairs.column))}
    help = "Attention score before the softmax, minus the mean of the query over all keys; nats."
    columns = {"score": st.column_config.NumberColumn(format="%.1f", help=help)}
    alt = f"Query and key tokens that head {head} matches most"
    parts.table(pd.DataFrame(ends | {"score": pairs.value}), alt, columns, 300)
    equal = int((pairs.row == pairs.column).sum())
    st.caption(f"The {len(pairs.row)} highest pairs of the whole vocabulary; {equal} of them are a token with itself.")


def show_directions(view: ViewState, model: HookedTransformer, copying: Copying, null: Null | None, head: Head) -> None:
    """Singular values of OV or QK, and the tokens at both ends of the strongest directions."""
    help = "**OV:** what is read, and what is written for it. **QK:** what asks, and what answers."
    side = segmented(view, "side", ("OV", "QK"), "Matrix", help)
    svd = analyse(directions, model, head, side, DIRECTIONS, TOKENS, view["weights"] == "folded")
    n, names = len(svd.singular), {"OV": ("reads", "writes"), "QK": ("query", "key")}[side]
    drawn = range(min(DIRECTIONS, n))
    numbers = {"direction": range(n), "singular value": svd.singular, "share so far": svd.share}
    rows = {name: list(values[: len(drawn)]) for name, values in numbers.items()}
    for name, ends in zip(names, (svd.left, svd.right)):
        for sign, ids in (("+", ends.high), ("−", ends.low)):
            rows[f"{name} {sign}"] = [" ".join(token_labels(model, ids[i])) for i in drawn]
    value = partial(st.column_config.NumberColumn, format="%.2f")
    columns = {
        "singular value": value(help="Of the matrix, from large to small."),
        "share so far": value(help="Of the sum of all squared singular values."),
    }
    alt = f"Strongest directions of the {side} matrix of head {head} with their tokens"
    parts.table(pd.DataFrame(rows), alt, columns)
    text = (
        f"{half_of_squares(svd.share)} of {n} directions hold half of head {head}'s {side} matrix; the first holds "
        f"{written(float(svd.share[0]))}, 1/{n} if all were alike. + and − are the two ends of a direction: what is "
        "read at one end is written at the end with the same sign."
    )
    explain(view, model, Explanation(text, DIRECTIONS_MISREADING))
