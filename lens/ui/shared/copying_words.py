"""Whether a head copies, by its weights and on data, in words: for OV copying and for the chain."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lens.analysis.copying_on_data import CopyingScores
from lens.analysis.copying_verdicts import Side, as_much_on_control
from lens.analysis.names import Head
from lens.analysis.ov_copying import NullBand
from lens.analysis.stats import Estimate
from lens.figures.theme import number
from lens.ui.shared.wording import interval

VERDICTS = {1: "copies", 0: "not shown", -1: "opposite"}
DEFINITIONS = {
    "full": (
        "Σλ / Σ|λ| over the eigenvalues of W_E W_V W_O W_U, norms folded in, centred over the vocabulary: +1, "
        "attending to a token raises that token; −1, it lowers it."
    ),
    "residual": (
        "Σλ / Σ|λ| over the eigenvalues of W_V W_O: +1, a direction of the stream is written back with its own sign; "
        "−1, with the opposite one."
    ),
}
FORMULA = (
    r"\text{copying}_h = \frac{\sum_i \lambda_i}{\sum_i |\lambda_i|}, \quad "
    r"\lambda = \operatorname{eig}\big(W_O M W_V\big), \quad "
    r"M = W_U \big(I - \tfrac{1}{d_\text{vocab}} \mathbf{1}\mathbf{1}^\top\big) W_E"
)
WHERE = (
    "W_E W_V W_O W_U [d_vocab, d_vocab] has the same non-zero eigenvalues as W_O M W_V [d_head, d_head], so it is "
    "never formed. The gains of the norms (and LayerNorm's centring) are folded into W_V and W_U in every view; the "
    "logits are centred over the vocabulary, because a constant added to all of them changes no probability. Null: "
    "W_V R W_O with R a uniformly random rotation of d_head, which keeps what the head can read and write and loses "
    "which belongs to which. Source: Elhage et al. 2021."
)
DOES = {1: "raises", 0: "not shown", -1: "lowers"}
WRITES = {1: "copies", 0: "is not seen to copy", -1: "writes the opposite"}
ALONE = "raised as much on the control, where nothing repeats: it copies what it looks at, and looks there anyway"


class Null(NamedTuple):
    """The null of all heads, and what it says of each. Arrays [layer, head]."""

    band: NullBand | None  # None where only one head was asked for
    side: Side  # sign 1 copies, −1 writes the opposite, 0 neither is shown; idle


class OnData(NamedTuple):
    """What every head writes on data, and what that can carry."""

    scores: CopyingScores
    side: Side  # of the logit: sign, idle, few
    differ: np.ndarray  # bool: data show what the weights do not say


def side_words(side: Side, words: Mapping[int, str]) -> list[str]:
    """The verdict about every head in a word or two; ``words`` by sign."""
    return ["idle" if idle else words[int(sign)] for sign, idle in zip(side.sign.ravel(), side.idle.ravel())]


def more_than_control(effect: Estimate, head: Head) -> str:
    """The effect of one head with its interval."""
    ends = (None, None) if effect.low is None else (effect.low[head], effect.high[head])
    return f"{number(float(effect.mean[head]))}{interval(*ends)} more than its control"


def verdict(weights: np.ndarray, null: Null | None, on: OnData, head: Head, what: str) -> str:
    """Whether weights and data differ about one head, in a sentence; "" where too few samples were read.

    ``what`` the head is seen to raise, or not. A head that copies by its weights and shows nothing here is no
    contradiction: it may not look there, or look there anyway.
    """
    if on.side.few:
        return ""
    if on.side.idle[head]:
        return "It is idle here: what it writes changes no prediction."
    sign, by_weights = int(on.side.sign[head]), None if null is None else int(null.side.sign[head])
    if sign and on.differ[head]:
        return (
            f"Weights and data differ about it: it {DOES[sign]} {what} more than rotations of all heads would, which "
            f"its copying score, {number(float(weights[head]))}, does not say."
        )
    beside = "" if by_weights is None else f"; by its weights it {WRITES[by_weights]}"
    if sign:
        return f"It {DOES[sign]} {what} more than rotations of all heads would{beside}."
    text = f"It is not seen to raise or to lower {what} more than its control and than rotations of all heads{beside}"
    on_repeats = by_weights and "target_logit" in on.scores.scores
    if on_repeats and as_much_on_control(on.scores["target_logit"], head, by_weights):
        return f"{text}. The target is {ALONE if by_weights > 0 else ALONE.replace('raised', 'lowered')}."
    return f"{text}{', which is no contradiction: it may not look there' if by_weights else ''}."
