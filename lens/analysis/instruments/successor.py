"""Successor: from Monday to Tuesday, from 3 to 4: would a head raise what comes next in an order?"""

from typing import TYPE_CHECKING

from lens.analysis.instruments.instrument import INSIDE, Cost, Expected, Instrument, Needs, by_model

if TYPE_CHECKING:
    from lens.analysis.instruments.instrument import Size
    from lens.analysis.instruments.sample import Sample
    from lens.analysis.score_results import HeadScore
    from lens.config import Config
    from lens.hooked import HookedTransformer
    from lens.progress import Progress

WORDS, TURNS = 67, 21  # of all sets; TURNS: the head as it is, and its rotations


def _lacks_orders(model: "HookedTransformer") -> str | None:
    from lens.analysis.stats import MIN_SAMPLES  # the registry of instruments imports no torch
    from lens.analysis.word_sets import ordinal_sets

    n = sum(len(one.pairs) for one in ordinal_sets(model))
    if n >= MIN_SAMPLES:
        return None
    return f"{n} words of an order and their successors are single tokens of this model, {MIN_SAMPLES} are needed"


def _measure(model: "HookedTransformer", sample: "Sample", progress: "Progress") -> "HeadScore":
    # The registry of instruments imports no torch.
    from lens.analysis.set_shares import RULE, shares_score, successor_hits
    from lens.analysis.word_sets import ordinal_sets

    sets = ordinal_sets(model)
    here = ", ".join(f"{len(one.pairs)} {one.name}" for one in sets)
    kind = SUCCESSOR.kind("weights", here=f"Here: {here}.")
    found = successor_hits(model, sets, progress=progress)
    return shares_score(kind, found, "words", f"{RULE}, and in any of as many random orders of each set")


def _cost(cfg: "Config", size: "Size") -> Cost:
    each = cfg.d_model * cfg.d_head + cfg.d_head * cfg.d_model + TURNS * cfg.d_head * (cfg.d_head + WORDS)
    return Cost(0, 2 * cfg.n_layers * cfg.n_heads * WORDS * each)


SUCCESSOR = Instrument(
    name="successor",
    title="Successor",
    unit="share of words",
    link="copies",
    definition="Share of words of an order (digits, number words, days, months, letters) for which the head would "
    "raise, of all words of the same set, the next one most by attending to them, from the token's embedding with the "
    "first MLP's output, through the final norm and W_U.",
    null="the head's own OV with a random rotation between W_V and W_O, 20 for each head, and as many random orders",
    source="Gould et al. 2023",
    formula=r"\operatorname{mean}_{t} \big[ \arg\max_{s \in \text{set}} (W_{OV} W_U)_{t,s} = t + 1 \big]",
    misreading="Only the words of the set are compared: the head may raise other tokens more. And letters and digits "
    "are most of the words, so a head that steps through days alone has a small share.",
    needs=Needs(("weights",), words=_lacks_orders),
    cost=_cost,
    habit="would raise the next word of an order",
    fooled_by="Nothing that is planted steps through an order: heads that copy raise the word itself.",
    expected=by_model(*[Expected(INSIDE)] * 5),
    of_model=_measure,
)
