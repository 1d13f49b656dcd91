"""The scorecard as text, and what it says as a whole. Imports no torch."""

from collections import Counter
from collections.abc import Sequence

from lens.analysis.selftest.result import Reading, Row

HEADINGS = ("instrument", "model", "verdict", "value", "by hand", "no control", "control", "chance", "where", "n", "")


def table(rows: Sequence[Row]) -> str:
    """One line per row: the value beside its closed form, without its control, the control, and what chance reaches."""
    cells = [HEADINGS, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join(lines)


def summary(rows: Sequence[Row]) -> str:
    """How many rows are as planted, by verdict, and every one that is not."""
    counts = Counter(row.verdict for row in rows)
    red = [row for row in rows if not row.ok]
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    head = f"{len(rows) - len(red)} of {len(rows)} rows as planted ({verdicts})."
    return "\n".join([head, *(f"RED: {row.instrument} on {row.model}: {row.problem}" for row in red)])


def digits(value: float | None) -> str:
    """Four decimals, without a minus before zero; "" for None."""
    return "" if value is None else f"{round(value, 4) + 0:.4f}"


def sample(reading: Reading, seed: int) -> str:
    """How many of what, and the seed."""
    return f"{reading.n} {reading.unit}, seed {seed}"


def _cells(row: Row) -> tuple[str, ...]:
    reading = row.reading
    numbers = (reading.value, row.closed_form, reading.naive, reading.control, reading.threshold)
    return (
        row.instrument,
        row.model.removeprefix("planted-"),
        row.verdict,
        *map(digits, numbers),
        reading.where,
        sample(reading, row.seed),
        "ok" if row.ok else "RED",
    )
