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


def ids_of(model: HookedTransformer, text: str, prepend_bos: bool | None = None) -> tuple[int, ...]:
    """Ids of one prompt, with the model's own policy for BOS unless told otherwise."""
    return tuple(model.to_tokens(text, prepend_bos)[0].tolist())


def answer_id(model: HookedTransformer, prompt: str, answer: str) -> int:
    """The id that continues ``prompt`` to ``prompt + answer``; ValueError, with the way out, unless it is one token."""
    before = model.needs_tokenizer().encode(prompt, add_special_tokens=False)
    after = model.tokenizer.encode(prompt + answer, add_special_tokens=False)
    if after[:-1] == before:
        return after[-1]
    if not answer:
        raise ValueError("An answer is empty; write the word that should come next.")
    hint = "Use another word, or only its first token as the answer."
    if not answer.startswith(" ") and _is_one(model, before, f"{prompt} {answer}"):
        hint = f"' {answer}', with its space, is one."
    if after[: len(before)] != before:
        raise ValueError(f"{answer!r} merges with the end of the prompt, so it is no token of its own. {hint}")
    pieces = " | ".join(map(visible, model.to_str_tokens(answer, prepend_bos=False)))
    n_tokens = len(after) - len(before)
    raise ValueError(f"{n_tokens} tokens for {answer!r} ({pieces}); an answer must be one token. {hint}")


def _is_one(model: HookedTransformer, before: list[int], text: str) -> bool:
    return model.tokenizer.encode(text, add_special_tokens=False)[:-1] == before


def check(
    model: HookedTransformer, prompt: PromptPair, prepend_bos: bool | None = None, longest: int | None = None
) -> Checked:
    """How the two prompts align, and the first thing that keeps them from being patched; ``longest`` in tokens."""
    problem = ""
    sides = []
    for text in (prompt.clean, prompt.corrupted):
        try:
            sides.append(ids_of(model, text, prepend_bos))
        except ValueError as error:
            return Checked(prompt, (), (), (), str(error))
    labels = [tuple(map(visible, model.to_str_tokens(list(ids)))) for ids in sides]
    differs = tuple(a != b for a, b in zip(*sides))
    try:
        _check_ids(*sides, labels)
        _check_answers(prompt)
        for answer in (*prompt.answers, *prompt.wrong):
            answer_id(model, prompt.clean, answer)
        if longest is not None and len(sides[0]) > longest:
            raise ValueError(
                f"It has {len(sides[0])} tokens; at most {longest} are patched here. Shorten both prompts."
            )
    except ValueError as error:
        problem = str(error)
    return Checked(prompt, *labels, differs, problem)


def _check_ids(clean: tuple[int, ...], corrupted: tuple[int, ...], labels: Sequence[tuple[str, ...]]) -> None:
    if len(clean) != len(corrupted):
        first = next((i for i, (a, b) in enumerate(zip(clean, corrupted)) if a != b), min(len(clean), len(corrupted)))
        rest = [" | ".join(side[first : first + 4]) or "nothing" for side in labels]
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
    for number, checked in enumerate(check_all(model, prompts, prepend_bos)):
        if checked.problem:
            raise ValueError(f"Pair {number + 1} ({checked.prompt.clean!r}): {checked.problem}")
    return Pairs(
        clean=tuple(ids_of(model, prompt.clean, prepend_bos) for prompt in prompts),
        corrupted=tuple(ids_of(model, prompt.corrupted, prepend_bos) for prompt in prompts),
        answers=tuple(tuple(answer_id(model, prompt.clean, one) for one in prompt.answers) for prompt in prompts),
        wrong=tuple(tuple(answer_id(model, prompt.clean, one) for one in prompt.wrong) for prompt in prompts),
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
