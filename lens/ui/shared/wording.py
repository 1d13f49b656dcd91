"""Numbers as sentences write them: intervals, shares, changes."""

from lens.figures.theme import number


def interval(low: float | None, high: float | None) -> str:
    """The 95% interval with a leading space; "" where there is none."""
    return "" if low is None else f" [{number(float(low))}, {number(float(high))}]"


def percent(share: float) -> str:
    """A share in whole percents, with a real minus and none before zero."""
    return f"{round(100 * float(share)) + 0}%".replace("-", "−")


def signed(change: float) -> str:
    """A change with its sign."""
    return number(change) if change < 0 else f"+{number(change)}"


def sentence(text: str) -> str:
    """A capital first and a full stop last."""
    return f"{text[:1].upper()}{text[1:]}."
