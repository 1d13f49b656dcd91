"""What the Predictions page says: sentences, computed from its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lens.analysis.answer.generation import first_difference
from lens.figures.theme import number
from lens.ui.labels import token_labels

if TYPE_CHECKING:
    from lens.analysis.answer.generation import Written
    from lens.analysis.answer.predictions import Prediction
    from lens.generate import Sampling
    from lens.hooked import HookedTransformer
    from lens.ui.pages.predictions.writing import Side

READING_MISREADING = (
    "A high probability says that the text usually goes on like this, not that what it says is true. Several tokens "
    "may begin the same answer, with a space and without, so one token's probability is less than that of the answer."
)
READING_SAMPLE = "One position of one text: these are exact numbers of this model, and there is no interval."
READING_FORMULA = (
    r"p_v = \frac{e^{\ell_v}}{\sum_u e^{\ell_u}}, \qquad \text{rank}_v = 1 + \#\{u : \ell_u > \ell_v\}, \qquad "
    r"H = -\sum_v p_v \ln p_v"
)
READING_WHERE = "ℓ are the logits at this position. The rank on the page counts from 1, the top."
WRITING_MISREADING = (
    "Two texts that part at one token differ in all that follows, so how much they differ is not the size of the "
    "change. And a text that breaks down is no proof that the changed heads did what broke: zeroed or strongly "
    "steered, the model is where it never was in training."
)
WRITING_FORMULA = (
    r"z \to \bar z + f (z - \bar z), \qquad x_l \to x_l + s\,\|x_l\|\,\frac{d}{\|d\|} "
    r"\ \text{ or } \ x_l + s\,d"
)
WRITING_WHERE = (
    "z is what a head mixes from the values, z̄ its mean on the shipped text (0 where it is zeroed or scaled), f the "
    "factor; x_l the stream that enters layer l (its length the mean over the prompt), d the direction, s the strength "
    "in either unit. Both at every position, so with and without a cache of keys and values the same text is written."
)


def next_token(model: HookedTransformer, found: Prediction, where: str, actual: int | None) -> str:
    """The likeliest tokens, how undecided the model is, and the rank of what came."""
    labels = token_labels(model, found.top[:3])
    likeliest = ", ".join(f"{label} ({number(np.exp(one))})" for label, one in zip(labels, found.top_logprob))
    even = float(np.log(model.cfg.d_vocab))
    text = (
        f"After {where} the likeliest are {likeliest}. The entropy is {found.entropy:.2f} nats, of {even:.2f} for an "
    )
    text += "even guess."
    if actual is not None:
        (label,), at = token_labels(model, [actual]), np.flatnonzero(found.top == actual)
        place = f"rank {at[0] + 1}" if len(at) else f"not among the first {len(found.top)}"
        text += f" What came is {label}, {place}."
    return text


def of_answers(model: HookedTransformer, found: Prediction) -> str:
    """Ranks and probabilities of the answers."""
    labels = token_labels(model, found.answers)
    parts = [
        f"{label} has rank {rank + 1:,} and probability {number(np.exp(logprob))}"
        for label, rank, logprob in zip(labels, found.rank, found.logprob)
    ]
    if len(parts) == 2:
        gap = float(found.logit[0] - found.logit[1])
        parts.append(f"their logits differ by {number(gap)}")
    return f"{'; '.join(parts)}." if parts else ""


def of_twin(model: HookedTransformer, found: Prediction, twin: Prediction, change: str) -> str:
    """What the change does to the likeliest token here."""
    before, after = token_labels(model, [found.top[0], twin.top[0]])
    probs = [number(np.exp(one.top_logprob[0])) for one in (found, twin)]
    if found.top[0] == twin.top[0]:
        return f"With {change}, {before} stays the likeliest: {probs[0]} becomes {probs[1]}."
    return f"With {change}, the likeliest is no longer {before} ({probs[0]}) but {after} ({probs[1]})."


def written(model: HookedTransformer, sides: Sequence[Side], texts: Sequence[Written]) -> str:
    """How sure the writer was, and where the two texts part."""
    one = texts[0]
    right = int((one.rank == 0).sum())
    text = f"Of {one.n} tokens it wrote, {right} {'was' if right == 1 else 'were'} the likeliest at their place; their "
    text += f"mean probability was {number(float(np.exp(one.logprob).mean()))}."
    if len(texts) == 1:
        return text
    other = texts[1]
    at = first_difference(one.ids.tolist(), other.ids.tolist())
    if at is None:
        shorter = min(one.n, other.n)
        return f"{text} With {sides[1].name} the same {shorter} tokens are written."
    labels = token_labels(model, [one.ids[at], other.ids[at]])
    probs = [number(float(np.exp(side.logprob[at]))) for side in texts]
    return (
        f"{text} With {sides[1].name} the text parts at token {at + 1}: {labels[1]} ({probs[1]}) in place of "
        f"{labels[0]} ({probs[0]})."
    )


def repeating(sides: Sequence[Side], shares: Sequence[np.ndarray]) -> str:
    """How much of each text repeats at its end."""
    parts = [f"{share[-1]:.0%} of what the model writes {side.name}" for side, share in zip(sides, shares)]
    return (
        f"{' and '.join(parts)} {'repeat' if len(parts) > 1 else 'repeats'} a pair of tokens from earlier in the text."
    )


def writing_sample(sampling: Sampling, texts: Sequence[Written]) -> str:
    """One text each, by which seed."""
    drawn = "always the likeliest token" if sampling.temperature == 0 else f"seed {sampling.seed}"
    sizes = " and ".join(str(text.n) for text in texts)
    return f"One text each, n = {sizes} tokens, {drawn}: no interval. Another prompt or seed may go the other way."
