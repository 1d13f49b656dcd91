"""Ablation in words: what the numbers say, what they do not. No Streamlit."""

from typing import Any

import numpy as np
import pandas as pd

from lens.analysis.interventions.ablation import (
    MOSTLY,
    PARTLY,
    backup,
    beside_controls,
    disagreeing,
    read_heads,
    size_of,
)
from lens.figures.theme import number
from lens.ui.shared.wording import interval, percent

PUTS = {"other": "Resample", "mean": "Mean", "zero": "Zero, off-distribution"}
PUT_HELP = (
    "What stands where the head's output was. **Resample:** what it wrote in the paired control run, which has the "
    "same length but not the feature. **Mean:** the average of all control runs, position by position. **Zero:** "
    "nothing; no run of the model has this, so later layers read something they never met (off-distribution), and "
    "it depends on where biases are folded."
)
FORMULA = (
    r"\Delta_S = \frac{1}{N} \sum_{i=1}^{N} \Big( m\big(x_i;\ z_S \leftarrow \tilde z_S\big) - m(x_i) \Big), \qquad "
    r"\text{extra} = \Delta_S - \sum_{h \in S} \Delta_{\{h\}}"
)
WHERE = (
    "S is the set that is removed, z its output (of a head before W_O), m the metric. z̃ is the output in the control "
    "run, which reads the pair's corrupted prompt (resample), its mean over all control runs (mean), "
    "or 0 (zero). *Patterns kept*: all attention patterns stay those of the unchanged run, "
    "so the effect through where later heads look is left out. "
    "Losses and probabilities saturate, so sums of effects are only sums: logits are nearer to linear. "
    "Intervals: studentised bootstrap over pairs; frames and names resampled separately where there are both."
)
MISREADING = (
    "No effect does not mean not involved. Where two heads do the same and one is enough, removing either changes "
    "nothing and removing both changes everything. And an effect does not say what the head does: removing any head "
    "that a later one reads from can break the behaviour."
)
ZERO = "No run of the model has it: later layers read what they never met. Compare it last."
GUESSES = {
    "most": "Breaks most of it",
    "some": "Breaks some of it",
    "nothing": "Next to nothing",
    "better": "It gets better",
}
BOUNDS = {
    "most": f"at least {MOSTLY:.0%} of the way to the control run",
    "some": f"{PARTLY:.0%} to {MOSTLY:.0%} of the way to the control run",
    "nothing": f"within ±{PARTLY:.0%} of that way",
    "better": f"more than {PARTLY:.0%} of that way in the other direction",
}


def verdict(guess: str, one: Any) -> str:
    """How a guess compares with what was measured."""
    guessed = f"You said: {GUESSES[guess].lower()} ({BOUNDS[guess]})."
    if one.share is None:
        return f"{guessed} It cannot be judged: {one.gap.verdict.reason}."
    real = size_of(one.share.value)
    what = f"{share_words(one.share)} of the way"
    if real == guess:
        return f"{guessed} Measured: {what}. Right."
    return f"{guessed} Measured: {what}, which is “{GUESSES[real].lower()}”."


def share_words(share: Any) -> str:
    """A share of the way to the control run, with its interval."""
    return f"{percent(share.value)} [{percent(share.low)}, {percent(share.high)}]"


def notice(found: Any) -> str:
    """The effect by resampling, beside the controls."""
    one, unit = found.removed["other"], found.unit
    value, low, high = one.at(0)
    text = (
        f"Without {found.cells.target.label} (resampled) the {found.metric} goes from {number(one.before)} to "
        f"{number(one.before + value)}: a change of {number(value)}{interval(low, high)} {unit}, n = {one.n} pairs."
    )
    if one.share is not None:
        text += f" The whole way to the control run would be {number(one.gap.mean)}: this is {share_words(one.share)} "
        text += "of it."
    elif one.gap.verdict.state == "none":
        text += f" It is no share of anything: {one.gap.verdict.reason}."
    return f"{text} {controls_words(found, 'other')}"


def controls_words(found: Any, put: str) -> str:
    """How many controls have as large an effect."""
    one = found.removed[put]
    beside = beside_controls(one, len(found.cells.alone))
    if beside is None:
        return f"{found.cells.note[:1].upper()}{found.cells.note[1:]}."
    if not abs(one.value[0]) > one.rounding:
        return "Nothing changes by more than rounding."
    reach = f"{number(beside.low)} to {number(beside.high)}"
    return f"{beside.as_much} of {beside.n} controls do as much (controls: {reach})."


def ways_words(found: Any) -> str:
    """Whether zero or mean tell another story than resampling, beyond the intervals of both; "" where they do not."""
    others = [
        f"{PUTS[put].split(',')[0].lower()} {percent(share)}" for put, share in disagreeing(found.removed).items()
    ]
    if not others:
        return ""
    return (
        "The ways of removing disagree: of the way to the control run, resample goes "
        f"{percent(found.removed['other'].share.value)}, {', '.join(others)}. Resample changes only what differs "
        "between the two runs; the others also take what both share."
    )


def backup_words(found: Any) -> str:
    """What the numbers say about heads that stand in for each other."""
    one, together = found.removed["other"], found.joint
    verdict = backup(one, together)
    if together is None:
        if verdict != "partial":
            return ""
        return (
            f"Partial: {percent(1 - one.share.value)} of the way is left: something else carries it, or takes over. "
            "Pin the next heads of the grid and remove them together: more than the sum of each alone means backup."
        )
    text = (
        f"Together {number(together.together)}, the sum of each alone {number(together.sum_alone)}: "
        f"{number(together.extra)}{interval(together.low, together.high)} {found.unit} beyond the sum."
    )
    sentence = {
        "no interval": f"With {one.n} pairs there is no interval, so this is not told from chance.",
        "no gap": f"There is nothing that they could stand in for: {one.gap.verdict.reason}.",
        "none": "No sign that one stands in for another.",
        "backup": "They stand in for each other: while one is left, it does work of the others.",
        "one path": "Less than the sum: they are links of one path, and losing one already loses the others.",
    }[verdict]
    return f"{text} {sentence}"


def grid_words(values: np.ndarray, reach: np.ndarray | None, gap: Any, unit: str) -> str:
    """What to see in the grid of single heads; ``gap`` is the Gap between the two runs."""
    found = read_heads(values, reach, gap)
    if found is None:
        return "No head is computed yet."
    if not abs(found.value) > gap.rounding:
        return f"No head changes it by more than rounding: the largest, {found.largest}, by {found.value:.1g} {unit}."
    text = f"Largest: head {found.largest} changes it by {number(found.value)} {unit}"
    text += ". " if found.share is None else f" ({percent(found.share)} of the way to the control run). "
    if found.n < values.size:
        text += f"{values.size - found.n} of {values.size} heads are not computed yet. "
    if found.beyond is None:
        return f"{text}Too few pairs for an interval, so no head is told from chance."
    text += f"{found.beyond} of {found.n} heads change it by more than the sampling of pairs would (largest of all "
    text += "heads, 95%)."
    if not gap.found:
        return f"{text} No share of the way is told: {gap.verdict.reason}."
    return f"{text} The single effects add up to {number(found.total)} {unit}; the whole way is {number(gap.mean)}."


def table(found: Any) -> pd.DataFrame:
    """One row per way of removing and set."""
    rows = []
    for put, one in found.removed.items():
        roles = ["chosen", *["alone"] * len(found.cells.alone), *["control"] * len(found.cells.controls)]
        sets = (found.cells.target, *found.cells.alone, *found.cells.controls)
        for index, (role, target) in enumerate(zip(roles, sets)):
            value, low, high = one.at(index)
            row = {"put": PUTS[put], "removed": target.label, "role": role, "change": value}
            rows.append(row | {"CI low": low, "CI high": high, "unit": found.unit, "n": one.n})
    return pd.DataFrame(rows)
