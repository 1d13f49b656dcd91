"""What one instrument of the registry is made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lens.analysis.selftest.result import INSIDE, Expected, Reading
from lens.analysis.selftest.subject import Subject


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """One instrument on the bench. ``smallest`` and ``striking``: see :func:`lens.analysis.selftest.result.judge`."""

    name: str
    title: str
    measure: Callable[[Subject], Reading]
    unit: str
    definition: str
    formula: str
    null: str
    source: str
    fooled_by: str
    smallest: float
    striking: float
    tolerance: float  # of the closed forms
    expected: Mapping[str, Expected]


def by_model(
    induction: Expected, decoy: Expected, offset: Expected, anticopy: Expected, redundant: Expected
) -> dict[str, Expected]:
    """By model; planted-random is always inside the null."""
    planted = {"induction": induction, "decoy": decoy, "offset": offset, "anticopy": anticopy, "redundant": redundant}
    return {f"planted-{name}": one for name, one in (planted | {"random": Expected(INSIDE)}).items()}
