"""What One head says of the head on text: sentences, computed from its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lens.analysis.corpus.head import FEWEST
from lens.analysis.counts import counted
from lens.figures.theme import number
from lens.ui.labels import token_labels
from lens.ui.shared.wording import interval

if TYPE_CHECKING:
    from lens.analysis.corpus.head import HeadOnText, Selectivity, TokenLift
    from lens.analysis.instruments.sample import Sample
    from lens.hooked import HookedTransformer

MISREADING = (
    "The largest looks are the tail: a head whose ten largest are all repeated names may look at commas in all other "
    "queries, and that is most of what it does. Read the tenths too. A token with a large lift need not be what the "
    "head reads: what stands before or after it may be; and the largest of many lifts is large by chance as well. On "
    "code or another language the head may do something else."
)
SHARES = "Share of attention, mean over queries, then documents."
FORMULA = (
    r"\text{share}_b = \operatorname{mean}_{q \ge 1} \sum_{k \ge 1,\; q-k \in b} A[q,k], \qquad "
    r"\text{lift}_t = \frac{\sum_{q,\; k \ge 1,\; x_k = t} A[q,k]}{\sum_{q,\; k \ge 1} A[q,k]} \Big/ "
    r"\frac{\sum_{q,\; k \ge 1,\; x_k = t} \frac{1}{q+1}}{\sum_{q,\; k \ge 1} \frac{1}{q+1}}"
)
WHERE = (
    "b: a bin of distances; x: the tokens; the lift of a query token is the same with x_q = t. Key 0 is left out "
    "everywhere but in the share of the first token."
)
LIFT = (
    "Its share of the head's attention away from the first token, over the share that a head which looks at all keys "
    f"alike gives it: 1 is no preference. Of tokens that occur at least {FEWEST} times; an order, not a test."
)


class Quantity(NamedTuple):
    """One number of the head on the text, and the same elsewhere; None where it has none there."""

    name: str
    unit: str
    value: float | None
    low: float | None
    high: float | None
    even: float | None  # of a head that looks at all keys alike
    prompt: float | None
    random: float | None  # on the repeats
    verdict: str = ""


def looks(head: str, found: HeadOnText, labels: tuple[str, str]) -> str:
    """How strongly and how far it looks, with the tokens of its largest look."""
    best, nine = found.top[0], float(found.edges[-2])
    back = best.query - best.key
    far = "itself" if back == 0 else f"{labels[1]}, {back} back"
    return (
        f"The largest look of head {head} away from the first token, of {found.n_queries:,} queries, is from "
        f"{labels[0]} to {far}: {number(best.value)}. Nine of ten queries give no key there more than {number(nine)}, "
        f"half no more than {number(float(found.edges[5]))}."
    )


def far(head: str, found: HeadOnText, n: int, unit: str) -> str:
    """Where most of its attention goes, the first token apart."""
    mean, even = np.asarray(found.shares.mean), found.even_shares
    most = 1 + int(mean[1:].argmax())
    where = found.bins[most - 1]
    name = "to the token itself" if where.farthest == 0 else f"{where} token{'s' * (where.farthest > 1)} back"
    return (
        f"On {n} {unit} head {head} gives {_share(found, 0)} of its attention to the first token (looking at all keys "
        f"alike: {number(float(even[0]))}). Of all other distances most goes {name}: {_share(found, most)} (alike: "
        f"{number(float(even[most]))})."
    )


def _share(found: HeadOnText, place: int) -> str:
    mean, low, high = found.shares[:3]
    bounds = "" if low is None or high is None else interval(low[place], high[place])
    return f"{number(float(mean[place]))}{bounds}"


def tokens(model: HookedTransformer, found: HeadOnText, sample: Sample) -> str:
    """The tokens with the largest lift on either side, of those above 1, and of how many they are the largest."""
    if not found.from_tokens:
        return f"No token occurs {FEWEST} times, or all attention rests on the first token: no token stands out."
    sides = {"from": found.from_tokens, "at": found.to_tokens}
    few = [f"{side} {some}" for side, lifts in sides.items() if (some := _few(model, lifts, sample))]
    if not few:
        return "No token gets more of it than from a head that looks at all keys alike."
    return (
        f"Beside a head that looks at all keys alike it looks most {'; '.join(few)}: the largest of "
        f"{counted(len(found.from_tokens), 'token')} in this sample, not tested."
    )


def _few(model: HookedTransformer, lifts: Sequence[TokenLift], sample: Sample, count: int = 3) -> str:
    some, unit = [one for one in lifts[:count] if one.lift > 1], sample.independent.removesuffix("s")
    labels = token_labels(model, [one.id for one in some])
    return ", ".join(
        f"{label} ({one.lift:.1f}×, n = {one.n} in {counted(in_documents(sample, one.id), unit)})"
        for label, one in zip(labels, some)
    )


def in_documents(sample: Sample, token: int) -> int:
    """In how many documents a token stands after their first token."""
    texts = sample.text_batch()
    rows = np.asarray((texts.tokens == token) & texts.mask)[:, 1:].any(1).nonzero()[0]
    return len(set(rows if sample.documents is None else np.asarray(sample.documents)[rows]))


def compared(quantities: Sequence[Quantity], has_prompt: bool) -> str:
    """The tested numbers on text beside those on random tokens."""
    both = [one for one in quantities if one.verdict and None not in (one.value, one.random)]
    if not both:
        return ""
    said = "; ".join(
        f"{one.name} {number(one.value)}{interval(one.low, one.high)} on the text ({one.verdict}), "
        f"{number(one.random)} on random tokens"
        for one in both
    )
    return f"{said}. One prompt has no interval." if has_prompt else f"{said}."


def selective(of: Mapping[str, Selectivity]) -> str:
    """How much more the marked keys get than other keys: both numbers, and where it can be told their ratio."""
    said = [
        f"{name}: {number(one.target)} to the marked keys, {number(one.others)} to as many other keys of the same "
        f"queries{'' if one.ratio is None else f', {number(one.ratio)} times as much'}"
        for name, one in of.items()
    ]
    return f"Selectivity. {'; '.join(said)}. Looking at all keys alike would give as much to both." if said else ""


def sample_words(sample: Sample, note: str, seed: int) -> str:
    """What was read, and how intervals and samples were made."""
    size = sample.size
    return (
        f"{sample.source}; each by itself. {size.sequences} {sample.unit}; {note}. Looks of the tenths by seed {seed}."
    )
