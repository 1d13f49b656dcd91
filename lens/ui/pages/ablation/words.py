"""Ablation in words: what the numbers say, what they do not. No Streamlit, no torch."""

from typing import Any

import numpy as np
import pandas as pd

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
NEGLIGIBLE = 0.01  # of the gap: rounding and noise of weights, whatever the interval says
PARTLY, MOSTLY = 0.1, 0.5  # shares of the gap: below the first "next to nothing"
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


def class_of(share: float) -> str:
    """Which of ``GUESSES`` a share of the gap is."""
    if share >= MOSTLY:
        return "most"
    if share >= PARTLY:
        return "some"
    return "nothing" if share > -PARTLY else "better"


def verdict(guess: str, one: Any) -> str:
    """How a guess compares with what was measured."""
    said = f"You said: {GUESSES[guess].lower()} ({BOUNDS[guess]})."
    if one.share is None:
        return f"{said} It cannot be judged: {one.gap.verdict.reason}."
    real = class_of(one.share.value)
    what = f"{share_words(one.share)} of the way"
    if real == guess:
        return f"{said} Measured: {what}. Right."
    return f"{said} Measured: {what}, which is “{GUESSES[real].lower()}”."


def share_words(share: Any) -> str:
    """A share of the way to the control run, with its interval."""
    return f"{percent(share.value)} [{percent(share.low)}, {percent(share.high)}]"


def told(found: Any) -> str:
    """The effect by resampling, beside the controls."""
    one, unit = found.removed["other"], found.unit
    value, low, high = one.at(0)
    base = float(np.mean(one.base))
    text = (
        f"Without {found.cells.target.label} (resampled) the {found.metric} goes from {number(base)} to "
        f"{number(base + value)}: a change of {number(value)}{interval(low, high)} {unit}, n = {one.n} pairs."
    )
    if one.share is not None:
        text += f" The whole way to the control run would be {number(one.gap.mean)}: this is {share_words(one.share)} "
        text += "of it."
    elif one.gap.verdict.state == "none":
        text += f" It is no share of anything: {one.gap.verdict.reason}."
    return f"{text} {beside_controls(found, 'other')}"


def beside_controls(found: Any, put: str) -> str:
    """How many controls have as large an effect."""
    one = found.removed[put]
    controls = one.value[found.first_control :]
    if not len(controls):
        return f"{found.cells.note[:1].upper()}{found.cells.note[1:]}."
    if not abs(one.value[0]) > one.rounding:
        return "Nothing changes by more than rounding."
    as_much = int((np.abs(controls) >= abs(one.value[0])).sum())
    reach = f"{number(float(controls.min()))} to {number(float(controls.max()))}"
    return f"{as_much} of {len(controls)} controls do as much (controls: {reach})."


def puts_disagree(found: Any) -> str:
    """Whether zero or mean tell another story than resampling, beyond the intervals of both; "" where they do not."""
    first = found.removed["other"]
    if first.share is None:
        return ""
    other = [
        f"{PUTS[put].split(',')[0].lower()} {percent(one.value[0] / first.gap.mean)}"
        for put, one in found.removed.items()
        if put != "other"
        and class_of(one.value[0] / first.gap.mean) != class_of(first.share.value)
        and (one.low[0] > first.high[0] or one.high[0] < first.low[0])
    ]
    if not other:
        return ""
    return (
        f"The ways of removing disagree: of the way to the control run, resample goes {percent(first.share.value)}, "
        f"{', '.join(other)}. Resample changes only what differs between the two runs; the "
        "others also take what both share."
    )


def backup(found: Any) -> str:
    """What the numbers say about heads that stand in for each other."""
    one, together = found.removed["other"], found.joint
    if together is not None:
        text = (
            f"Together {number(together.together)}, the sum of each alone {number(together.sum_alone)}: "
            f"{number(together.extra)}{interval(together.low, together.high)} {found.unit} beyond the sum."
        )
        if together.low is None:
            return f"{text} With {one.n} pairs there is no interval, so this is not told from chance."
        if not one.gap.found:
            return f"{text} There is nothing that they could stand in for: {one.gap.verdict.reason}."
        sign = np.sign(one.gap.mean)
        if abs(together.extra) <= max(NEGLIGIBLE * abs(one.gap.mean), one.rounding):
            return f"{text} No sign that one stands in for another."
        if min(together.low * sign, together.high * sign) > 0:
            return f"{text} They stand in for each other: while one is left, it does work of the others."
        if max(together.low * sign, together.high * sign) < 0:
            return f"{text} Less than the sum: they are links of one path, and losing one already loses the others."
        return f"{text} No sign that one stands in for another."
    if one.share is None:
        return ""
    if one.share.low > PARTLY and one.share.high < 1 - PARTLY:
        return (
            f"Partial: {percent(1 - one.share.value)} of the way is left: something else carries it, or takes over. "
            "Pin the next heads of the grid and remove them together: more than the sum of each alone means backup."
        )
    return ""


def grid_words(values: np.ndarray, reach: np.ndarray | None, gap: Any, unit: str) -> str:
    """What to see in the grid of single heads; ``gap`` is the Gap between the two runs."""
    known = np.isfinite(values)
    if not known.any():
        return "No head is computed yet."
    at = np.unravel_index(int(np.argmax(np.where(known, np.abs(values), -1))), values.shape)
    if not abs(values[at]) > gap.rounding:
        return f"No head changes it by more than rounding: the largest, {at[0]}.{at[1]}, by {values[at]:.1g} {unit}."
    text = f"Largest: head {at[0]}.{at[1]} changes it by {number(float(values[at]))} {unit}"
    text += f" ({percent(values[at] / gap.mean)} of the way to the control run). " if gap.found else ". "
    if not known.all():
        text += f"{int((~known).sum())} of {values.size} heads are not computed yet. "
    if reach is None:
        return f"{text}Too few pairs for an interval, so no head is told from chance."
    count = int((np.abs(values[known]) > reach[known]).sum())
    total = float(values[known].sum())
    text += f"{count} of {int(known.sum())} heads change it by more than the sampling of pairs would (largest of all "
    text += "heads, 95%)."
    if not gap.found:
        return f"{text} No share of the way is told: {gap.verdict.reason}."
    return f"{text} The single effects add up to {number(total)} {unit}; the whole way is {number(gap.mean)}."


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
