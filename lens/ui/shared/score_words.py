"""Head scores in words: what to notice, and what the numbers are compared with. Text only."""

from typing import TYPE_CHECKING

from lens.analysis.instruments.registry import instrument
from lens.analysis.score_summary import Standing, differences, shared, standing, summary
from lens.figures.theme import number
from lens.ui.shared import wording
from lens.ui.shared.wording import correlation, sentence

if TYPE_CHECKING:
    from lens.analysis.names import Head
    from lens.analysis.rank_correlation import RankCorrelation
    from lens.analysis.score_results import HeadScore
    from lens.analysis.score_summary import Summary

DESCRIPTION = "This score is a description, not a test: it has no threshold."
STATES = {True: "found", False: "none", None: ""}  # of a link of the chain, by whether a head is above chance


def title(score: "HeadScore") -> str:
    """What the score is called."""
    return instrument(score.kind.name).title


def has_verdict(score: "HeadScore") -> bool:
    """Whether its sample can say which heads exceed chance."""
    return score.above is not None


def no_verdict(score: "HeadScore") -> str:
    """Why no head can be told from chance, as a sentence; "" where it can."""
    return f"No verdict: {score.no_verdict}." if score.no_verdict else ""


def interval(facts: Standing) -> str:
    """The confidence interval in words, with a leading space; "" where there is none."""
    return wording.interval(facts.low, facts.high)


def notice(score: "HeadScore", on_text: bool = False) -> str:
    """What to see in the grid of a score, computed on random sequences or ``on_text``, a single text."""
    counts = summary(score)
    best = standing(score, counts.strongest)
    unit = "" if score.kind.unit == "probability" else f" {score.kind.unit}"
    if not score.kind.tested:
        return _description(score, counts, unit)
    habit, top = instrument(score.kind.name).habit, f"{counts.strongest} with {number(best.value)}{interval(best)}"
    chance = _by_chance(score, best)
    if not score.n_queries:
        return _without_patterns(score, counts, f"{top}{unit}{chance}")
    if on_text:
        return (
            f"On this one text, of {counts.total} heads {top} seems most to {habit}{chance}. "
            f"{score.n_queries} queries of one text are no test: a token that draws attention for another reason "
            "looks the same. Random tokens decide."
        )
    if not has_verdict(score):
        return (
            f"The largest of {counts.total} scores has head {top}{chance}. {no_verdict(score)} Whether any head "
            f"is seen to {habit} cannot be said here."
        )
    threshold = f"the null threshold {number(score.threshold)}"
    if not counts.n_above:
        return (
            f"None of the {counts.total} heads exceeds {threshold}: none can be said to {habit} here. The largest is "
            f"{top}, its control {number(best.control)}."
        )
    return (
        f"{counts.n_above} of {counts.total} heads {habit} more than chance allows (above {threshold}; "
        f"{counts.n_whole} with the whole interval). The strongest is {top}{chance}."
    )


def _description(score: "HeadScore", counts: "Summary", unit: str) -> str:
    top, low = (standing(score, head) for head in (counts.largest, counts.smallest))
    return (
        f"Largest: head {counts.largest} with {number(top.value)}{interval(top)}{unit}; smallest: {counts.smallest} "
        f"with {number(low.value)}; half of the {counts.total} heads are above {number(counts.median)}. A head that "
        f"looks at all keys alike has {number(score.uniform)}. {DESCRIPTION}"
    )


def _by_chance(score: "HeadScore", best: Standing) -> str:
    """What chance gives the strongest head, after a semicolon."""
    if score.n_queries:
        even = f"a head that looks at all keys alike {number(score.uniform)}"
        return f"; its control {number(best.control)}, {even}"
    if best.control is None:
        return ""
    return f"; {'compared with' if score.effect is not None else 'by chance'} {number(best.control)}"


def _without_patterns(score: "HeadScore", counts: "Summary", top: str) -> str:
    """The notice of a number of weights or of a task."""
    habit = instrument(score.kind.name).habit
    largest = "The farthest from 0" if score.kind.scale == "two-sided" else "The largest"
    if not has_verdict(score):
        return (
            f"{largest} of {counts.total} numbers has head {top}. {no_verdict(score)} Whether any heads {habit} "
            "cannot be said here."
        )
    if not counts.n_above:
        return (
            f"None of the {counts.total} heads can be told from chance: it cannot be said that any {habit}. {largest} "
            f"is {top}."
        )
    says = f"{habit} more than chance allows"
    if score.kind.scale == "two-sided":
        says = f"stand out beyond chance, {counts.n_above - counts.n_lower} upwards and {counts.n_lower} downwards"
    return f"{counts.n_above} of {counts.total} heads {says}. The strongest is {top}."


def notice_difference(score: "HeadScore") -> str:
    """What to see in the grid of score minus control."""
    counts, effect = differences(score), score.effect.mean
    if not score.kind.tested:
        return (
            f"The repeat changes head {counts.farthest} most: {number(float(effect[counts.farthest]))} "
            f"{score.kind.unit}. Half of the {counts.total} heads change by less than {number(counts.median_size)}. "
            "This is a description, not a test: it has no threshold."
        )
    largest = f"The largest difference is {number(float(effect[counts.largest]))}, head {counts.largest}."
    if not has_verdict(score):
        return f"{largest} {no_verdict(score)}"
    if score.threshold is None:
        return f"{largest} {sentence(score.rule)}"
    return (
        f"{counts.more} of {counts.total} heads exceed their own control by more than {number(score.threshold)}, "
        f"{counts.less} stay below it by as much. {largest}"
    )


def threshold_words(score: "HeadScore") -> str:
    """How the threshold was made, how many samples there were, and what the intervals are."""
    note = sentence(score.score.note if score.score.low is None else f"Intervals: {score.score.note}")
    means = f"{score.n_queries:,} queries averaged. {note}" if score.n_queries else note
    if not score.kind.tested:
        null = "" if score.effect is None else f" Control: {score.kind.null}."
        return means + null
    if not has_verdict(score):
        return f"{means} Null: {score.kind.null}. No threshold: {score.no_verdict}."
    if score.threshold is None:
        return f"{means} Null: {score.kind.null}. Above chance: {score.rule}."
    if score.rule:
        return f"{means} Null: {score.kind.null}. Threshold {number(score.threshold)}: {score.rule}."
    samples = len(score.null_per_sequence)
    how = f"the 95th percentile over {samples} samples of the largest null of any head"
    return (
        f"{means} Null: {score.kind.null}. Threshold {number(score.threshold)}: {how}, so that the best of all "
        f"{summary(score).total} heads stays below it in 95% of cases where there is nothing to find."
    )


def both(x: "HeadScore", y: "HeadScore", agreement: "RankCorrelation") -> str:
    """What the scatter of two scores shows: how many heads are above chance in both, and how alike the orders are."""
    names = [title(score).lower() for score in (x, y)]
    text, above = correlation(agreement, f"{names[1]} and {names[0]} scores"), shared(x, y)
    if above is None:
        return text
    line = "chance" if x.threshold is None or y.threshold is None else "the threshold"
    return f"{text} Above {line}: {names[1]} {above.y}, {names[0]} {above.x}, both {above.both}."


def verdict(score: "HeadScore", head: "Head") -> str:
    """Whether one head is above chance, in two or three words, or why that is not said."""
    facts = standing(score, head)
    if not facts.rank:
        return "not applicable"
    if not score.kind.tested:
        return "no test"
    return {True: "above chance", False: "within chance", None: _too_few(score)}[facts.above]


def _too_few(score: "HeadScore") -> str:
    """What its sample has too few of: of "3 pairs; a verdict needs at least 16" the pairs."""
    count, _, unit = score.no_verdict.partition(";")[0].partition(" ")
    return f"too few {unit.removesuffix('s')}s" if count.isdigit() else "no verdict"
