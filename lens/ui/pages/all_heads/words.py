"""All heads in words: what the tests of a whole table find, and what chance would. Text only."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lens.analysis.head_table import UNRELATED
from lens.analysis.instruments.registry import instrument
from lens.figures.theme import number

if TYPE_CHECKING:
    from lens.analysis.head_table import Alike, Beyond
    from lens.analysis.names import Head

MISREADING = (
    "A head that was chosen because it is the largest of many looks smaller on other tokens: change the seed before "
    "you believe it. And one that is far out on random tokens may do something else on text."
)
CHANCE = (
    "Each instrument with a test has its own threshold, which the best of all heads stays below in 95% of cases where "
    "no head does what it measures. So one test in twenty finds a head where there is none; tests on the same tokens "
    "also err together."
)


def notice(beyond: "Beyond", n_heads: int, waiting: int) -> str:
    """What the tests found, how many of such finds chance explains, and the head that is in most of them."""
    rest = f" {waiting} more instruments wait for a click." if waiting else ""
    if not beyond.tests:
        return f"None of these instruments gives a verdict on this sample, so no head can be said to stand out.{rest}"
    if beyond.most is None:
        return f"None of the {n_heads} heads is beyond chance in any of the {beyond.tests} tests.{rest}"
    titles = "; ".join(instrument(name).title for name in beyond.names)
    kinds = "test" if beyond.tests == 1 else "tests"
    return (
        f"{beyond.finding} of {beyond.tests} {kinds} find a head beyond chance among {n_heads}; "
        f"{number(beyond.by_chance)} would on average if no head did any of it. Head {beyond.most} is beyond chance in "
        f"most, {len(beyond.names)}: {titles}.{rest}"
    )


def matched(condition: str, n: int, n_heads: int) -> str:
    """How many heads a condition leaves."""
    if not condition:
        return ""
    meet = "meets" if n == 1 else "meet"
    return f"{n} of {n_heads} heads {meet} the condition {condition}. Heads that lack a number it names do not."


def missing(why: Mapping[str, str]) -> str:
    """The instruments that are not in the table, with their reasons."""
    reasons = [f"{instrument(name).title}: {text.removeprefix('not computed because ')}" for name, text in why.items()]
    return f"{'; '.join(reasons)}." if reasons else ""


def nearest(head: "Head", others: "list[Alike]") -> str:
    """Which heads are most like one, and how near that is."""
    if not others:
        return f"No other head has a number where head {head} has one."
    first = others[0]
    return (
        f"Of {len(others)} other heads {first.head} is most like head {head}: {number(first.distance)} apart on "
        f"average over {first.n} instruments, by their places among all heads. Two heads that have nothing to do with "
        f"each other are {number(UNRELATED)} apart on average; the nearest of many is nearer than that by choice alone."
    )


PLACES = (
    "Instruments that measure nearly the same, such as an ablation by three replacements, count once each, so heads "
    "that are alike in them look more alike than they are."
)
