"""Copying by weights against copying on data, in words. No Streamlit."""

from typing import Any, NamedTuple

import numpy as np

from lens.analysis.copying_verdicts import agreed, as_much_on_control, strongest
from lens.figures.theme import number
from lens.ui.shared.agreement_words import correlation

DOES = {1: "raises", 0: "not shown", -1: "lowers"}
WRITES = {1: "copies", 0: "is not seen to copy", -1: "writes the opposite"}
TEXT = (
    "Of all that the head raises among the different tokens of a text by its direct path, the share on those it "
    "attends to, minus the same for tokens that it attends to at other queries."
)
TEXT_LOGIT = (
    "How far the head's direct path moves the logit of the tokens it attends to, minus the same for tokens that it "
    "attends to at other queries. Logits."
)
ALONE = "raised as much on the control, where nothing repeats: it copies what it looks at, and looks there anyway"


class OnData(NamedTuple):
    """What every head writes on data, and what that can carry."""

    scores: Any  # CopyingScores
    side: Any  # Side of the logit: sign, idle, few
    differ: np.ndarray  # bool: data show what the weights do not say

    def named(self, head: tuple[int, int]) -> str:
        """The verdict about one head in a word or two."""
        return "idle" if self.side.idle[head] else DOES[int(self.side.sign[head])]


def repeats_words(weights: np.ndarray, null: Any, on: OnData, head: tuple[int, int], agreement: Any) -> str:
    """What the head that raises its target most, and the one that is shown, do on repeats, beside their weights."""
    rank, logit = on.scores["target_rank"], on.scores["target_logit"]
    among = f"among {round(2 * rank.uniform) + 1} tokens"

    def told(cell: tuple[int, int]) -> str:
        """One head's numbers, and what they carry."""
        where = f"rank {number(float(rank.score.mean[cell]))} {among}"
        control, weight = number(float(rank.null_mean[cell])), number(float(weights[cell]))
        direct = f"{number(float(logit.score.mean[cell]))}, {more_than_control(logit.effect, cell)}"
        return (
            f"{name(cell)} puts the induction target at {where} (control {control}), direct logit {direct}; copying "
            f"score by weights {weight}. {verdict(weights, null, on, cell, 'the induction target')}"
        )

    best = strongest(logit.effect.mean)
    text = f"On repeats, {told(best)} "
    if head != best:
        text += f"Head {told(head)} "
    return f"{text}{on.side.few and f'No verdict: {on.side.few}. '}{correlation(agreement, COMPARED['repeats'])}"


def text_words(weights: np.ndarray, null: Any, on: OnData, head: tuple[int, int], agreement: Any) -> str:
    """What the head that is shown does on text, whether its weights say so, and how often the two differ."""
    best = strongest(on.scores["text_logit"].effect.mean)
    text = f"On text, {_told(on, weights, head)}. {verdict(weights, null, on, head, WHAT_TEXT)} "
    if head != best:
        text += (
            f"Farthest above its control, {_told(on, weights, best)}. {verdict(weights, null, on, best, WHAT_TEXT)} "
        )
    return f"{text}{disagreements(null, on)} {correlation(agreement, COMPARED['text'])}"


WHAT_TEXT = "what it attends to"
COMPARED = {
    "repeats": "copying scores by weights and logits gained on repeats",
    "text": "copying scores by weights and logits gained on text",
}


def name(head: tuple[int, int]) -> str:
    """layer.head"""
    return f"{head[0]}.{head[1]}"


def _told(on: OnData, weights: np.ndarray, cell: tuple[int, int]) -> str:
    share, logit = on.scores["text_share"], on.scores["text_logit"]
    mean, control = (number(float(values[cell])) for values in (share.score.mean, share.null_mean))
    return (
        f"{name(cell)} puts {mean} of what it raises on the tokens it attends to (control {control}; their logit "
        f"{more_than_control(logit.effect, cell)}), copying score by weights {number(float(weights[cell]))}"
    )


def more_than_control(effect: Any, cell: tuple[int, int]) -> str:
    """The effect of one head with its interval."""
    ends = "" if effect.low is None else f" [{number(float(effect.low[cell]))}, {number(float(effect.high[cell]))}]"
    return f"{number(float(effect.mean[cell]))}{ends} more than its control"


def verdict(weights: np.ndarray, null: Any, on: OnData, head: tuple[int, int], what: str) -> str:
    """Whether weights and data differ about one head, in a sentence; "" where too few samples were read.

    ``what`` the head is seen to raise, or not. A head that copies by its weights and shows nothing here is no
    contradiction: it may not look there, or look there anyway.
    """
    if on.side.few:
        return ""
    if on.side.idle[head]:
        return "It is idle here: what it writes changes no prediction."
    sign, weight = int(on.side.sign[head]), number(float(weights[head]))
    if sign and on.differ[head]:
        return (
            f"Weights and data differ about it: it {DOES[sign]} {what} more than rotations of all heads would, which "
            f"its copying score, {weight}, does not say."
        )
    by_weights = None if null is None else int(null.side.sign[head])
    said = "" if by_weights is None else f"; by its weights it {WRITES[by_weights]}"
    if sign:
        return f"It {DOES[sign]} {what} more than rotations of all heads would{said}."
    told = f"It is not seen to raise or to lower {what} more than its control and than rotations of all heads{said}"
    on_repeats = by_weights and "target_logit" in on.scores.scores
    if on_repeats and as_much_on_control(on.scores["target_logit"], head, by_weights):
        return f"{told}. The target is {ALONE if by_weights > 0 else ALONE.replace('raised', 'lowered')}."
    return f"{told}{', which is no contradiction: it may not look there' if by_weights else ''}."


def disagreements(null: Any, on: OnData) -> str:
    """How many heads copy by their weights, on text, and both."""
    if on.side.few:
        return f"No verdict on text: {on.side.few}."
    if null is None:
        return "The null of the weights is not computed, so the two are not compared."
    found = agreed(null.side, on.side, on.differ)
    return (
        f"Of {found.n} heads, {found.weights} copy by their weights and {found.data} on text, {found.both} by both; "
        f"{found.idle} are idle. About {found.differ}, text shows what the weights do not say."
    )
