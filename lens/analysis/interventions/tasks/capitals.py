"""Capital cities: "The capital of France is the city of" → " Paris"."""

import torch

from lens.analysis.interventions.tasks.prompts import PromptPair, problem_of
from lens.analysis.interventions.tasks.task import Task, make_task
from lens.analysis.interventions.tasks.words import CAPITAL_FRAMES, CAPITALS
from lens.hooked import HookedTransformer


def capitals(model: HookedTransformer, n_frames: int = 8, n_names: int = 8, seed: int = 0) -> Task:
    """Sentences x couples of countries x both ways: each country is once clean and once what the other is corrupted by.

    The wrong answer is the other's capital. The two names have as many tokens; no country is in two couples. Capitals
    of several tokens are left out, with their reason.
    """
    order = torch.randperm(len(CAPITALS), generator=torch.Generator().manual_seed(seed)).tolist()
    free, couples, left_out = [list(CAPITALS)[i] for i in order], [], []
    while free and len(couples) < n_names:
        country, *rest = free
        other, reason = _partner(model, country, rest)
        if other:
            couples.append((country, other))
        else:
            left_out.append(reason)
        free = [one for one in rest if one != other]
    texts, prompts = CAPITAL_FRAMES[:n_frames], []
    for number, couple in enumerate(couples):
        for frame, text in enumerate(texts):
            ways = couple[::-1] if (number - frame) % 2 else couple
            prompts += [_prompt(text, *both, frame, number) for both in (ways, ways[::-1])]
    good = [prompt for prompt in prompts if not problem_of(model, prompt)]
    about = f"{len(texts)} sentences x {len(couples)} couples of countries x both ways, {len(good)} pairs; seed {seed}"
    return make_task(model, "capital", good, about, left_out, swapped=True)


def _prompt(text: str, country: str, other: str, frame: int, number: int) -> PromptPair:
    answers = ((f" {CAPITALS[country]}",), (f" {CAPITALS[other]}",))
    return PromptPair(text.format(country), text.format(other), *answers, frame, number)


def _partner(model: HookedTransformer, country: str, others: list[str]) -> tuple[str, str]:
    """The first other country that fits, or "" and the first problem."""
    problem = "no other country is left"
    for number, other in enumerate(others):
        found = problem_of(model, _prompt(CAPITAL_FRAMES[0], country, other, 0, 0))
        if not found:
            return other, ""
        problem = found if number == 0 else problem
    return "", f"{country}: {problem}"
