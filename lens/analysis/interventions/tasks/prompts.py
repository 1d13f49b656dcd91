"""Pairs of prompts as text, checked against a tokenizer before they become ids."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from lens.analysis.interventions.pairs import Pairs
from lens.hooked import HookedTransformer
from lens.tokens import visible


class PromptPair(NamedTuple):
    """One pair as text. ``answers`` and ``wrong`` continue the clean prompt, each with the space before it."""

    clean: str
    corrupted: str
    answers: tuple[str, ...]
    wrong: tuple[str, ...]
    frame: int = 0  # number of the sentence, for intervals
    name: int = 0  # number of what it was filled with


class Checked(NamedTuple):
    """One pair as the model reads it. ``problem`` is empty, or says what is wrong and the way out."""

    prompt: PromptPair
    clean: tuple[str, ...]  # tokens as labels
    corrupted: tuple[str, ...]
    differs: tuple[bool, ...]  # by position, as far as both go
    problem: str


def answer_id(model: HookedTransformer, prompt: str, answer: str) -> int:
    """The id that continues ``prompt`` to ``prompt + answer``; ValueError, with the way out, unless it is one token."""
    return answer_ids(model, prompt, (answer,))[0]


def answer_ids(model: HookedTransformer, prompt: str, answers: Sequence[str]) -> tuple[int, ...]:
    """:func:`answer_id` of several answers."""
    texts = [prompt, *(prompt + answer for answer in answers)]
    before, *after = model.needs_tokenizer()(texts, add_special_tokens=False)["input_ids"]
    for answer, ids in zip(answers, after):
        if ids[:-1] != before:
            raise ValueError(_why_no_token(model, prompt, answer, before, ids))
    return tuple(ids[-1] for ids in after)


def _why_no_token(model: HookedTransformer, prompt: str, answer: str, before: list[int], after: list[int]) -> str:
    """What is wrong with an answer that is not one token after ``before``, and the way out."""
    if not answer:
        return "An answer is empty; write the word that should come next."
    hint = "Use another word, or only its first token as the answer."
    if not answer.startswith(" ") and _is_one(model, before, f"{prompt} {answer}"):
        hint = f"' {answer}', with its space, is one."
    if after[: len(before)] != before:
        return f"{answer!r} merges with the end of the prompt, so it is no token of its own. {hint}"
    pieces = " | ".join(map(visible, model.to_str_tokens(answer, prepend_bos=False)))
    return f"{len(after) - len(before)} tokens for {answer!r} ({pieces}); an answer must be one token. {hint}"


def _is_one(model: HookedTransformer, before: list[int], text: str) -> bool:
    return model.tokenizer.encode(text, add_special_tokens=False)[:-1] == before


class _Ids(NamedTuple):
    """A pair as ids."""

    clean: tuple[int, ...]
    corrupted: tuple[int, ...]
    answers: tuple[int, ...]
    wrong: tuple[int, ...]


def _read(model: HookedTransformer, prompt: PromptPair, prepend_bos: bool | None) -> _Ids:
    """The pair as ids; ValueError with the first thing that keeps it from being patched."""
    clean, corrupted = (tuple(model.ids(text, prepend_bos)) for text in (prompt.clean, prompt.corrupted))
    _check_ids(model, clean, corrupted)
    _check_answers(prompt)
    answers = answer_ids(model, prompt.clean, (*prompt.answers, *prompt.wrong))
    n = len(prompt.answers)
    return _Ids(clean, corrupted, answers[:n], answers[n:])


def problem_of(model: HookedTransformer, prompt: PromptPair, prepend_bos: bool | None = None) -> str:
    """The first thing that keeps a pair from being patched, or ""."""
    try:
        _read(model, prompt, prepend_bos)
    except ValueError as error:
        return str(error)
    return ""


def check(
    model: HookedTransformer, prompt: PromptPair, prepend_bos: bool | None = None, longest: int | None = None
) -> Checked:
    """How the two prompts align, and what :func:`problem_of` says of them; ``longest`` in tokens."""
    try:
        sides = [model.ids(text, prepend_bos) for text in (prompt.clean, prompt.corrupted)]
    except ValueError as error:
        return Checked(prompt, (), (), (), str(error))
    differs = tuple(a != b for a, b in zip(*sides))
    problem = problem_of(model, prompt, prepend_bos)
    if not problem and longest is not None and len(sides[0]) > longest:
        problem = f"It has {len(sides[0])} tokens; at most {longest} are patched here. Shorten both prompts."
    return Checked(prompt, *(_labels(model, ids) for ids in sides), differs, problem)


def _labels(model: HookedTransformer, ids: Sequence[int]) -> tuple[str, ...]:
    return tuple(map(visible, model.to_str_tokens(list(ids))))


def _check_ids(model: HookedTransformer, clean: tuple[int, ...], corrupted: tuple[int, ...]) -> None:
    if len(clean) != len(corrupted):
        first = next((i for i, (a, b) in enumerate(zip(clean, corrupted)) if a != b), min(len(clean), len(corrupted)))
        rest = [" | ".join(_labels(model, side)[first : first + 4]) or "nothing" for side in (clean, corrupted)]
        raise ValueError(
            f"The clean prompt has {len(clean)} tokens, the corrupted one {len(corrupted)}. They part at position "
            f"{first}: {rest[0]} against {rest[1]}. "
            "Choose words with as many tokens on both sides, such as names of one token."
        )
    if clean == corrupted:
        raise ValueError(
            "Both prompts are the same: there is nothing to patch. Change the words that carry the answer."
        )


def _check_answers(prompt: PromptPair) -> None:
    if prompt.clean.endswith(" "):
        raise ValueError("The prompt ends with a space. Take it away; the answer has its own space before it.")
    if not prompt.answers:
        raise ValueError("No right answer is given; write the token that should come next.")
    both = set(prompt.answers) & set(prompt.wrong)
    if both:
        raise ValueError(f"{sorted(both)[0]!r} is both a right and a wrong answer. Leave it out on one side.")


def check_all(
    model: HookedTransformer,
    prompts: Sequence[PromptPair],
    prepend_bos: bool | None = None,
    longest: int | None = None,
) -> list[Checked]:
    """:func:`check` of every pair."""
    return [check(model, prompt, prepend_bos, longest) for prompt in prompts]


def to_pairs(model: HookedTransformer, prompts: Sequence[PromptPair], prepend_bos: bool | None = None) -> Pairs:
    """The prompts as ids; ValueError with the first problem, and with the pair that has it."""
    pairs = []
    for number, prompt in enumerate(prompts, 1):
        try:
            pairs.append(_read(model, prompt, prepend_bos))
        except ValueError as error:
            raise ValueError(f"Pair {number} ({prompt.clean!r}): {error}") from error
    return Pairs(
        clean=tuple(pair.clean for pair in pairs),
        corrupted=tuple(pair.corrupted for pair in pairs),
        answers=tuple(pair.answers for pair in pairs),
        wrong=tuple(pair.wrong for pair in pairs),
        frames=tuple(prompt.frame for prompt in prompts),
        names=tuple(prompt.name for prompt in prompts),
    )


def in_rounds(prompts: Sequence[PromptPair]) -> list[PromptPair]:
    """The same prompts in an order in which every beginning uses the frames and the names about equally often."""
    n_names = 1 + max((prompt.name for prompt in prompts), default=0)
    seen: Counter[tuple[int, int]] = Counter()
    keys = []
    for prompt in prompts:
        cell = (prompt.frame, prompt.name)
        keys.append((seen[cell], (prompt.name - prompt.frame) % n_names, prompt.frame))
        seen[cell] += 1
    return [prompts[i] for i in sorted(range(len(prompts)), key=keys.__getitem__)]
