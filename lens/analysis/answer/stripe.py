"""Why a head has its induction stripe, asked in both ways: by splitting the score, and by cutting what feeds it."""

from typing import NamedTuple

import torch

from lens.analysis.answer.feeder_cuts import FeederCuts, control_of, cuts_of
from lens.analysis.answer.head_inputs import recorded
from lens.analysis.answer.qk_attribution import QKAttribution, contrast_of, induction_cells, minus_control
from lens.analysis.names import Head
from lens.analysis.random_tokens import RepeatedTokens
from lens.hooked import HookedTransformer
from lens.progress import Progress, part, silent


class StripeReasons(NamedTuple):
    """What raises the score of a head's induction stripe, and what is left of its attention with each write cut."""

    attribution: QKAttribution  # the control subtracted
    cut_from_queries: FeederCuts
    cut_from_keys: FeederCuts


@torch.no_grad()
def stripe_reasons(
    model: HookedTransformer, head: Head | tuple[int, int], repeated: RepeatedTokens, progress: Progress = silent
) -> StripeReasons:
    """Attribution and both cuts of one head's induction stripe, from three runs up to its layer."""
    head, cells = Head(*head), induction_cells(repeated)
    runs = []
    for place, tokens in enumerate((repeated.tokens, control_of(repeated, "q"), control_of(repeated, "k"))):
        progress(0.2 * place, f"reading {len(tokens)} sequences up to layer {head.layer}, {place + 1} of 3")
        runs.append(recorded(model, head, tokens.to(model.device)))
    base, other_second, other_first = runs
    progress(0.6, "splitting the scores by what wrote queries and keys")
    attribution = minus_control(contrast_of(base, head, cells), contrast_of(other_second, head, cells))
    queries = cuts_of(base, other_second, head, cells, "q", part(progress, 0.7, 0.85))
    return StripeReasons(attribution, queries, cuts_of(base, other_first, head, cells, "k", part(progress, 0.85, 1)))
