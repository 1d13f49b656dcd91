"""The scores on repeated random tokens, against a paired control, in one pass that keeps no pattern."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from lens.analysis.instruments.layout import repeats_layout
from lens.analysis.instruments.patterns import PatternReader, Readings, join, read_repeats, summarise_repeats
from lens.analysis.instruments.registry import HEAD_SCORES, instruments_named, pattern_names
from lens.analysis.instruments.sample import repeats
from lens.analysis.random_tokens import RepeatedTokens, repeated_tokens
from lens.analysis.score_results import HeadScores
from lens.analysis.streaming import uniform_pattern
from lens.analysis.text_scores import text_scores
from lens.hooked import HookedTransformer
from lens.model import Transformer
from lens.progress import Progress, part, silent
from lens.tokens import TokenBatch


class PatternScores(NamedTuple):
    """One number per leading axis of a pattern (``[batch, head]``): probabilities, and entropies in nats."""

    induction: Tensor  # mean A[q, q-n+1] over the second copy: the token after the earlier occurrence
    duplicate: Tensor  # mean A[q, q-n] over the second copy: the earlier occurrence itself
    previous: Tensor  # mean A[q, q-1], q >= 6
    first: Tensor  # mean A[q, 0], q >= 1
    entropy: Tensor  # nats, mean over q >= 1
    entropy_normalised: Tensor  # entropy / ln(q+1), mean over q >= 1: 1 is uniform
    previous_null: Tensor  # the largest of the means of A[q, q-j], j = 2..5, over the same queries


def scores_from_pattern(pattern: Float[Tensor, "*batch query key"], n: int, bos: int = 1) -> PatternScores:
    """All scores of patterns on [BOS] r₁…r_n then n more tokens: a repeat of r, or the control.

    Queries of the second copy: bos+n … bos+2n-1. Without BOS the duplicate score leaves out the first of them, whose
    key is position 0. Source: Olsson et al., "In-context Learning and Induction Heads" (2022).
    """
    n_pos = bos + 2 * n
    if pattern.shape[-2:] != (n_pos, n_pos) or bos not in (0, 1) or n < 2:
        raise ValueError(
            f"scores_from_pattern: pattern of shape {list(pattern.shape)} with n={n}, bos={bos}; wanted "
            f"[..., bos + 2n, bos + 2n] = [..., {n_pos}, {n_pos}], bos 0 or 1 and n of at least 2."
        )
    reader = PatternReader(instruments_named(HEAD_SCORES), repeats_layout(n, bos, pattern.device))
    score, null = reader(pattern.reshape(1, -1, n_pos, n_pos))[:, :, 0].unflatten(2, pattern.shape[:-2] or (1,))
    found = [*score, null[HEAD_SCORES.index("previous")]]
    return PatternScores(*(one.reshape(pattern.shape[:-2]) for one in found))


def uniform_scores(n: int, bos: int = 1) -> PatternScores:
    """The scores of a head that spreads its attention evenly: mean of 1/(q+1) over each score's queries."""
    return scores_from_pattern(uniform_pattern(bos + 2 * n), n, bos)


def head_scores(
    model: Transformer,
    repeated: RepeatedTokens,
    text: TokenBatch | None = None,
    progress: Progress = silent,
    names: Sequence[str] = HEAD_SCORES,
) -> HeadScores:
    """Induction, duplicate-, previous- and first-token and entropy scores of all heads, with nulls and intervals.

    ``repeated``: from :func:`lens.analysis.random_tokens.repeated_tokens`; 16 sequences or more give intervals.
    ``text``: natural texts, which add "previous_on_text" (their unit is the text). Definitions and units are in each
    score's ``kind``. ``progress`` may raise to cancel. ``names``: of instruments of patterns.
    """
    share = 1.0 if text is None else 0.7
    on_repeats = summarise_scores(repeat_scores(model, repeated, part(progress, 0, share), names), repeated)
    if text is None:
        return on_repeats
    on_text = text_scores(model, text.tokens, text.mask, part(progress, share, 1), ("previous",))
    scores = {"previous_on_text": on_text.scores["previous"]} if "previous" in on_text.scores else {}
    missing = {"previous_on_text": on_text.missing["previous"]} if "previous" in on_text.missing else {}
    return replace(on_repeats, scores={**on_repeats.scores, **scores}, missing=missing)


def repeat_scores(
    model: Transformer, repeated: RepeatedTokens, progress: Progress = silent, names: Sequence[str] = HEAD_SCORES
) -> Readings:
    """What :func:`summarise_scores` summarises; sequences are independent, so they can be read in parts."""
    return read_repeats(model, instruments_named(names), repeated, progress)


def repeat_scores_of(
    rows: tuple[int, int],
    model: HookedTransformer,
    n: int,
    seed: int,
    prepend_bos: bool,
) -> Readings:
    """All instruments of patterns on sequences ``rows`` = (first, last + 1) of ``repeated_tokens``."""
    start, stop = rows
    up_to = repeated_tokens(model, n, stop, seed, prepend_bos)
    chosen = up_to._replace(tokens=up_to.tokens[start:], control=up_to.control[start:])
    return repeat_scores(model, chosen, names=pattern_names())


def join_scores(parts: Sequence[Readings]) -> Readings:
    """Consecutive parts as one."""
    return join(parts)


def summarise_scores(found: Readings, repeated: RepeatedTokens) -> HeadScores:
    """Means over sequences with intervals, nulls and thresholds; ``repeated`` are the sequences that were read."""
    return summarise_repeats(found, instruments_named(found.names), repeats(repeated))
