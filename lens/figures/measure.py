"""What a figure shows: numbers together with the words that define them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lens.figures.theme import escape, number, wrap

LONGEST = 32  # characters of a name with its unit on one line of a short axis
LETTER = 6.2  # pixels of one of them along a colour bar
ROUNDINGS = 64  # of the number format, that a value may lie above its threshold by and still be within chance


@dataclass(frozen=True)
class Measure:
    """One number per cell (a head, or a layer and position), with its definition, interval, control and null.

    ``low`` and ``high`` bound a confidence interval, ``control`` is the same number where the feature is destroyed,
    ``null`` the range (low, high) that chance gives this cell. At or below ``threshold`` (in absolute value when
    ``signed``) a cell cannot be told from chance; ``within`` says so cell by cell where another rule decides. ``ends``
    False: signed, and only large values stand out, not far negative ones. ``absent``: why a cell has no number (NaN).
    All [row, column].
    """

    name: str
    definition: str
    values: np.ndarray
    unit: str = ""
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    control: np.ndarray | None = None
    threshold: float | None = None
    signed: bool = False
    null: tuple[np.ndarray, np.ndarray] | None = None
    within: np.ndarray | None = None
    ends: bool = True
    absent: str = ""

    def __post_init__(self) -> None:
        if np.ndim(self.values) != 2:
            raise ValueError(f"{self.name}: values of shape {np.shape(self.values)}; wanted [row, column].")
        for part in ("low", "high", "control", "within"):
            array = getattr(self, part)
            if array is not None and np.shape(array) != np.shape(self.values):
                shapes = f"{np.shape(array)} beside values of shape {np.shape(self.values)}"
                raise ValueError(f"{self.name}: {part} of shape {shapes}; give one {part} per cell.")

    @property
    def size(self) -> np.ndarray:
        """Effect size: the value, or its absolute value when both signed ends stand out. [row, column]"""
        return np.abs(self.values) if self.signed and self.ends else self.values

    @property
    def axis(self) -> str:
        """Name and unit along a short axis, on two lines where one would be cut off. Escaped."""
        unit = f"({escape(self.unit)})" if self.unit else ""
        between = "<br>" if unit and len(self.name) + len(self.unit) > LONGEST else " "
        return f"{escape(self.name)}{between}{unit}".rstrip()

    def bar(self, height: float) -> str:
        """``axis`` along a colour bar of so many pixels, in lines that are no longer than it. Escaped."""
        words = f"{self.name} ({self.unit})" if self.unit else self.name
        return wrap(words, max(12, int(height / LETTER))) if len(words) * LETTER > height else self.axis

    def text(self, row: int, column: int) -> str:
        """One cell in words, ready for a hover label: "induction 0.91 [0.88, 0.93] · control 0.01"."""
        if self.absent and np.isnan(self.values[row, column]):
            return f"{escape(self.name)}: {escape(self.absent)}"
        unit = f" {escape(self.unit)}" if self.unit else ""
        words = f"{escape(self.name)} <b>{number(self.values[row, column])}</b>{unit}"
        if self.low is not None and self.high is not None:
            words += f" [{number(self.low[row, column])}, {number(self.high[row, column])}]"
        if self.control is not None:
            words += f" · control {number(self.control[row, column])}"
        if self.null is not None:
            low, high = (number(end[row, column]) for end in self.null)
            words += f" · by chance {low} to {high}"
        return words

    def below_null(self) -> np.ndarray:
        """True where a cell cannot be told from chance; nowhere when nothing says so. bool [row, column]"""
        if self.within is not None:
            return np.asarray(self.within)
        if self.threshold is None:
            return np.zeros(np.shape(self.values), bool)
        size = np.asarray(self.size)
        digits = np.finfo(size.dtype).eps if np.issubdtype(size.dtype, np.floating) else 0.0
        return size.astype(np.float64) <= self.threshold * (1 + ROUNDINGS * digits)  # equal but for the last digits

    def ranks(self) -> np.ndarray:
        """Rank of each cell by effect size, 1 = largest, equal cells share the better rank, NaN is 0. [row, column]"""
        size = np.asarray(self.size, np.float64)
        known = np.sort(size[~np.isnan(size)])
        above = len(known) - np.searchsorted(known, size, side="right")
        return np.where(np.isnan(size), 0, above + 1)

    def limits(self) -> tuple[float, float]:
        """Ends of the colour scale: symmetric about zero when signed, else from zero to the largest value."""
        size = np.abs(self.values) if self.signed else np.asarray(self.values)
        finite = size[np.isfinite(size)]
        largest = float(finite.max(initial=0)) or 1.0
        return (-largest, largest) if self.signed else (min(0.0, float(finite.min(initial=0))), largest)


@dataclass(frozen=True)
class Axes:
    """Names and labels of the rows and columns of a grid. The default names heads "18.6".

    ``turns`` False: columns run across whatever the shape, as time does.
    """

    row: str = "layer"
    column: str = "head"
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()
    turns: bool = True

    @property
    def names_heads(self) -> bool:
        """Whether a cell is an attention head, written "18.6"."""
        return (self.row, self.column) == ("layer", "head")

    def labels(self, shape: tuple[int, int]) -> tuple[list[str], list[str]]:
        """Row and column labels of a grid of that shape: their numbers where none were given."""
        given = (self.rows, self.columns)
        for name, labels, size in zip((self.row, self.column), given, shape):
            if labels and len(labels) != size:
                raise ValueError(f"{len(labels)} labels for {size} cells along {name}; give one label each.")
        rows, columns = (list(labels) or [str(i) for i in range(size)] for labels, size in zip(given, shape))
        return rows, columns

    def name(self, row: str, column: str) -> str:
        """A cell in words: "head 18.6", or "layer 3 · position ' Mary'". Not escaped."""
        if self.names_heads:
            return f"head {row}.{column}"
        return f"{self.row} {row} · {self.column} {column}"


HEADS = Axes()
