"""Heads that others have described: what a paper calls them, and where it says so. Imports no torch.

``assets/known_heads.csv`` has a row for each head of a paper, by the short name of its model. A role is what the paper
found with its own prompts and methods: it is no measurement of Lens, and another text may show the head otherwise.
"""

import csv
from functools import cache
from typing import NamedTuple

from lens.analysis.names import Head
from lens.load.entries import ASSETS, ENTRIES
from lens.planted.plants import NAMES

FILE = ASSETS / "known_heads.csv"
WHAT = "As papers call it, on their own prompts; not measured here."


class KnownHead(NamedTuple):
    """What a paper says of one head."""

    model: str  # short name
    head: Head
    role: str
    source: str
    number: str  # as published; "" where the paper gives none for this head alone

    @property
    def by_hand(self) -> bool:
        """Whether it was planted: its weights are written by hand, and no paper is about it."""
        return self.model in NAMES

    @property
    def words(self) -> str:
        """ "name mover (Wang et al. 2022)"."""
        return f"{self.role} ({self.source.partition(',')[0]})"


@cache
def known_heads() -> tuple[KnownHead, ...]:
    """All heads of the file, in its order."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return tuple(_read(row) for row in csv.DictReader(file))


def _read(row: dict[str, str]) -> KnownHead:
    layer, _, head = row["head"].partition(".")
    return KnownHead(row["model"], Head(int(layer), int(head)), row["role"], row["source"], row["number"])


def known_in(model: str, revision: str | None = None) -> dict[Head, tuple[KnownHead, ...]]:
    """What is known of the heads of a model, by any of its names; nothing of checkpoints: papers do not mean them."""
    wanted = model.lower()
    alias = next((entry.alias for entry in ENTRIES if wanted in map(str.lower, entry.names)), None)
    found: dict[Head, tuple[KnownHead, ...]] = {}
    for one in known_heads() if not revision else ():
        if one.model == alias:
            found[one.head] = (*found.get(one.head, ()), one)
    return found
