"""Pronoun agreement: "Mary is a great friend, isn’t" → " she" against the mean of " he" and " it"."""

from lens.analysis.interventions.tasks.prompts import PromptPair, problem_of
from lens.analysis.interventions.tasks.task import Task, make_task
from lens.analysis.interventions.tasks.words import HER, HIM, PRONOUN_FRAMES, PRONOUNS
from lens.hooked import HookedTransformer

APOSTROPHES = {"curly": "’", "straight": "'"}
HE, SHE, _ = PRONOUNS


def pronouns(model: HookedTransformer, apostrophe: str = "curly", n_frames: int = 8, n_names: int = 8) -> Task:
    """Sentences x couples of a woman and a man x both ways: each is once clean and once what the other is corrupted by.

    The two names of a couple have as many tokens; a name that finds no such partner is left out, with its reason.
    """
    if apostrophe not in APOSTROPHES:
        raise ValueError(f"pronouns: apostrophe={apostrophe!r}; it must be 'curly' or 'straight'.")
    texts = [f"{{}} is {what}, isn{APOSTROPHES[apostrophe]}t" for what in PRONOUN_FRAMES[:n_frames]]
    couples, left_out = _couples(model, texts[0], n_names)
    prompts = []
    for number, (her, him) in enumerate(couples):
        for frame, text in enumerate(texts):
            ways = [_prompt(text, her, him, SHE), _prompt(text, him, her, HE)]
            ways = ways[::-1] if (number - frame) % 2 else ways  # so that neither pronoun is always asked for first
            prompts += [one._replace(frame=frame, name=number) for one in ways]
    good = [prompt for prompt in prompts if not problem_of(model, prompt)]
    about = f"{len(texts)} sentences x {len(couples)} couples x both ways, {apostrophe} apostrophe: {len(good)} pairs"
    return make_task(model, "pronoun", good, about, left_out, swapped=True)


def _prompt(text: str, name: str, other: str, right: str) -> PromptPair:
    wrong = tuple(one for one in PRONOUNS if one != right)
    return PromptPair(text.format(name), text.format(other), (right,), wrong)


def _couples(model: HookedTransformer, text: str, wanted: int) -> tuple[list[tuple[str, str]], list[str]]:
    """Each woman with the first man whose name has as many tokens at the start of a text."""
    couples, left_out, free = [], [], list(HIM)
    for her in HER:
        if len(couples) == wanted or not free:
            break
        problems = {him: problem_of(model, _prompt(text, her, him, SHE)) for him in free}
        fits = [him for him in free if not problems[him]]
        if fits:
            couples.append((her, fits[0]))
            free.remove(fits[0])
        else:
            left_out.append(f"{her}: {problems[free[0]]}")
    return couples, left_out
