"""The chapters of the tour and their steps, as data: on which page, what to do there, and what to watch. No imports.

Whether a step is done is checked in the file of this folder that is called like its chapter, from what the visitor did.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

MODEL = "lens-2l"  # a real run with all its checkpoints; it comes with Lens


class Step(NamedTuple):
    """One thing to do on the page whose title in the menu is ``page``.

    ``fields`` are those of the address with which the step begins; ``without`` go back to their defaults.
    """

    page: str
    ask: str  # the question it answers
    do: str  # one sentence
    watch: str  # one sentence; what is to be seen there, without saying what it will be
    fields: Mapping[str, str] = MappingProxyType({})
    without: tuple[str, ...] = ()


class Chapter(NamedTuple):
    """``name`` stands in the address, ``why.3``."""

    name: str
    title: str
    steps: tuple[Step, ...]


WHY = Chapter(
    "why",
    "Why does this head work?",
    (
        Step(
            "Head scores",
            "which head is it?",
            "Each cell of the grid is one head: click the brightest one.",
            "Below the grid stands its score, and what the best of all heads would reach by chance.",
            {"on": "random", "shown": "score", "score": "induction"},
            ("revision",),
        ),
        Step(
            "Attention",
            "where does it look?",
            "The head reads random tokens, then the same ones again: click a row in the lower half of the matrix, or "
            "choose such a token under Locked query.",
            "Watch under which token the bright cell of the row stands, and what came before that token.",
            {"reads": "repeat", "look": "matrix", "over": "head"},
            ("revision", "query", "start"),
        ),
        Step(
            "Attention",
            "does it do so on your words?",
            "Unfold the line under the title, and type a prompt of your own in which a name or a phrase "
            "comes twice; a click elsewhere applies it.",
            "Where it comes again, watch whether the head looks at what followed it the first time.",
            {"reads": "prompt", "look": "matrix", "over": "head"},
            ("revision", "query", "start", "prompt"),
        ),
        Step(
            "Why it looks there",
            "what does it need to find the place?",
            "Open the tab “Every cut” below, where each earlier write is cut out of what the head reads, one by one.",
            "Watch which cut takes most of the attention away, out of the keys and out of the queries.",
            {"where": "stripe"},
            ("revision", "query", "key", "more"),
        ),
        Step(
            "Ablation",
            "does the model need the head that feeds it?",
            "Choose One head under Remove, and set Layer and Head to the one that its keys read most.",
            "Watch how far the loss of the second copy goes up, beside other heads that are removed alike.",
            {"task": "induction", "what": "pins"},
            ("revision", "pins"),
        ),
    ),
)
BORN = Chapter(
    "born",
    "When was it born?",
    (
        Step(
            "Training dynamics",
            "is there a moment?",
            "Each line is one head, from the first token of training to the last: set Axis to Log, which gives the "
            "beginning room.",
            "In the first panel, watch where one line leaves the others, and what the losses do there.",
            {"score": "induction", "more": "schedule"},
            ("revision", "axis", "layer", "head", "pins"),
        ),
        Step(
            "Training dynamics",
            "what was the last checkpoint without it?",
            "Under Checkpoint, open the last one at which its line is below “born above”, or click that point of it.",
            "All pages open this checkpoint from now on; watch how far the next point is above it.",
            {"axis": "log"},
            ("revision",),
        ),
        Step(
            "Attention",
            "what did it do before?",
            "These are the weights of before: unfold the line under the title, and choose lens-2l under "
            "Compare with, which sets its final weights beside them.",
            "Watch the cells outlined in orange, where an induction head looks, here and in the comparison below.",
            {"reads": "repeat", "look": "matrix", "over": "head"},
            ("query", "start", "with_model", "with_prompt"),
        ),
        Step(
            "Training dynamics",
            "what had to be there first?",
            "In the second panel, Previous token, click the strong line, or pin its head in the line "
            "under the title that unfolds.",
            "Watch which line rises first: the one in this panel, or the one in the panel above.",
            {"axis": "log"},
            ("with_model", "pins"),
        ),
        Step(
            "Training dynamics",
            "would it be born again?",
            "Open the tab “How it was made, other seeds” below.",
            "Watch where the runs with other seeds end, and whether it is the same head that does it.",
            {"axis": "log"},
            ("more",),
        ),
    ),
)
CHAPTERS: Mapping[str, Chapter] = MappingProxyType({chapter.name: chapter for chapter in (WHY, BORN)})
NAMES = tuple(f"{name}.{number}" for name, of in CHAPTERS.items() for number in range(1, len(of.steps) + 1))


def place(name: str) -> tuple[Chapter, int]:
    """The chapter and the number of the step called ``why.3``; a step that is none raises KeyError."""
    chapter, _, number = name.partition(".")
    if name not in NAMES:
        raise KeyError(f"the tour has no step {name!r}; it has {', '.join(NAMES)}")
    return CHAPTERS[chapter], int(number)
