"""Head scores in words: names, figures' measures, what to notice, what not to conclude. No Streamlit, no torch."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lens.analysis.instruments.induction import INDUCTION
from lens.analysis.instruments.registry import HEAD_SCORES, instruments_named
from lens.figures.measure import Measure
from lens.figures.theme import number
from lens.ui.shared.wording import correlation

SCORES = {one.name: one for one in instruments_named(HEAD_SCORES)}
TITLES = {name: one.title for name, one in SCORES.items()}
HABITS = {name: one.habit for name, one in SCORES.items() if one.habit}
MISREADINGS = {name: one.misreading for name, one in SCORES.items()} | {"text": INDUCTION.words("text").misreading}
FORMULAS = {name: one.formula for name, one in SCORES.items()}
TEXT_FORMULAS = {name: one.words("text").formula for name, one in SCORES.items()}

STATES = {True: "found", False: "none", None: ""}  # of a link of the chain, by whether a head is above chance


class Facts(NamedTuple):
    """One head's numbers in one score; None where there are none."""

    value: float
    low: float | None
    high: float | None
    control: float | None
    difference: float | None
    above: bool | None  # whether it exceeds the threshold; None where that cannot be said
    rank: int  # 1 is the largest
    total: int


def measure(score: Any, difference: bool = False) -> Measure:
    """A ``HeadScore`` as a figure draws it: with its control, or minus its control where there is one."""
    difference = difference and score.effect is not None
    name = TITLES[score.kind.name].lower()
    found = score.effect if difference else score.score
    minus = f" This minus {score.kind.null}." if difference else ""
    return Measure(
        f"{name} − control" if difference else name,
        score.kind.definition + minus,
        found.mean,
        score.kind.unit,
        found.low,
        found.high,
        None if difference else score.null_mean,
        score.threshold,
        signed=difference,
    )


def facts(score: Any, layer: int, head: int) -> Facts:
    """The numbers of head ``layer``.``head``."""

    def at(array: Any) -> float | None:
        return None if array is None else float(array[layer, head])

    ranks = measure(score).ranks()
    value = at(score.score.mean)
    return Facts(
        value,
        at(score.score.low),
        at(score.score.high),
        at(score.null_mean),
        None if score.effect is None else at(score.effect.mean),
        None if score.above is None else bool(score.above[layer, head]),
        int(ranks[layer, head]),
        ranks.size,
    )


def strongest(score: Any) -> tuple[int, int]:
    """(layer, head) of the largest score."""
    layer, head = np.unravel_index(int(np.argmax(score.score.mean)), np.shape(score.score.mean))
    return int(layer), int(head)


def n_above(score: Any) -> int:
    """How many heads exceed the threshold; 0 when there is none to exceed."""
    return 0 if score.above is None else int(score.above.sum())


def has_verdict(score: Any) -> bool:
    """Whether its sample can say which heads exceed chance."""
    return score.above is not None


def no_verdict(score: Any) -> str:
    """Why no head can be told from chance, as a sentence; "" where it can."""
    return f"No verdict: {score.no_verdict}." if score.no_verdict else ""


def interval(found: Facts) -> str:
    """The confidence interval in words, with a leading space; "" where there is none."""
    return "" if found.low is None else f" [{number(found.low)}, {number(found.high)}]"


def notice(score: Any, on_text: bool = False) -> str:
    """What to see in the grid of a score, computed on random sequences or ``on_text``, a single text."""
    layer, head = strongest(score)
    best = facts(score, layer, head)
    n_heads, top = best.total, f"{layer}.{head} with {number(best.value)}{interval(best)}"
    unit = "" if score.kind.unit == "probability" else f" {score.kind.unit}"
    if not score.kind.tested:
        low = np.unravel_index(int(np.argmin(score.score.mean)), np.shape(score.score.mean))
        return (
            f"Largest: head {top}{unit}; smallest: {low[0]}.{low[1]} with {number(float(score.score.mean[low]))}; half "
            f"of the {n_heads} heads are above {number(float(np.median(score.score.mean)))}. A head that looks at all "
            f"keys alike has {number(score.uniform)}. This score is a description, not a test: it has no threshold."
        )
    habit, controls = HABITS[score.kind.name], f"its control {number(best.control)}"
    even = f"a head that looks at all keys alike {number(score.uniform)}"
    if on_text:
        return (
            f"On this one text, of {n_heads} heads {top} seems most to {habit}; {controls}, {even}. "
            f"{score.n_queries} queries of one text are no test: a token that draws attention for another reason "
            "looks the same. Random tokens decide."
        )
    if not has_verdict(score):
        return (
            f"The largest of {n_heads} scores has head {top}; {controls}, {even}. {no_verdict(score)} Whether any head "
            f"is seen to {habit} cannot be said here."
        )
    found, chance = n_above(score), f"the null threshold {number(score.threshold)}"
    if not found:
        return (
            f"None of the {n_heads} heads exceeds {chance}: none can be said to {habit} here. The largest is {top}, "
            f"{controls}."
        )
    whole = int((score.above & (score.score.low > score.threshold)).sum())
    return (
        f"{found} of {n_heads} heads {habit} more than chance allows (above {chance}; {whole} with the whole "
        f"interval). The strongest is {top}; {controls}, {even}."
    )


def notice_difference(score: Any) -> str:
    """What to see in the grid of score minus control."""
    effect = score.effect.mean
    if not score.kind.tested:
        place = np.unravel_index(int(np.argmax(np.abs(effect))), np.shape(effect))
        return (
            f"The repeat changes head {place[0]}.{place[1]} most: {number(float(effect[place]))} {score.kind.unit}. "
            f"Half of the {effect.size} heads change by less than {number(float(np.median(np.abs(effect))))}. "
            "This is a description, not a test: it has no threshold."
        )
    place = np.unravel_index(int(np.argmax(effect)), np.shape(effect))
    largest = f"The largest difference is {number(float(effect[place]))}, head {place[0]}.{place[1]}."
    if not has_verdict(score):
        return f"{largest} {no_verdict(score)}"
    beyond = ~measure(score, difference=True).below_null()
    more, less = int((beyond & (effect > 0)).sum()), int((beyond & (effect < 0)).sum())
    return (
        f"{more} of {effect.size} heads exceed their own control by more than {number(score.threshold)}, {less} stay "
        f"below it by as much. {largest}"
    )


def threshold_words(score: Any) -> str:
    """How the threshold was made, how many samples there were, and what the intervals are."""
    note = f"{score.score.note}." if score.score.low is None else f"Intervals: {score.score.note}."
    means = f"{score.n_queries:,} queries averaged. {note[:1].upper()}{note[1:]}"
    if not score.kind.tested:
        null = "" if score.effect is None else f" Control: {score.kind.null}."
        return means + null
    if not has_verdict(score):
        return f"{means} Null: {score.kind.null}. No threshold: {score.no_verdict}."
    samples = len(score.null_per_sequence)
    how = f"the 95th percentile over {samples} samples of the largest null of any head"
    return (
        f"{means} Null: {score.kind.null}. Threshold {number(score.threshold)}: {how}, so that the best of all "
        f"{np.size(score.score.mean)} heads stays below it in 95% of cases where there is nothing to find."
    )


def table(score: Any) -> pd.DataFrame:
    """One row per head, the largest score first."""
    shown = measure(score)
    layers, heads = (index.ravel() for index in np.indices(shown.values.shape))
    columns: dict[str, Any] = {
        "head": [f"{layer}.{head}" for layer, head in zip(layers, heads)],
        "layer": layers,
        "index": heads,
        "score": np.ravel(shown.values),
    }
    if shown.low is not None:
        columns |= {"CI low": np.ravel(shown.low), "CI high": np.ravel(shown.high)}
    if score.effect is not None:
        columns |= {"control": np.ravel(score.null_mean), "difference": np.ravel(score.effect.mean)}
    if has_verdict(score):
        columns |= {"above threshold": np.ravel(score.above)}
    columns |= {"rank": shown.ranks().ravel()}
    return pd.DataFrame(columns).sort_values("rank", kind="stable", ignore_index=True)


def both(x: Any, y: Any, agreement: Any) -> str:
    """What the scatter of two scores shows: how many heads exceed both thresholds, and their ``RankCorrelation``."""
    names = [TITLES[score.kind.name].lower() for score in (x, y)]
    text = correlation(agreement, f"{names[1]} and {names[0]} scores")
    if not (has_verdict(x) and has_verdict(y)):
        return text
    above = [np.ravel(score.above) for score in (x, y)]
    shared = int((above[0] & above[1]).sum())
    return f"{text} Above the threshold: {names[1]} {above[1].sum()}, {names[0]} {above[0].sum()}, both {shared}."
