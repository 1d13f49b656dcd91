"""Copying by weights against copying on data, in words. No Streamlit, no torch."""

from typing import Any

import numpy as np
import pandas as pd

from lens.figures.theme import number

VERDICTS = {1: "copies", 0: "does neither", -1: "writes the opposite"}
TEXT = (
    "Of all that the head raises among the different tokens of a text by its direct path, the share on those it "
    "attends to, minus the same for tokens that it attends to at other queries."
)
DISAGREE = (
    "Weights and text disagree: one says that the head copies and the other does not. By weights: above the head's own "
    "random rotations. On text: the 95% interval over chapters lies above 0."
)


def by_weights(score: np.ndarray, null: Any) -> np.ndarray:
    """1 above the null of a head, −1 below it, 0 within (and for a head that writes nothing)."""
    return (score > null.high).astype(int) - (score < null.low).astype(int)


def by_data(effect: Any) -> np.ndarray:
    """1 where the whole interval lies above 0, −1 below, else 0; the sign alone where there is no interval."""
    if effect.low is None:
        return np.sign(effect.mean).astype(int)
    return (effect.low > 0).astype(int) - (effect.high < 0).astype(int)


def disagree(weights: np.ndarray, data: np.ndarray) -> np.ndarray:
    """Where one of two verdicts says that a head copies and the other does not."""
    return (weights > 0) != (data > 0)


def repeats_words(weights: np.ndarray, scores: Any, head: tuple[int, int]) -> str:
    """Where weights and repeats agree, and where they do not."""
    rank, logit = scores["target_rank"], scores["target_logit"]
    gain = -rank.effect.mean
    best = tuple(map(int, np.unravel_index(int(gain.argmax()), gain.shape)))
    among = f"among {round(2 * rank.uniform) + 1} tokens"

    def told(cell: tuple[int, int]) -> str:
        """One head's numbers."""
        name, logits = f"{cell[0]}.{cell[1]}", number(float(logit.score.mean[cell]))
        where = f"rank {number(float(rank.score.mean[cell]))} {among}"
        control, weight = number(float(rank.null_mean[cell])), number(float(weights[cell]))
        return (
            f"{name} puts the induction target at {where} (control {control}), direct logit {logits}, copying score by "
            f"weights {weight}"
        )

    text = f"On repeats, {told(best)}. "
    if weights[best] < 0.1:
        text += "Weights and data disagree about it: its eigenvalues do not say that it copies. "
    if head != best:
        text += f"Head {told(head)}. "
        if weights[head] > 0.3 and gain[head] < 1:
            text += "It would copy, but on these tokens it does not look at the target. "
    return f"{text}{correlation(weights, gain)}"


def text_words(weights: np.ndarray, null: Any, scores: Any, head: tuple[int, int]) -> str:
    """What the head that is shown does on text, whether its weights say so, and how often the two differ."""
    effect = scores["text_share"].effect
    best = tuple(map(int, np.unravel_index(int(effect.mean.argmax()), effect.mean.shape)))
    text = f"On text, {_told(scores, weights, head)}. {_agreement(weights, null, effect, head)}"
    if head != best:
        text += f"Farthest above its control, {_told(scores, weights, best)}. "
    return f"{text}{disagreements(weights, null, effect)} {correlation(weights, effect.mean)}"


def _told(scores: Any, weights: np.ndarray, cell: tuple[int, int]) -> str:
    share, logit = scores["text_share"], scores["text_logit"]
    mean, control = (number(float(values[cell])) for values in (share.score.mean, share.null_mean))
    more = number(float(logit.effect.mean[cell]))
    return (
        f"{cell[0]}.{cell[1]} puts {mean} of what it raises on the tokens it attends to (control {control}; their "
        f"logit {more} against the control), copying score by weights {number(float(weights[cell]))}"
    )


def _agreement(weights: np.ndarray, null: Any, effect: Any, head: tuple[int, int]) -> str:
    if null is None:
        return ""
    ours, theirs = int(by_weights(weights, null)[head]), int(by_data(effect)[head])
    state = "disagree" if disagree(ours, theirs) else "agree"
    sentence = f"Weights and text {state} about it: by its weights it {VERDICTS[ours]}, on text it {VERDICTS[theirs]}"
    return f"{sentence}{' (by its sign alone: too few chapters for an interval)' if effect.low is None else ''}. "


def disagreements(weights: np.ndarray, null: Any, effect: Any) -> str:
    """How many heads copy by their weights, on text, and both."""
    if null is None:
        return "The null of the weights is not computed, so the two are not compared."
    ours, theirs = by_weights(weights, null), by_data(effect)
    either = disagree(ours, theirs)
    return (
        f"Of {ours.size} heads, {(ours > 0).sum()} copy by their weights and {(theirs > 0).sum()} on text, "
        f"{((ours > 0) & (theirs > 0)).sum()} by both: the two disagree about {either.sum()}."
    )


def correlation(weights: np.ndarray, data: np.ndarray) -> str:
    """How well the ranks of two scores of all heads agree."""
    finite = np.isfinite(weights)
    if finite.sum() < 3:
        return "Too few heads for a correlation."
    r = float(pd.Series(weights[finite]).rank().corr(pd.Series(data[finite]).rank()))
    return f"Over all heads the rank correlation of the two is {number(r)}."
