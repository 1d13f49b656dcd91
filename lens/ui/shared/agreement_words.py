"""Whether two numbers order the heads alike, in words. No Streamlit, no torch."""

from typing import Any

from lens.figures.theme import number


def correlation(found: Any, of: str) -> str:
    """A ``RankCorrelation`` in a sentence; ``of`` says which two numbers."""
    if found.verdict.state == "unknown":
        return f"Whether {of} order the heads alike is not said: {found.verdict.reason}."
    numbers = f"rank correlation {number(found.r)}, p = {number(found.p)} over {found.n} heads"
    if found.verdict.state == "none":
        return f"{_first(of)} do not order the heads more alike than chance would ({numbers})."
    return f"{_first(of)} order the heads {'alike' if found.r > 0 else 'against each other'} ({numbers})."


def _first(of: str) -> str:
    return f"{of[:1].upper()}{of[1:]}"
