"""Where does each head look?"""

import re

from lens.analysis.names import Head, HeadCell, PatternCell
from lens.ui.fields import BadValue, Field, choice, flag, integer, short
from lens.ui.page import Page
from lens.ui.shared import reads

LOOKS = {"matrix": "Matrix", "text": "On the text", "maps": "Head maps", "all": "All heads"}
MEASURES = {"attention": "Attention", "log": "Log, nats", "moved": "Value-weighted"}
FIRST = {"auto": "Auto", "show": "Show", "hide": "Hide"}
OVER = {"head": "This head", "layer": "Its layer", "pins": "Pinned"}
GROUP = {name: OVER[name] for name in ("layer", "pins")}
CLICKS = {"lock": "Locks its query", "cut": "Cuts it", "hand": "By hand"}
RESTS = {"renormalised": "Renormalised", "lost": "Not renormalised"}
MOST_CUT = 64
CELL = re.compile(r"(\d{1,4})(?:-|–|>|->|→)(\d{1,4})")
HEAD_CELL = re.compile(rf"(?:(\d{{1,4}})\.(\d{{1,4}}):)?{CELL.pattern}")


def indices(name: str) -> Field:
    """A list of small whole numbers, ``0,3,5``; order kept, no repeats."""

    def read(text: str) -> tuple[int, ...]:
        words = [word.strip() for word in text.split(",") if word.strip()][:256]
        bad = [word for word in words if not re.fullmatch(r"\d{1,4}", word)]
        found = tuple(dict.fromkeys(int(word) for word in words if word not in bad))
        if bad:
            raise BadValue(f"{name} is written like 0,3,5; left out {', '.join(map(short, bad))}", use=found)
        return found

    return Field(name, (), read, lambda value: ",".join(map(str, value)))


def cell_list(name: str, most: int, heads: bool = False) -> Field:
    """A list of cells of a pattern, ``6-2,7-3`` = from query 6 to key 2 and from 7 to 3; order kept, no repeats.

    ``heads``: a cell may name its head, ``1.1:6-2``, and is a :class:`HeadCell` then; else it is of the current head.
    """
    pattern = HEAD_CELL if heads else CELL

    def read(text: str) -> tuple[PatternCell | HeadCell, ...]:
        words = [word for word in re.split(r"[,;\s]+", text) if word][: most + 1]
        bad = [word for word in words if not pattern.fullmatch(word)]
        named = tuple(dict.fromkeys(_cell(match.groups()) for word in words if (match := pattern.fullmatch(word))))
        if bad:
            raise BadValue(f"cells are written query-key, like 6-2,7-3; left out {', '.join(map(short, bad))}", named)
        if len(named) > most:
            raise BadValue(f"only {most} of the cells {'is' if most == 1 else 'are'} kept", named[:most])
        return named

    return Field(name, (), read, lambda value: ",".join(map(_written, value)))


def _written(cell: PatternCell | HeadCell | tuple[int, int]) -> str:
    return str(cell if isinstance(cell, HeadCell) else PatternCell(*cell))


def _cell(groups: tuple[str | None, ...]) -> PatternCell | HeadCell:
    *head, query, key = (None if group is None else int(group) for group in groups)
    return PatternCell(query, key) if None in head or not head else HeadCell(Head(*head), query, key)


PAGE = Page(
    name="attention",
    section="Look",
    title="Attention",
    question="Where does each head look?",
    icon="grid_on",
    options=(
        reads.FIELD,
        choice("look", "matrix", tuple(LOOKS)),
        choice("over", "head", tuple(OVER)),
        choice("group", "layer", tuple(GROUP)),
        indices("several"),
        choice("measure", "attention", tuple(MEASURES)),
        choice("first", "auto", tuple(FIRST)),
        integer("start", None),
        choice("clicks", "lock", tuple(CLICKS)),
        flag("cutting", False),
        cell_list("cut", MOST_CUT, heads=True),
        choice("rest", "renormalised", tuple(RESTS)),
        integer("place", None),
        flag("byhand", False),
        cell_list("cell", 1),
    ),
    prompt=True,
    compares=True,
)
