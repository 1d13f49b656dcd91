"""Capital cities: "The capital of France is the city of" → " Paris"."""

import torch

from lens.analysis.interventions.tasks.prompts import PromptPair, check
from lens.analysis.interventions.tasks.task import Task, make_task
from lens.analysis.interventions.tasks.words import CAPITAL_FRAMES, CAPITALS
from lens.hooked import HookedTransformer


def capitals(model: HookedTransformer, n_frames: int = 4, n_names: int = 6, seed: int = 0) -> Task:
    """Sentences x countries. Corrupted: another country of as many tokens; the wrong answer is its capital.

    Capitals of several tokens are left out, with their reason.
    """
    countries = list(CAPITALS)
    order = torch.randperm(len(countries), generator=torch.Generator().manual_seed(seed)).tolist()
    used, left_out, number = [], [], 0
    for i in order:
        if number == n_names:
            break
        found, reason = _couple(model, countries[i], [countries[j] for j in order if j != i])
        if not found:
            left_out.append(reason)
            continue
        for frame, text in enumerate(CAPITAL_FRAMES[:n_frames]):
            used.append(_prompt(text, countries[i], found, frame, number))
        number += 1
    good = [prompt for prompt in used if not check(model, prompt).problem]
    about = f"{min(n_frames, len(CAPITAL_FRAMES))} sentences x {number} countries, {len(good)} pairs; seed {seed}"
    return make_task(model, "capital", good, about, left_out)


def _prompt(text: str, country: str, other: str, frame: int, number: int) -> PromptPair:
    answers = ((f" {CAPITALS[country]}",), (f" {CAPITALS[other]}",))
    return PromptPair(text.format(country), text.format(other), *answers, frame, number)


def _couple(model: HookedTransformer, country: str, others: list[str]) -> tuple[str, str]:
    """The first other country that fits, or the first problem."""
    problem = ""
    for other in others:
        checked = check(model, _prompt(CAPITAL_FRAMES[0], country, other, 0, 0))
        if not checked.problem:
            return other, ""
        problem = problem or checked.problem
    return "", f"{country}: {problem}"
