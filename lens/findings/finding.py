"""What a finding is, and how long its parts may be."""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

FORMAT, VERSION = "lens findings", 1
MOST = 200  # findings of a file
LARGEST = 30_000_000  # bytes of a file
LONGEST = {  # characters
    "page": 40, "claim": 2000, "note": 8000, "model": 400, "dtype": 40, "sample": 2000, "date": 20, "code": 100_000,
    "figure": 4_000_000, "html": 1_000_000,
}  # fmt: skip
LONGEST_VALUE = 20_000  # characters of one field of an address
LONGEST_TITLE = 200


class Finding(NamedTuple):
    """One view, and what is claimed of it. Numbers and figure are those of the day it was kept."""

    page: str  # its name; "" is Home
    view: Mapping[str, str]  # what its address says
    claim: str
    note: str = ""
    model: str = ""  # with its checkpoint, as the page named it
    dtype: str = ""
    sample: str = ""  # what the figure was measured on, in words
    date: str = ""  # 2026-11-28T09:00:00Z
    code: str = ""  # the Python that computes the page's numbers again
    figure: str = ""  # plotly's JSON
    html: str = ""  # of a view that is no chart

    def link(self, root: str = "") -> str:
        """Its address; ``root`` is that of the app."""
        query = urlencode(self.view)
        return f"{root.rstrip('/')}/{self.page}" + (f"?{query}" if query else "")

    @property
    def source(self) -> str:
        """Model, number format, sample and day, in one line."""
        return " · ".join(filter(None, (self.model, self.dtype, self.sample, self.date[:10])))

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return sum(len(part) for part in self if isinstance(part, str)) + len(str(self.view))


class Findings(NamedTuple):
    """Some of them, in the order they are told."""

    title: str
    items: tuple[Finding, ...]
