"""Copying by weights against copying on data, in words. No Streamlit."""

import numpy as np

from lens.analysis.copying_verdicts import agreed
from lens.analysis.names import Head
from lens.analysis.rank_correlation import RankCorrelation
from lens.figures.theme import number
from lens.ui.shared import heads
from lens.ui.shared.copying_words import Null, OnData, more_than_control, verdict
from lens.ui.shared.wording import correlation

TEXT = (
    "Of all that the head raises among the different tokens of a text by its direct path, the share on those it "
    "attends to, minus the same for tokens that it attends to at other queries."
)
TEXT_LOGIT = (
    "How far the head's direct path moves the logit of the tokens it attends to, minus the same for tokens that it "
    "attends to at other queries. Logits."
)
COMPARED = "copying scores by weights and logits gained on {}"


def repeats_words(weights: np.ndarray, null: Null | None, on: OnData, head: Head, agreement: RankCorrelation) -> str:
    """What the head that raises its target most, and the one of the page, do on repeats, beside their weights."""
    rank, logit = on.scores["target_rank"], on.scores["target_logit"]
    among = f"among {round(2 * rank.uniform) + 1} tokens"

    def about(cell: Head) -> str:
        numbers = (rank.score.mean[cell], rank.null_mean[cell], logit.score.mean[cell], weights[cell])
        place, control, direct, weight = (number(float(value)) for value in numbers)
        return (
            f"{cell} puts the induction target at rank {place} {among} (control {control}), direct logit {direct}, "
            f"{more_than_control(logit.effect, cell)}; copying score by weights {weight}. "
            f"{verdict(weights, null, on, cell, 'the induction target')}"
        )

    best = heads.strongest(logit.effect.mean)
    text = f"On repeats, {about(best)} " + (f"Head {about(head)} " if head != best else "")
    few = on.side.few and f"No verdict: {on.side.few}. "
    return f"{text}{few}{correlation(agreement, COMPARED.format('repeats'))}"


def text_words(weights: np.ndarray, null: Null | None, on: OnData, head: Head, agreement: RankCorrelation) -> str:
    """What the head of the page does on text, whether its weights say so, and how often the two differ."""
    share, logit = on.scores["text_share"], on.scores["text_logit"]

    def about(cell: Head) -> str:
        values = (share.score.mean[cell], share.null_mean[cell], weights[cell])
        mean, control, weight = (number(float(value)) for value in values)
        return (
            f"{cell} puts {mean} of what it raises on the tokens it attends to (control {control}; their logit "
            f"{more_than_control(logit.effect, cell)}), copying score by weights {weight}. "
            f"{verdict(weights, null, on, cell, 'what it attends to')}"
        )

    best = heads.strongest(logit.effect.mean)
    text = f"On text, {about(head)} " + (f"Farthest above its control, {about(best)} " if head != best else "")
    return f"{text}{disagreements(null, on)} {correlation(agreement, COMPARED.format('text'))}"


def disagreements(null: Null | None, on: OnData) -> str:
    """How many heads copy by their weights, on text, and both."""
    if on.side.few:
        return f"No verdict on text: {on.side.few}."
    if null is None:
        return "The null of the weights is not computed, so the two are not compared."
    counts = agreed(null.side, on.side, on.differ)
    return (
        f"Of {counts.n} heads, {counts.weights} copy by their weights and {counts.data} on text, {counts.both} by "
        f"both; {counts.idle} are idle. About {counts.differ}, text shows what the weights do not say."
    )
