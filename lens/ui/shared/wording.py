"""Numbers as sentences write them: intervals, shares, changes, and whether two order the heads alike. No torch."""

from typing import TYPE_CHECKING

from lens.figures.theme import number

if TYPE_CHECKING:
    from lens.analysis.rank_correlation import RankCorrelation

MARKDOWN = r"\`*_{}[]<>()#+-.!|$~:"  # characters that mean something in Markdown


def interval(low: float | None, high: float | None) -> str:
    """The 95% interval with a leading space; "" where there is none."""
    return "" if low is None else f" [{number(float(low))}, {number(float(high))}]"


def percent(share: float) -> str:
    """A share in whole percents, with a real minus and none before zero."""
    return f"{round(100 * float(share)) + 0}%".replace("-", "−")


def signed(change: float) -> str:
    """A change with its sign."""
    return number(change) if change < 0 else f"+{number(change)}"


def capital(text: str) -> str:
    """A capital first."""
    return f"{text[:1].upper()}{text[1:]}"


def sentence(text: str) -> str:
    """A capital first and a full stop last."""
    return f"{capital(text)}."


def plain(text: str) -> str:
    """Markdown's own characters as they are: the text may quote a stranger's prompt."""
    return "".join(f"\\{character}" if character in MARKDOWN else character for character in text)


def correlation(agreement: "RankCorrelation", of: str) -> str:
    """A ``RankCorrelation`` in a sentence; ``of`` says which two numbers."""
    r, p, n, verdict = agreement
    if verdict.state == "unknown":
        return f"Whether {of} order the heads alike is not said: {verdict.reason}."
    numbers = f"rank correlation {number(r)}, p = {number(p)} over {n} heads"
    if verdict.state == "none":
        return f"{capital(of)} do not order the heads more alike than chance would ({numbers})."
    return f"{capital(of)} order the heads {'alike' if r > 0 else 'against each other'} ({numbers})."
