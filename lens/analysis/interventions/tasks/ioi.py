"""Indirect object identification: "After John and Mary went to the store, Mary gave a drink to" → " John"."""

from itertools import product

import torch

from lens.analysis.interventions.tasks.prompts import PromptPair, answer_id
from lens.analysis.interventions.tasks.task import Task, make_task
from lens.analysis.interventions.tasks.words import HER, HIM, IOI_FRAMES, PLACES, THINGS
from lens.hooked import HookedTransformer

CORRUPTIONS = {
    "swap": "the giver becomes the other of the two",
    "third": "the giver becomes somebody else, so that neither name repeats",
}


def single_names(model: HookedTransformer, names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The names that are one token after a space, and a reason for each of the others."""
    good, reasons = [], []
    for name in names:
        try:
            answer_id(model, "Then", f" {name}")
            good.append(name)
        except ValueError:
            reasons.append(f"{name!r} is several tokens")
    return good, reasons


def ioi(model: HookedTransformer, n_frames: int = 8, n_names: int = 8, seed: int = 0, corruption: str = "swap") -> Task:
    """``n_frames`` sentences x ``n_names`` pairs of names x both answers; all prompts have one length.

    The answer is the name that gives nothing; each name of a pair is the answer once, and half of the answers come
    first. Sentences of one template count as one frame. Source: Wang et al. 2022, "Interpretability in the wild".
    """
    if corruption not in CORRUPTIONS:
        raise ValueError(f"ioi: corruption={corruption!r}; it must be one of {', '.join(CORRUPTIONS)}.")
    names, left_out = single_names(model, tuple(name for both in zip(HER, HIM) for name in both))
    if len(names) < 3:
        raise ValueError(
            f"ioi: only {len(names)} of {len(HER) + len(HIM)} common names are single tokens for {model.name}; "
            "at least 3 are needed. Use repeated random tokens, or your own pairs."
        )
    generator = torch.Generator().manual_seed(seed)
    frames, dropped = _frames(model, names, n_frames, generator)
    couples = _couples(names, n_names, generator)
    prompts = []
    for (frame, text), (which, (a, b, c)) in product(frames, enumerate(couples)):
        for answer in (0, 1):
            turn = which - frame + answer
            first, second = (a, b) if (which - frame) // 2 % 2 == answer else (b, a)
            right, wrong = (a, b) if turn % 2 == 0 else (b, a)
            clean = text.format(a=first, b=second, s=wrong)
            corrupted = text.format(a=first, b=second, s=right if corruption == "swap" else c)
            prompts.append(PromptPair(clean, corrupted, (f" {right}",), (f" {wrong}",), frame, which))
    about = (
        f"{len(frames)} sentences x {len(couples)} pairs of single-token names x both answers = {len(prompts)} pairs; "
        f"corrupted: {CORRUPTIONS[corruption]}; seed {seed}"
    )
    return make_task(model, "indirect object", prompts, about, left_out + dropped, swapped=corruption == "swap")


def _frames(
    model: HookedTransformer, names: list[str], wanted: int, generator: torch.Generator
) -> tuple[list[tuple[int, str]], list[str]]:
    """(template, filled sentence), all of one token length, that of most templates; no template twice if it can be."""
    every = list(product(range(len(IOI_FRAMES)), PLACES, THINGS))
    order = [every[i] for i in torch.randperm(len(every), generator=generator)]
    texts = [(t, IOI_FRAMES[t].replace("{place}", place).replace("{thing}", thing)) for t, place, thing in order]
    lengths = [len(model.ids(text.format(a=names[0], b=names[1], s=names[1]))) for _, text in texts]
    templates = {length: {t for (t, _), n in zip(texts, lengths) if n == length} for length in set(lengths)}
    common = max(templates, key=lambda length: (len(templates[length]), lengths.count(length), length))
    fitting = [one for one, length in zip(texts, lengths) if length == common]
    rounds = [sum(t == one[0] for t, _ in fitting[:i]) for i, one in enumerate(fitting)]  # templates in turn
    fitting = [fitting[i] for i in sorted(range(len(fitting)), key=rounds.__getitem__)]
    dropped = len(texts) - len(fitting)
    reasons = [f"{dropped} sentences have another length than {common} tokens"] if dropped else []
    numbers = {t: i for i, t in enumerate(dict.fromkeys(t for t, _ in fitting))}
    return [(numbers[t], text) for t, text in fitting[:wanted]], reasons


def _couples(names: list[str], wanted: int, generator: torch.Generator) -> list[tuple[str, str, str]]:
    """Pairs of names, each with a third one; no name in two pairs while there are others."""
    couples: list[tuple[str, str, str]] = []
    while len(couples) < wanted:
        order = [names[i] for i in torch.randperm(len(names), generator=generator)]
        couples += [(*order[i : i + 2], order[i - 1]) for i in range(0, len(order) - 1, 2)]
    return couples[:wanted]
