"""Ablation in words: what the numbers say, what they do not. No Streamlit."""

import numpy as np
import pandas as pd

from lens.analysis.counts import counted
from lens.analysis.interventions import ablation
from lens.analysis.interventions.ablation import MOSTLY, PARTLY, Removed, size_of
from lens.analysis.interventions.results import Share
from lens.analysis.verdicts import Gap
from lens.figures.theme import number
from lens.ui.pages.ablation.request import Result
from lens.ui.shared.wording import interval, percent, sentence

REPLACEMENTS = {"other": "Resample", "mean": "Mean", "zero": "Zero, off-distribution"}
REPLACEMENT_HELP = (
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


def verdict(guess: str, way: Removed) -> str:
    """How a guess compares with what was measured."""
    guessed = f"You said: {GUESSES[guess].lower()} ({BOUNDS[guess]})."
    if way.share is None:
        return f"{guessed} It cannot be judged: {way.gap.verdict.reason}."
    size = size_of(way.share.value)
    judged = ". Right." if size == guess else f", which is “{GUESSES[size].lower()}”."
    return f"{guessed} Measured: {share_words(way.share)} of the way{judged}"


def share_words(share: Share) -> str:
    """A share of the way to the control run, with its interval."""
    return f"{percent(share.value)} [{percent(share.low)}, {percent(share.high)}]"


def notice(result: Result) -> str:
    """The effect by resampling, beside the controls."""
    way, unit = result.ways["other"], result.unit
    value, low, high = way.at(0)
    text = (
        f"Without {result.cells.target.label} (resampled) the {result.metric} goes from {number(way.before)} to "
        f"{number(way.before + value)}: a change of {number(value)}{interval(low, high)} {unit}, "
        f"n = {counted(way.n, 'pair')}."
    )
    if way.share is not None:
        text += f" The whole way to the control run would be {number(way.gap.mean)}: this is {share_words(way.share)} "
        text += "of it."
    elif way.gap.verdict.state == "none":
        text += f" It is no share of anything: {way.gap.verdict.reason}."
    return f"{text} {controls_words(result, 'other')}"


def controls_words(result: Result, replacement: str) -> str:
    """How many controls have as large an effect."""
    way = result.ways[replacement]
    beside = ablation.beside_controls(way, len(result.cells.alone))
    if beside is None:
        return sentence(result.cells.note)
    if not abs(way.value[0]) > way.rounding:
        return "Nothing changes by more than rounding."
    reach = f"{number(beside.low)} to {number(beside.high)}"
    return f"{beside.as_much} of {beside.n} controls do as much (controls: {reach})."


def ways_words(result: Result) -> str:
    """Whether zero or mean tell another story than resampling, beyond the intervals of both; "" where they do not."""
    shares = ablation.disagreeing(result.ways).items()
    others = [f"{REPLACEMENTS[way].split(',')[0].lower()} {percent(share)}" for way, share in shares]
    if not others:
        return ""
    return (
        "The ways of removing disagree: of the way to the control run, resample goes "
        f"{percent(result.ways['other'].share.value)}, {', '.join(others)}. Resample changes only what differs "
        "between the two runs; the others also take what both share."
    )


def backup_words(result: Result) -> str:
    """What the numbers say about heads that stand in for each other."""
    way, together = result.ways["other"], result.joint
    kind = ablation.backup(way, together)
    if together is None:
        if kind != "partial":
            return ""
        return (
            f"Partial: {percent(1 - way.share.value)} of the way is left: something else carries it, or takes over. "
            "Pin the next heads of the grid and remove them together: more than the sum of each alone means backup."
        )
    text = (
        f"Together {number(together.together)}, the sum of each alone {number(together.sum_alone)}: "
        f"{number(together.extra)}{interval(together.low, together.high)} {result.unit} beyond the sum."
    )
    meaning = {
        "no interval": f"With {counted(way.n, 'pair')} there is no interval, so this is not told from chance.",
        "no gap": f"There is nothing that they could stand in for: {way.gap.verdict.reason}.",
        "none": "No sign that one stands in for another.",
        "backup": "They stand in for each other: while one is left, it does work of the others.",
        "one path": "Less than the sum: they are links of one path, and losing one already loses the others.",
    }[kind]
    return f"{text} {meaning}"


def grid_words(values: np.ndarray, reach: np.ndarray | None, gap: Gap, unit: str) -> str:
    """What to see in the grid of single heads; ``gap`` is that between the two runs."""
    changes = ablation.read_heads(values, reach, gap)
    if changes is None:
        return "No head is computed yet."
    best, value = changes.largest, changes.value
    if not abs(value) > gap.rounding:
        return f"No head changes it by more than rounding: the largest, {best}, by {value:.1g} {unit}."
    text = f"Largest: head {best} changes it by {number(value)} {unit}"
    text += ". " if changes.share is None else f" ({percent(changes.share)} of the way to the control run). "
    if changes.n < values.size:
        text += f"{values.size - changes.n} of {values.size} heads are not computed yet. "
    if changes.beyond is None:
        return f"{text}Too few pairs for an interval, so no head is told from chance."
    text += f"{changes.beyond} of {changes.n} heads change it by more than the sampling of pairs would (largest of all "
    text += "heads, 95%)."
    if not gap.found:
        return f"{text} No share of the way is told: {gap.verdict.reason}."
    return f"{text} The single effects add up to {number(changes.total)} {unit}; the whole way is {number(gap.mean)}."


def table(result: Result) -> pd.DataFrame:
    """One row per way of removing and set."""
    rows = ablation.removal_rows(result.cells, result.ways, result.unit)
    return pd.DataFrame(rows).replace({"put": REPLACEMENTS})
