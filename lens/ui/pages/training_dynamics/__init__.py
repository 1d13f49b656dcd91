"""When was it born?"""

import re

from lens.ui.fields import BadValue, Field, choice, flag, integer, number, short, word
from lens.ui.limits import limits
from lens.ui.page import Page

MOST_BESIDE = 4
MOST_TEXTS = 64  # the held-out text has a few more chapters
NAME = re.compile(r"(local:)?[A-Za-z0-9_][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,95})?")
AXES = {"linear": "Linear", "log": "Log"}
PLAYS = {"repeat": "Random repeat", "prompt": "Prompt"}
TABS = ("heads", "tokens", "order", "paths", "schedule", "table", "runs", "live")
TEXTS = {"passage": "Passage", "prompt": "Prompt"}
PLANES = {"trained": "Without the untrained", "all": "All"}
MOST_SEED, MOST_UNSEEN = 9999, 99
AUTO = "auto"
EDGES = ("first", "last")
BEFORE, AFTER = "before", "after"


def model_names(name: str, most: int) -> Field:
    """A list of models, ``lens-1l,lens-3l``; order kept, no repeats, never a path."""

    def read(text: str) -> tuple[str, ...]:
        words = [part for part in text.split(",") if part][: most + 1]
        bad = [part for part in words if not NAME.fullmatch(part) or ".." in part]
        models = tuple(dict.fromkeys(part for part in words if part not in bad))
        if bad:
            raise BadValue(f"{name} lists models by name; left out {', '.join(map(short, bad))}", use=models[:most])
        if len(models) > most:
            raise BadValue(f"at most {most} runs are shown {name} the first", use=models[:most])
        return models

    return Field(name, (), read, ",".join)


PAGE = Page(
    name="training_dynamics",
    section="Learn",
    title="Training dynamics",
    question="When was it born?",
    icon="timeline",
    options=(
        model_names("beside", MOST_BESIDE),
        choice("axis", "linear", tuple(AXES)),
        choice("play", "repeat", tuple(PLAYS)),
        number("born", 0.1, 0.001, 1.0),
        integer("texts", 16, low=1, high=MOST_TEXTS),
        integer("late", 200, high=4095),
        integer("early", 20, high=4095),
        integer("around", 10, high=100),
        word("first", AUTO),
        word("last", AUTO),
        choice("more", "heads", TABS),
        choice("text", "passage", tuple(TEXTS)),
        word(BEFORE, AUTO),
        word(AFTER, AUTO),
        choice("plane", "trained", tuple(PLANES)),
        integer("token", None, high=limits().text_tokens),
        integer("train_seed", 0, high=MOST_SEED),
        word("train_steps", "400"),
        integer("unseen", 0, high=MOST_UNSEEN),
        flag("watch", False),
    ),
    prompt=True,
)
