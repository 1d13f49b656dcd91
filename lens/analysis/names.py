"""Names of heads and of places in their patterns, as people write them ("18.6", "18.6:5-3")."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from lens.config import Config

_WRITTEN = re.compile(r"[lL]?(\d{1,4})[.hH](\d{1,4})")


class Head(NamedTuple):
    """One attention head, zero-based. ``str(head)`` is "layer.head"."""

    layer: int
    head: int

    def __str__(self) -> str:
        return f"{self.layer}.{self.head}"


class PatternCell(NamedTuple):
    """One place of an attention pattern: from this query to this key, zero-based."""

    query: int
    key: int

    def __str__(self) -> str:
        return f"{self.query}-{self.key}"


class HeadCell(NamedTuple):
    """One place of the attention pattern of one head."""

    head: Head
    query: int
    key: int

    def __str__(self) -> str:
        return f"{self.head}:{self.query}-{self.key}"


def parse_head(text: str, cfg: Config) -> Head:
    """The head that "18.6", "L18H6" or "18h6" means in a model of this size.

    ValueError if it is written differently or does not exist.
    """
    match = _WRITTEN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no head. Write layer.head, both counted from 0, such as 0.1.")
    found = Head(int(match[1]), int(match[2]))
    check_heads([found], cfg)
    return found


def parse_heads(text: str, cfg: Config) -> list[Head]:
    """The heads of a list such as "18.6, 17.3" (commas or spaces), in order, repeats dropped; "" is no head."""
    return list(dict.fromkeys(parse_head(part, cfg) for part in re.split(r"[,\s]+", text.strip()) if part))


def check_heads(heads: Sequence[Head], cfg: Config) -> None:
    """ValueError that names the first of ``heads`` that a model of this size does not have."""
    for layer, head in heads:
        if not (0 <= layer < cfg.n_layers and 0 <= head < cfg.n_heads):
            raise ValueError(
                f"There is no head {layer}.{head}: this model has layers 0–{cfg.n_layers - 1} "
                f"with heads 0–{cfg.n_heads - 1}."
            )
