"""What an instrument reads, and what follows from the reading. Imports no torch."""

from typing import NamedTuple

from lens.analysis.instruments.instrument import FOUND, INSIDE, REJECTED, Expected

VERDICTS = {
    FOUND: "beyond what chance gives, in the claimed direction, and the control does not show it",
    REJECTED: "large at first sight, but the control shows it as well, or it points the other way",
    INSIDE: "not told apart from chance, or too small to count",
}
EXACT = 1e-4  # largest numerical error of an identity that must hold


class Reading(NamedTuple):
    """One measurement of the strongest candidate in a model, in the instrument's unit.

    ``low`` and ``high`` are the 95% interval of ``value`` over the samples, None where there are no samples. ``error``
    is how far an identity that must hold exactly is off.
    """

    naive: float  # what a reader without the control would report
    value: float  # what is left beside the control
    control: float  # the same on the control
    threshold: float  # what the largest candidate reaches by chance
    where: str  # the heads it is about
    n: int
    unit: str  # what n counts
    low: float | None = None
    high: float | None = None
    error: float = 0.0
    note: str = ""


class Row(NamedTuple):
    """One line of the scorecard: an instrument on a model, against what was planted."""

    instrument: str
    model: str
    verdict: str
    expected: str
    reading: Reading
    closed_form: float | None
    seed: int
    problem: str  # why the row is red; "" if it is as planted

    @property
    def ok(self) -> bool:
        """Whether the instrument said what was planted."""
        return not self.problem


def judge(reading: Reading, smallest: float, striking: float) -> str:
    """The verdict on a reading.

    ``smallest``: sizes that count as nothing, whatever the statistics say. ``striking``: sizes that a reader without a
    control would believe; they are rejected rather than overlooked when the control is as large.
    """
    size = abs(reading.naive)
    if size <= max(reading.threshold, smallest) and size < striking:
        return INSIDE
    if reading.naive < 0 or reading.value < reading.naive / 2:
        return REJECTED
    return FOUND


def problem(verdict: str, expected: Expected, reading: Reading, tolerance: float) -> str:
    """Why a reading contradicts what was planted, as a sentence; "" if it does not."""
    if verdict != expected.verdict:
        return f"{verdict}, but it must be {expected.verdict}"
    if expected.value is not None and not abs(reading.value - expected.value) <= tolerance:  # NaN is a problem too
        return f"{reading.value:.4f}, but it must be {expected.value:.4f} ± {tolerance:g}"
    if not reading.error <= EXACT:
        return f"an identity that must hold exactly is off by {reading.error:.2g}"
    return ""
