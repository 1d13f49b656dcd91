"""Where does each head look?"""

import re

from lens.ui.fields import BadValue, Field, choice, integer, short
from lens.ui.page import Page
from lens.ui.shared import reads

LOOKS = {"matrix": "Matrix", "text": "On the text", "maps": "Head maps", "all": "All heads"}
MEASURES = {"attention": "Attention", "log": "Log, nats", "moved": "Value-weighted"}
FIRST = {"auto": "Auto", "show": "Show", "hide": "Hide"}
OVER = {"head": "This head", "layer": "Its layer", "pins": "Pinned"}
GROUP = {name: OVER[name] for name in ("layer", "pins")}


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
    ),
    prompt=True,
)
