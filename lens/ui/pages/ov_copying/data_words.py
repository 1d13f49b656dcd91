"""Copying by weights against copying on data, in words. No Streamlit."""

from typing import Any

import numpy as np

from lens.analysis.copying_verdicts import agreed
from lens.analysis.names import Head
from lens.figures.theme import number
from lens.ui.shared import heads
from lens.ui.shared.agreement_words import correlation
from lens.ui.shared.copying_words import OnData, more_than_control, verdict

TEXT = (
    "Of all that the head raises among the different tokens of a text by its direct path, the share on those it "
    "attends to, minus the same for tokens that it attends to at other queries."
)
TEXT_LOGIT = (
    "How far the head's direct path moves the logit of the tokens it attends to, minus the same for tokens that it "
    "attends to at other queries. Logits."
)


def repeats_words(weights: np.ndarray, null: Any, on: OnData, head: Head, agreement: Any) -> str:
    """What the head that raises its target most, and the one that is shown, do on repeats, beside their weights."""
    rank, logit = on.scores["target_rank"], on.scores["target_logit"]
    among = f"among {round(2 * rank.uniform) + 1} tokens"

    def told(cell: Head) -> str:
        """One head's numbers, and what they carry."""
        where = f"rank {number(float(rank.score.mean[cell]))} {among}"
        control, weight = number(float(rank.null_mean[cell])), number(float(weights[cell]))
        direct = f"{number(float(logit.score.mean[cell]))}, {more_than_control(logit.effect, cell)}"
        return (
            f"{heads.label(cell)} puts the induction target at {where} (control {control}), direct logit {direct}; "
            f"copying score by weights {weight}. {verdict(weights, null, on, cell, 'the induction target')}"
        )

    best = heads.strongest(logit.effect.mean)
    text = f"On repeats, {told(best)} "
    if head != best:
        text += f"Head {told(head)} "
    return f"{text}{on.side.few and f'No verdict: {on.side.few}. '}{correlation(agreement, COMPARED['repeats'])}"


def text_words(weights: np.ndarray, null: Any, on: OnData, head: Head, agreement: Any) -> str:
    """What the head that is shown does on text, whether its weights say so, and how often the two differ."""
    best = heads.strongest(on.scores["text_logit"].effect.mean)
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


def _told(on: OnData, weights: np.ndarray, cell: Head) -> str:
    share, logit = on.scores["text_share"], on.scores["text_logit"]
    mean, control = (number(float(values[cell])) for values in (share.score.mean, share.null_mean))
    return (
        f"{heads.label(cell)} puts {mean} of what it raises on the tokens it attends to (control {control}; "
        f"their logit {more_than_control(logit.effect, cell)}), copying score by weights {number(float(weights[cell]))}"
    )


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
