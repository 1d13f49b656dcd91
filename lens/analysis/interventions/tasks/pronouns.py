"""Pronoun agreement: "Mary is a great friend, isn’t" → " she" against the mean of " he" and " it"."""

from lens.analysis.interventions.tasks.prompts import PromptPair, check
from lens.analysis.interventions.tasks.task import Task, make_task
from lens.analysis.interventions.tasks.words import PRONOUN_FRAMES, PRONOUN_NAMES, PRONOUNS
from lens.hooked import HookedTransformer

APOSTROPHES = {"curly": "’", "straight": "'"}


def pronouns(model: HookedTransformer, apostrophe: str = "curly") -> Task:
    """5 frames x 5 names. Corrupted: the next name of the other gender; the wrong answers are the two other pronouns.

    A pair whose names have different numbers of tokens is left out, with its reason.
    """
    if apostrophe not in APOSTROPHES:
        raise ValueError(f"pronouns: apostrophe={apostrophe!r}; it must be 'curly' or 'straight'.")
    prompts, left_out = [], []
    for number, (name, right) in enumerate(PRONOUN_NAMES):
        rotated = PRONOUN_NAMES[number + 1 :] + PRONOUN_NAMES[:number]
        others = [other for other, pronoun in rotated if pronoun != right]
        wrong = tuple(one for one in PRONOUNS if one != right)
        for frame, what in enumerate(PRONOUN_FRAMES):
            text = f"{{}} is {what}, isn{APOSTROPHES[apostrophe]}t"
            made = [PromptPair(text.format(name), text.format(o), (right,), wrong, frame, number) for o in others]
            checked = [check(model, prompt) for prompt in made]
            good = [one.prompt for one in checked if not one.problem]
            prompts += good[:1]
            left_out += [f"{made[0].clean!r}: {checked[0].problem}"] if not good else []
    n_names = len({prompt.name for prompt in prompts})
    about = f"{len(PRONOUN_FRAMES)} frames x {n_names} names, {apostrophe} apostrophe: {len(prompts)} pairs"
    return make_task(model, "pronoun", prompts, about, left_out)
