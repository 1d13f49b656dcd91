"""Greater-than: "The war lasted from the year 1743 to the year 17" → a later year."""

import torch

from lens.analysis.interventions.intervention import Metric
from lens.analysis.interventions.tasks.prompts import PromptPair, problem_of
from lens.analysis.interventions.tasks.task import Task, make_task
from lens.analysis.interventions.tasks.words import NOUNS
from lens.hooked import HookedTransformer

DECADES = 8  # of one-digit answers: each year has a decade of its own, 172… to 179…


def greater_than(model: HookedTransformer, n_frames: int = 8, n_years: int = 8, seed: int = 0) -> Task:
    """Sentences x years; right are all endings above the year's, wrong those up to it. Corrupted: the year ends in 01.

    A tokenizer that keeps two digits together answers with two digits, as in the source; one that splits every digit
    gets "… from 1743 to the year 174" and answers with one. Measured as probability of the right minus of the wrong.
    Source: Hanna et al. 2023, "How does GPT-2 compute greater-than?".
    """
    generator = torch.Generator().manual_seed(seed)
    nouns = [NOUNS[i] for i in torch.randperm(len(NOUNS), generator=generator)][:n_frames]
    two, problem = _prompts(model, nouns, n_years, generator, digits=2)
    one, other = ([], "") if two else _prompts(model, nouns, n_years, generator, digits=1)
    left_out = [reason for reason in (problem, other) if reason]
    made, how = (two, "two-digit") if two else (one, "one-digit")
    n_years = len({prompt.name for prompt in made})
    about = f"{len(nouns)} nouns x {n_years} years, {how} answers, {len(made)} pairs; seed {seed}"
    return make_task(model, "greater-than", made, about, left_out, Metric("prob_diff"))


def _prompts(
    model: HookedTransformer, nouns: list[str], n_years: int, generator: torch.Generator, digits: int
) -> tuple[list[PromptPair], str]:
    """All prompts, or none and the first problem."""
    size = 10**digits
    low, high = (2, 8) if digits == 1 else (11, 89)
    drawn = [torch.randperm(high - low, generator=generator) + low for _ in range(DECADES)]
    years = torch.cat(drawn)[: min(n_years, DECADES if digits == 1 else high - low)].tolist()
    prompts = []
    for number, year in enumerate(years):
        century = "17" if digits == 2 else f"17{number + 2}"
        endings = [str(i).zfill(digits) for i in range(size)]
        for frame, noun in enumerate(nouns):
            text = f"The {noun} lasted from the year {century}{{}} to the year {century}"
            corrupted = "01" if digits == 2 else "1"
            sides = (text.format(endings[year]), text.format(corrupted))
            prompts.append(PromptPair(*sides, tuple(endings[year + 1 :]), tuple(endings[: year + 1]), frame, number))
    problems = [problem for prompt in prompts if (problem := problem_of(model, prompt))]
    return ([], f"{digits} digits: {problems[0]}") if problems else (prompts, "")
