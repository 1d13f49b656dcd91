"""The lengths in the header of a GGUF file, added up before anyone reads by them.

The package gguf believes them: a damaged one keeps it busy for years, or fills the memory with empty entries.
"""

import mmap
import struct
from pathlib import Path

STRING, ARRAY = 8, 9
FIXED = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of one value, by its type
MOST_ENTRIES = 4_000_000  # of all lists together; the largest vocabularies have 300,000 tokens and as many merges
MOST_AXES = 4  # of a tensor, as in llama.cpp
BIG_ENDIAN = 1 << 16  # what a version is at least, read the wrong way round


def check_header(path: Path) -> None:
    """ValueError where the header of a GGUF file claims more than the file holds, or than any model needs."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            _Header(data).walk()
        except struct.error as error:
            raise ValueError("it ends in the middle of its header") from error


class _Header:
    """A place in the header that moves on."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at, self.entries = data, 4, 0

    def walk(self) -> None:
        """Over all fields and all descriptions of tensors."""
        if self.number("I") >= BIG_ENDIAN:
            return  # refused by whoever looks at the order of bytes
        n_tensors, n_fields = self.number("Q"), self.number("Q")
        for _ in range(n_fields):
            self.string()
            self.value(self.number("I"))
        for _ in range(n_tensors):
            self.string()
            axes = self.number("I")
            if axes > MOST_AXES:
                raise ValueError(f"a tensor has {axes} axes")
            self.skip(8 * axes + 4 + 8)

    def number(self, form: str) -> int:
        """An unsigned number here."""
        (found,) = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found

    def skip(self, n: int) -> None:
        """Over ``n`` bytes that must be there."""
        if n > len(self.data) - self.at:
            raise ValueError(f"a part of {n:,} bytes begins {len(self.data) - self.at:,} before its end")
        self.at += n

    def string(self) -> None:
        """Over a text."""
        self.skip(self.number("Q"))

    def value(self, kind: int) -> None:
        """Over a value of a type."""
        if kind == STRING:
            self.string()
        elif kind == ARRAY:
            self.array(self.number("I"), self.number("Q"))
        elif kind in FIXED:
            self.skip(FIXED[kind])
        else:
            raise ValueError(f"a field has the unknown type {kind}")

    def array(self, kind: int, n: int) -> None:
        """Over a list of values of one type, none of them a list."""
        self.entries += n
        if self.entries > MOST_ENTRIES or kind == ARRAY:
            raise ValueError(f"a list has {n:,} entries" if kind != ARRAY else "a list holds lists")
        if kind in FIXED:
            self.skip(n * FIXED[kind])
            return
        for _ in range(n):
            self.value(kind)
