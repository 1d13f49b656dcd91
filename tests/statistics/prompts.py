"""Tasks of random ids: frames x names, in which a random model can do nothing but by chance."""

import torch

from lens.analysis.interventions import Pairs
from lens.analysis.interventions.tasks.prompts import PromptPair, in_rounds

SHAPES = ("ioi", "capital", "pronoun")


def frames_and_names(shape: str, seed: int, n: int = 16, side: int = 8, d_vocab: int = 128) -> Pairs:
    """The first ``n`` pairs of ``side`` frames x ``side`` couples x both answers, drawn from the vocabulary.

    "ioi": both names and one again; "capital": every name has its own answer; "pronoun": one of two answers.
    """
    generator = torch.Generator().manual_seed(1000 + seed)
    ids = (torch.randperm(d_vocab - 1, generator=generator) + 1).tolist()
    names, words = ids[: 2 * side], ids[2 * side :]
    drawn = torch.randint(len(words), (side, 9), generator=generator).tolist()
    prompts = [
        _pair(shape, [words[i] for i in drawn[frame]], names[2 * which : 2 * which + 2], words, (frame, which, turn))
        for frame in range(side)
        for which in range(side)
        for turn in (0, 1)
    ]
    first = in_rounds(prompts)[:n]
    return Pairs(*zip(*first))


def _pair(shape: str, frame: list[int], couple: list[int], words: list[int], at: tuple[int, int, int]) -> PromptPair:
    number, which, turn = at
    swapped = (which - number + turn) % 2
    one, other = couple[::-1] if swapped else couple
    early, late = couple[::-1] if (which - number) // 2 % 2 == turn else couple
    if shape == "ioi":
        sides = [(0, frame[0], early, frame[1], late, *frame[2:5], again, *frame[5:]) for again in (other, one)]
        return PromptPair(*sides, (one,), (other,), number, which)
    sides = [(0, *frame[:4], name, *frame[4:]) for name in (one, other)]
    answers = words[2 * which : 2 * which + 2] if shape == "capital" else words[:2]
    right, wrong = answers[::-1] if swapped else answers
    return PromptPair(*sides, (right,), (wrong,), number, which)
