"""What one instrument of the registry is made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lens.analysis.instruments.instrument import Instrument as HeadInstrument
from lens.analysis.selftest.result import Expected, Reading
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


def of(
    one: HeadInstrument,
    measure: Callable[[Subject], Reading],
    here: str,
    name: str = "",
    title: str = "",
    null: str = "",
    smallest: float = 0.0,
    striking: float = 0.5,
    tolerance: float = 1e-3,
    expected: Mapping[str, Expected] | None = None,
) -> Instrument:
    """An instrument of the registry on the bench: what is said of it stands there.

    ``here``: what the bench reads of it, a sentence. ``null``: what is added to its null, beginning with ";".
    ``expected``: where the bench reads it on another sample than its own.
    """
    return Instrument(
        name=name or one.name,
        title=title or one.title,
        measure=measure,
        unit=one.unit,
        definition=f"{one.definition} {here}",
        formula=one.formula,
        null=one.null + null,
        source=one.source,
        fooled_by=one.fooled_by or one.misreading,
        smallest=smallest,
        striking=striking,
        tolerance=tolerance,
        expected=one.expected if expected is None else expected,
    )
