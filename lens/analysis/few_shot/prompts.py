"""Few-shot prompts made for the model at hand: eight answered questions, then one more, beside the same with the
labels shuffled.

A prompt of eight shots holds prompts of fewer: what the model says after the answer mark of question k has seen k
questions with their answers and nothing else. So one run of a prompt is read at every number of shots.
"""

from typing import NamedTuple

import torch

from lens.analysis.counts import counted
from lens.analysis.few_shot.words import SHOTS, Question, words_of
from lens.analysis.interventions.pairs import Pairs
from lens.analysis.interventions.tasks.prompts import answer_id
from lens.analysis.least import MIN_SAMPLES
from lens.hooked import HookedTransformer

MOST = 24  # prompts of a task
FORMAT = "Q: {question}\nA: {answer}\n\n"
ASKED = "Q: {question}\nA:"


class FewShot(NamedTuple):
    """Prompts of one task. Clean: the labels are right; corrupted: the same labels, shuffled among the examples."""

    name: str
    pairs: Pairs  # of the most shots, with the answer of the last question
    places: tuple[tuple[int, ...], ...]  # of each prompt, where the answer after each of SHOTS is predicted
    answers: tuple[tuple[int, ...], ...]  # the right ids there
    description: str  # how they were made, with numbers and seed
    left_out: tuple[str, ...]  # words that were not used, each with its reason


class _Usable(NamedTuple):
    words: list[Question]
    ids: list[int]  # of the answers
    left_out: list[str]


def few_shot(model: HookedTransformer, name: str, seed: int = 0, prepend_bos: bool | None = None) -> FewShot:
    """Prompts "Q: x\\nA: y\\n\\n … Q: x\\nA:" of the task; at most 24, each word asked once at every number of shots.

    Only words whose answer is one token after "A:" are used. ValueError, with the reason, where fewer than 16 are, or
    where a prompt does not fit into the model's context.
    """
    usable = _usable(model, name)
    if len(usable.words) < MIN_SAMPLES:
        reasons = f" ({'; '.join(usable.left_out[:2])})" if usable.left_out else ""
        raise ValueError(
            f"{len(usable.words)} of {len(words_of(name))} answers are one token of their own after “A:” for "
            f"{model.name}, at least {MIN_SAMPLES} are needed{reasons}"
        )
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(usable.words), generator=generator).tolist()[:MOST]
    words, ids = [usable.words[i] for i in order], [usable.ids[i] for i in order]
    shifts = [*(1 + torch.randperm(len(words) - 1, generator=generator))[: SHOTS[-1]].tolist(), 0]
    prompts = []
    for asked in range(len(words)):
        slots = [(asked + shift) % len(words) for shift in shifts]
        labels = [slots[i] for i in _shuffled(SHOTS[-1], generator)]
        prompts.append(_prompt(model, words, ids, slots, labels, prepend_bos))
    clean, corrupted, places = zip(*prompts)
    right = tuple(tuple(ids[(at + shifts[k]) % len(words)] for k in SHOTS) for at in range(len(words)))
    pairs = Pairs(clean, corrupted, tuple((row[-1],) for row in right), names=tuple(range(len(words))))
    about = (
        f"{counted(len(words), 'prompt')} of {SHOTS[-1]} examples, each word asked once at every number of shots; "
        f"labels shuffled among the examples, none stays; seed {seed}"
    )
    return FewShot(name, pairs, places, right, about, tuple(usable.left_out))


def few_shot_or_reason(
    model: HookedTransformer, name: str, seed: int = 0, prepend_bos: bool | None = None
) -> FewShot | str:
    """:func:`few_shot`, or why the task is not applicable to this model: an answer as well."""
    try:
        return few_shot(model, name, seed, prepend_bos)
    except ValueError as error:
        return str(error)


def _usable(model: HookedTransformer, name: str) -> _Usable:
    words, ids, left_out = [], [], []
    for word in words_of(name):
        try:
            answer = answer_id(model, ASKED.format(question=word.question), f" {word.answer}")
        except ValueError as error:
            left_out.append(f"{word.question}: {error}".removesuffix("."))
            continue
        if answer in ids:
            left_out.append(f"{word.question}: its answer is the token of another")
            continue
        words.append(word)
        ids.append(answer)
    return _Usable(words, ids, left_out)


def _shuffled(n: int, generator: torch.Generator) -> list[int]:
    """An order in which no label stays with its question, and none stands before its own question is asked.

    The second for the numbers of shots that are read: the answer would stand in the examples.
    """
    while True:
        order = torch.randperm(n, generator=generator).tolist()
        early = any(asked in order[:asked] for asked in SHOTS if 0 < asked < n)
        if not early and all(at != label for at, label in enumerate(order)):
            return order


def _prompt(
    model: HookedTransformer,
    words: list[Question],
    ids: list[int],
    slots: list[int],
    labels: list[int],
    prepend_bos: bool | None,
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """One prompt with right labels and with those of ``labels``, and where the answers after SHOTS are predicted."""
    sides, places = [], []
    for shown in (slots, labels):
        text, places = "", []
        for at, slot in enumerate(slots):
            asked = text + ASKED.format(question=words[slot].question)
            if at in SHOTS:
                places.append(len(model.all_ids(asked, prepend_bos)) - 1)
            if at < SHOTS[-1]:
                text += FORMAT.format(question=words[slot].question, answer=words[shown[at]].answer)
        side = model.all_ids(asked, prepend_bos)
        _check(model, side, places, [ids[shown[at]] for at in SHOTS[:-1]])
        sides.append(tuple(side))
    if len(sides[0]) != len(sides[1]):
        raise ValueError(f"{model.name} reads shuffled labels as another number of tokens: no pair of prompts is made")
    return sides[0], sides[1], tuple(places)


def _check(model: HookedTransformer, side: list[int], places: list[int], shown: list[int]) -> None:
    if len(side) > model.cfg.n_ctx:
        raise ValueError(f"{SHOTS[-1]} examples take {len(side)} tokens, and {model.name} reads {model.cfg.n_ctx}")
    if any(side[at + 1] != label for at, label in zip(places, shown)):
        raise ValueError(f"{model.name} reads an example differently inside a prompt than at its end")
