"""One prompt of an experiment by itself, up to one of its tokens, and which answers are right after it."""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from lens.analysis.interventions.intervention import Experiment, Metric
from lens.analysis.interventions.pairs import Ids, Pairs


class OnePrompt(NamedTuple):
    """An experiment for ``cell_change``, and the number of the prompt in it."""

    experiment: Experiment
    pair: int


def answers_at(pairs: Pairs, pair: int, pos: int) -> tuple[Ids, Ids]:
    """Ids of the right and wrong answers after ``pos``: the task's own at the end, the prompt's next token before."""
    ids = pairs.clean[pair]
    if pos + 1 < len(ids):
        return (ids[pos + 1],), ()
    right, wrong = (side[pair] if side else () for side in (pairs.answers, pairs.wrong))
    return right, wrong


def answer_kinds(pairs: Pairs, pair: int, tokens: Iterable[int], pos: int | None = None) -> list[str]:
    """Of each token whether it is a "right" or a "wrong" answer after ``pos``, by default the last; "" for neither."""
    right, wrong = answers_at(pairs, pair, len(pairs.clean[pair]) - 1 if pos is None else pos)
    return ["right" if int(token) in right else "wrong" if int(token) in wrong else "" for token in tokens]


def one_prompt(experiment: Experiment, pair: int, pos: int | None = None) -> OnePrompt:
    """``experiment`` on one prompt alone, cut after ``pos``; None: whole, without answers. A mean needs all prompts."""
    mean = experiment.intervention.put == "mean"
    right, wrong = ((), ()) if pos is None else answers_at(experiment.pairs, pair, pos)
    pairs, stop = experiment.pairs if mean else experiment.pairs.take([pair]), None if pos is None else pos + 1
    cut = {side: tuple(ids[:stop] for ids in getattr(pairs, side)) for side in ("clean", "corrupted")}
    answers = {"answers": (right,) * len(pairs) if right else (), "wrong": (wrong,) * len(pairs) if wrong else ()}
    return OnePrompt(replace(experiment, pairs=replace(pairs, **cut, **answers), metric=Metric("kl")), pair * mean)
