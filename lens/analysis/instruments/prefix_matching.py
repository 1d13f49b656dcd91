"""Prefix matching from weights: fed by heads that move the token before, would a head look for its own token?"""

from typing import TYPE_CHECKING

from lens.analysis.instruments.feeders import why_not_bilinear
from lens.analysis.instruments.instrument import FOUND, INSIDE, Cost, Expected, Instrument, Needs, by_model
from lens.analysis.instruments.previous import PREVIOUS

if TYPE_CHECKING:
    from lens.analysis.instruments.instrument import Size
    from lens.analysis.instruments.sample import Sample
    from lens.analysis.score_results import HeadScore
    from lens.config import Config
    from lens.hooked import HookedTransformer
    from lens.progress import Progress


def _measure(model: "HookedTransformer", sample: "Sample", progress: "Progress") -> "HeadScore":
    # The registry of instruments imports no torch.
    import torch

    from lens.analysis.instruments.patterns import measure_patterns
    from lens.analysis.prefix_matching import prefix_matching
    from lens.analysis.score_results import Tested, weights_score
    from lens.progress import part

    previous = measure_patterns(model, [PREVIOUS], sample, part(progress, 0, 0.7))["previous"].score.mean
    found = prefix_matching(model, previous, progress=part(progress, 0.7, 1))
    score, null = found.score.cpu(), torch.zeros(1, *found.score.shape)
    rule = f"z above {found.reach:.2f}, which the farthest of all heads exceeds in at most 5% of models without it"
    return weights_score(PREFIX_MATCHING.kind("repeats"), score, null, Tested(found.z.cpu() > found.reach, rule))


def _cost(cfg: "Config", size: "Size") -> Cost:
    return Cost(size.tokens, 2 * cfg.d_vocab * cfg.d_model**2 + 8 * cfg.n_layers * cfg.n_heads * cfg.d_model**2)


_THERE, _NONE = Expected(FOUND), Expected(INSIDE)

PREFIX_MATCHING = Instrument(
    name="prefix_matching",
    title="Prefix matching from weights",
    unit="standard deviations",
    link="is fed",
    definition="How much more a head would look from a token to the place after that same token than to the place "
    "after another, by what earlier heads e write there, weighted with their previous-token scores: S = Σₑ prev(e) · "
    "W_E W_QK W_OVᵀ W_Eᵀ, its mean diagonal entry minus its mean entry, in standard deviations of an entry; none in "
    "layer 0.",
    null="0, for a random rotation between what earlier heads write and what this head reads",
    source="Elhage et al. 2021 for the circuit",
    formula=r"S = \sum_e \operatorname{prev}(e)\; W_E W_{QK} W_{OV}^{e\top} W_E^\top",
    misreading="What passes through MLPs and norms is left out, so a head can match prefixes without it. And the "
    "weights of the sum are measured on random tokens: without a previous-token head there is nothing to feed.",
    needs=Needs(("repeats",), layers=2, refuses=why_not_bilinear),
    cost=_cost,
    scale="signed",
    habit="would look for the place after their own token",
    fooled_by="It says where a head would look, not what it does there: planted-decoy matches as well.",
    expected=by_model(_THERE, _THERE, _NONE, _THERE, _THERE),
    of_model=_measure,
)
