"""Indirect object identification: "After John and Mary went to the store, Mary gave a drink to" → " John"."""

from itertools import product

import torch

from lens.analysis.interventions.tasks.prompts import PromptPair, answer_id, ids_of
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


def ioi(model: HookedTransformer, n_frames: int = 8, n_names: int = 4, seed: int = 0, corruption: str = "swap") -> Task:
    """``n_frames`` sentences x ``n_names`` pairs of names x both orders; all prompts have one length.

    The answer is the name that gives nothing. Source: Wang et al. 2022, "Interpretability in the wild".
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
    for (frame, text), (which, (a, b, c)) in product(enumerate(frames), enumerate(couples)):
        for first, second in ((a, b), (b, a)):
            clean = text.format(a=first, b=second, s=b)
            corrupted = text.format(a=first, b=second, s=a if corruption == "swap" else c)
            prompts.append(PromptPair(clean, corrupted, (f" {a}",), (f" {b}",), frame, which))
    about = (
        f"{len(frames)} sentences x {len(couples)} pairs of single-token names x both orders = {len(prompts)} pairs; "
        f"corrupted: {CORRUPTIONS[corruption]}; seed {seed}"
    )
    return make_task(model, "indirect object", prompts, about, left_out + dropped)


def _frames(
    model: HookedTransformer, names: list[str], wanted: int, generator: torch.Generator
) -> tuple[list[str], list[str]]:
    """Filled sentences of the commonest token length, the templates in turn."""
    every = [
        frame.replace("{place}", place).replace("{thing}", thing)
        for place, thing, frame in zip(*zip(*product(PLACES, THINGS, IOI_FRAMES)))
    ]
    order = [every[i] for i in torch.randperm(len(every), generator=generator)]
    lengths = [len(ids_of(model, text.format(a=names[0], b=names[1], s=names[1]))) for text in order]
    common = max(set(lengths), key=lambda length: (lengths.count(length), length))
    fitting = [text for text, length in zip(order, lengths) if length == common]
    dropped = len(order) - len(fitting)
    return fitting[:wanted], [f"{dropped} sentences have another length than {common} tokens"] if dropped else []


def _couples(names: list[str], wanted: int, generator: torch.Generator) -> list[tuple[str, str, str]]:
    """Different pairs of names, each with a third one."""
    couples = []
    while len(couples) < wanted:
        order = [names[i] for i in torch.randperm(len(names), generator=generator)]
        couples += [(*order[i : i + 2], order[i - 1]) for i in range(0, len(order) - 1, 2)]
    return couples[:wanted]
