"""The lists of words that few-shot tasks are made of, and the names of the tasks. Imports no torch: menus read it."""

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

WORDS = Path(__file__).parents[2] / "assets" / "few_shot.csv"
TASKS = {
    "capital": "Capital",
    "language": "Language",
    "plural": "Plural",
    "past_tense": "Past tense",
    "antonym": "Antonym",
    "next_letter": "Next letter",
    "upper_case": "Upper case",
    "next_number": "Next number",
    "number_word": "Next number word",
}
SHOTS = (0, 1, 2, 4, 8)  # questions with answers before the one that is asked


class Question(NamedTuple):
    """One row of a task: "France" and "Paris"."""

    question: str
    answer: str


@cache
def words_of(task: str) -> tuple[Question, ...]:
    """All rows of a task; no question and no answer stands in it twice. ValueError for a task there is not."""
    if task not in TASKS:
        raise ValueError(f"words_of: task={task!r}; it must be one of {', '.join(TASKS)}.")
    with WORDS.open(encoding="utf-8", newline="") as file:
        return tuple(Question(row["question"], row["answer"]) for row in csv.DictReader(file) if row["task"] == task)
