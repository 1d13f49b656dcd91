"""The user's own pairs, pasted as lines of text or as JSONL."""

from typing import Any

from lens.analysis.interventions.tasks.prompts import PromptPair
from lens.untrusted import NotJson, half_character, parse_json

TEXT_FORM = "clean prompt | corrupted prompt | answer | wrong answer"
JSONL_FORM = '{"clean": "…", "corrupted": "…", "answer": " …", "wrong": [" …", " …"]}'
MOST = 200  # pairs
MOST_CHARACTERS = 2000  # of a prompt


def parse_pairs(text: str) -> list[PromptPair]:
    """Pairs from lines in ``TEXT_FORM`` or ``JSONL_FORM``; ValueError names the line and what it lacks.

    In the text form the fields are trimmed, several answers are separated by commas, and each gets a space before it,
    as words have. JSONL is taken exactly as it is.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise ValueError(f"No pairs are given. Write one per line: {TEXT_FORM}")
    if len(lines) > MOST:
        raise ValueError(f"{len(lines)} pairs; at most {MOST} can be read at once. Shorten the list.")
    return [_from_json(line, number) if line.startswith("{") else _from_text(line, number) for number, line in lines]


def _from_text(line: str, number: int) -> PromptPair:
    fields = [field.strip() for field in line.split("|")]
    if len(fields) not in (3, 4) or not all(fields):
        raise ValueError(f"Line {number} has {len(fields)} fields; wanted: {TEXT_FORM}")
    answers = [tuple(f" {one.strip()}" for one in field.split(",") if one.strip()) for field in fields[2:]]
    return _checked(fields[0], fields[1], answers[0], answers[1] if len(answers) == 2 else (), number)


def _from_json(line: str, number: int) -> PromptPair:
    try:
        entry = parse_json(line)
    except NotJson as error:
        raise ValueError(f"Line {number} is no JSON ({error}); wanted: {JSONL_FORM}") from error
    missing = [key for key in ("clean", "corrupted", "answer") if key not in entry]
    if missing:
        raise ValueError(f"Line {number} lacks {', '.join(missing)}; wanted: {JSONL_FORM}")
    sides = (entry["clean"], entry["corrupted"])
    if not all(isinstance(side, str) for side in sides):
        raise ValueError(f"Line {number}: clean and corrupted must be text; wanted: {JSONL_FORM}")
    return _checked(*sides, _texts(entry["answer"], number), _texts(entry.get("wrong", []), number), number)


def _texts(value: Any, number: int) -> tuple[str, ...]:
    many = [value] if isinstance(value, str) else value
    if not isinstance(many, list) or not all(isinstance(one, str) for one in many):
        raise ValueError(f"Line {number}: an answer must be text or a list of texts; wanted: {JSONL_FORM}")
    return tuple(many)


def _checked(clean: str, corrupted: str, answers: tuple[str, ...], wrong: tuple[str, ...], number: int) -> PromptPair:
    for text in (clean, corrupted, *answers, *wrong):
        if half := half_character(text):
            raise ValueError(f"Line {number}: {half}. Take it out.")
    longest = max(len(clean), len(corrupted))
    if longest > MOST_CHARACTERS:
        raise ValueError(f"Line {number}: a prompt of {longest} characters; at most {MOST_CHARACTERS} can be read.")
    return PromptPair(clean, corrupted, answers, wrong, number, number)
