"""Another model, checkpoint or prompt beside the first: what each token cost, and what comes next."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lens.analysis.answer.predictions import predict
from lens.ui.calls import analyse
from lens.ui.labels import token_labels
from lens.ui.limits import limits
from lens.ui.shared.compare import pairs
from lens.ui.shared.compare.per_token import Scored, id_beside, pair, place_beside, same_vocabulary, scored
from lens.ui.shared.compare.section import compare

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from lens.hooked import HookedTransformer
    from lens.ui.pages.predictions.reading import Chosen
    from lens.ui.shared.compare.pairs import Pair
    from lens.ui.shared.compare.section import Sides
    from lens.ui.view import ViewState

SEARCHED = 200  # likeliest tokens of models with two vocabularies, among which the same words are looked for
DEFINITION = (
    "Probability of the next token after {}, of the {} likeliest of each that both can say, and of the answers."
)

RANKS = "Rank 1 is the likeliest next token after {}, of {} tokens in all."
ANSWERS = """import torch

from lens.analysis.answer.predictions import predict

found = predict(model, tokens, {}, {})
values = torch.stack([found.rank + 1.0, found.logprob], 1).flatten()"""


def draw(
    view: ViewState,
    model: HookedTransformer,
    place: DeltaGenerator,
    first: Scored | None,
    chosen: Chosen,
    answers: tuple[int, ...],
) -> None:
    """The section; ``first`` is None for a prompt of one token."""
    numbers = partial(scored, limits().prompt_tokens)
    if first is not None:
        compare(view, model, place, first, numbers, partial(_pairs, chosen, answers))


def _pairs(chosen: Chosen, answers: tuple[int, ...], sides: Sides, first: Scored, second: Scored) -> list[Pair]:
    by_token = pair(chosen.colour, sides, first, second)
    place = place_beside(sides.models, first.prompt, second.prompt, chosen.pos)
    if place is None:
        return [by_token]
    both, at = (first, second), (chosen.pos, place)
    return [*_next(chosen, answers, sides, both, at), *_of_answers(answers, sides, both, at), by_token]


def _next(
    chosen: Chosen, answers: tuple[int, ...], sides: Sides, both: tuple[Scored, Scored], at: tuple[int, int]
) -> list[Pair]:
    """The likeliest next tokens of both, side by side; nothing where no word is among those of both."""
    ids = _ids(chosen.top, answers, sides, both, at)
    if not ids[0]:
        return []
    labels, named = _labels(sides.models[0], ids[0]), []
    for model, read, pos, of in zip(sides.models, both, at, ids):
        found = analyse(predict, model, read.prompt.tokens, pos, tuple(of), 1)
        named.append(dict(zip(labels, np.exp(found.logprob).tolist())))
    codes = [
        "from lens.analysis.answer.predictions import predict\n\n"
        f"values = predict(model, tokens, {pos}, {tuple(of)}).logprob.exp()"
        for pos, of in zip(at, ids)
    ]
    where = f"{at[0]}: {both[0].prompt.labels[at[0]]}"
    definition = DEFINITION.format(where, chosen.top)
    return [pairs.names(pairs.Quantity("probability of the next token", "probability", definition, *codes), *named)]


def _of_answers(answers: tuple[int, ...], sides: Sides, both: tuple[Scored, Scored], at: tuple[int, int]) -> list[Pair]:
    """The answers' ranks and log-probabilities, side by side; those that both have as one token."""
    models = sides.models
    ids = [(i, other) for i in answers if (other := id_beside(*models, i)) is not None]
    if not ids:
        return []
    labels, named = _labels(models[0], [i for i, _ in ids]), []
    for model, read, pos, some in zip(models, both, at, zip(*ids)):
        found = analyse(predict, model, read.prompt.tokens, pos, some, 1)
        named.append({
            f"{label}: {name}": pairs.Number(float(value), unit)
            for label, rank, logprob in zip(labels, found.rank, found.logprob)
            for name, value, unit in (("rank", rank + 1, pairs.RANK), ("log-probability", logprob, "nats"))
        })  # fmt: skip
    codes = (ANSWERS.format(pos, some) for pos, some in zip(at, zip(*ids)))
    sizes = " and ".join(dict.fromkeys(f"{model.cfg.d_vocab:,}" for model in models))
    definition = RANKS.format(f"{at[0]}: {both[0].prompt.labels[at[0]]}", sizes)
    return [pairs.listed(pairs.Quantity("answer", "", definition, *codes), *named)]


def _labels(model: HookedTransformer, ids: list[int]) -> list[str]:
    """Of tokens, all different: pieces of a character look alike, and their ids tell them apart."""
    labels = token_labels(model, ids)
    return [f"{label} (id {i})" if labels.count(label) > 1 else label for label, i in zip(labels, ids)]


def _ids(
    top: int, answers: tuple[int, ...], sides: Sides, both: tuple[Scored, Scored], at: tuple[int, int]
) -> tuple[list[int], list[int]]:
    """The tokens that are compared, as ids of the first and of the second."""
    one = same_vocabulary(sides)
    likely = []
    for model, read, pos in zip(sides.models, both, at):
        found = analyse(predict, model, read.prompt.tokens, pos, (), top if one else min(SEARCHED, model.cfg.d_vocab))
        likely.append(found.top.tolist())
    if one:
        every = list(dict.fromkeys([*likely[0][:top], *likely[1][:top], *answers]))
        return every, every
    labels = [token_labels(model, ids) for model, ids in zip(sides.models, likely)]
    there = dict(zip(labels[1], likely[1]))
    words = [(i, there[label]) for label, i in zip(labels[0], likely[0]) if label in there]
    first, second = likely[0][:top], set(likely[1][:top])
    kept = {a: b for a, b in words if a in first or b in second}
    for answer in answers:
        other = id_beside(*sides.models, answer)
        if other is not None:
            kept.setdefault(answer, other)
    return list(kept), list(kept.values())
