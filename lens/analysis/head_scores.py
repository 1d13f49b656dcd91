"""Scores of all heads on repeated random tokens, against a paired control, in one pass that keeps no pattern."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.pattern_scores import PREVIOUS_NULL, PatternScores, first_query, scores_from_pattern, uniform_scores
from lens.analysis.random_tokens import RepeatedTokens, repeated_tokens
from lens.analysis.score_results import HeadScores, Kind, Samples, head_score
from lens.analysis.streaming import stream_patterns
from lens.analysis.text_scores import text_scores
from lens.hooked import HookedTransformer
from lens.model import Transformer
from lens.progress import Progress, silent
from lens.tokens import TokenBatch

CONTROL = "the same queries and keys on the paired control, where other tokens follow the first copy"
OLSSON = "Source: Olsson et al. 2022."


class RepeatScores(NamedTuple):
    """Pattern scores of every repeated sequence and of its control, each [sequence, layer, head]."""

    repeated: PatternScores
    control: PatternScores


def repeat_kinds(n: int, bos: int) -> list[Kind]:
    """The scores on repeats of ``n`` random tokens, in words, with the query positions of this layout."""
    queries = f"{bos + n}…{bos + 2 * n - 1}"
    dup = queries if bos else f"{n + 1}…{2 * n - 1} (position 0 is left out as a key)"
    compared = f"{CONTROL} (a comparison: what the head does where nothing repeats)"
    return [
        Kind(
            "induction",
            "probability",
            f"Prefix matching: mean attention from a token of the second copy to the token after its first occurrence, "
            f"A[q, q−{n - 1}] over queries q = {queries}. {OLSSON}",
            CONTROL,
            True,
        ),
        Kind(
            "duplicate",
            "probability",
            f"Mean attention from a token of the second copy to its first occurrence, A[q, q−{n}] "
            f"over queries q = {dup}. {OLSSON}",
            CONTROL,
            True,
        ),
        Kind(
            "previous",
            "probability",
            f"Mean attention to the token before, A[q, q−1] over q ≥ {first_query(bos + 2 * n)}, on random "
            f"tokens. {OLSSON}",
            PREVIOUS_NULL,
            True,
        ),
        Kind("first", "probability", "Mean attention to position 0, A[q, 0] over q ≥ 1.", compared, False),
        Kind("entropy", "nats", "Mean entropy of the attention of a query, −Σ A ln A, over q ≥ 1.", compared, False),
        Kind(
            "entropy_normalised",
            "share of ln(q+1)",
            "Entropy of a query's attention over its largest possible value ln(q+1), mean over q ≥ 1: 1 is uniform.",
            compared,
            False,
        ),
    ]


@torch.no_grad()
def stream_repeat_scores(
    model: Transformer, tokens: Tensor, n: int, bos: int, progress: Progress = silent
) -> PatternScores:
    """Every pattern score per sequence, each [sequence, layer, head] on the CPU. ``tokens``: [sequence, bos + 2n]."""
    shape = (len(PatternScores._fields), len(tokens), model.cfg.n_layers, model.cfg.n_heads)
    found = torch.empty(shape, device=model.device)

    def visit(layer: int, rows: slice, pattern: Float[Tensor, "batch head query key"]) -> None:
        found[:, rows, layer] = torch.stack(scores_from_pattern(pattern.float(), n, bos))

    stream_patterns(model, tokens, visit, progress=progress)
    return PatternScores(*found.cpu())


def head_scores(
    model: Transformer, repeated: RepeatedTokens, text: TokenBatch | None = None, progress: Progress = silent
) -> HeadScores:
    """Induction, duplicate-, previous- and first-token and entropy scores of all heads, with nulls and intervals.

    ``repeated``: from :func:`lens.analysis.random_tokens.repeated_tokens`; 16 sequences or more give intervals.
    ``text``: natural texts, which add "previous_on_text" (their unit is the text). Definitions and units are in each
    score's ``kind``. ``progress`` may raise to cancel.
    """
    share = 1.0 if text is None else 0.7
    found = repeat_scores(model, repeated, lambda f, stage: progress(share * f, stage))
    on_repeats = summarise_scores(found, repeated)
    if text is None:
        return on_repeats
    on_text = text_scores(model, text.tokens, text.mask, lambda f, stage: progress(share + (1 - share) * f, stage))
    scores = {"previous_on_text": on_text.scores["previous"]} if "previous" in on_text.scores else {}
    missing = {"previous_on_text": on_text.missing["previous"]} if "previous" in on_text.missing else {}
    return replace(on_repeats, scores={**on_repeats.scores, **scores}, missing=missing)


def repeat_scores(model: Transformer, repeated: RepeatedTokens, progress: Progress = silent) -> RepeatScores:
    """What :func:`summarise_scores` summarises; sequences are independent, so they can be read in parts."""
    both = torch.cat([repeated.tokens, repeated.control])
    found = stream_repeat_scores(model, both, repeated.n, repeated.bos, progress)
    n_seqs = len(repeated.tokens)
    return RepeatScores(
        PatternScores(*(one[:n_seqs] for one in found)), PatternScores(*(one[n_seqs:] for one in found))
    )


def repeat_scores_of(
    rows: tuple[int, int], model: HookedTransformer, n: int, seed: int, prepend_bos: bool
) -> RepeatScores:
    """:func:`repeat_scores` of sequences ``rows`` = (first, last + 1) of ``repeated_tokens`` with these settings."""
    start, stop = rows
    up_to = repeated_tokens(model, n, stop, seed, prepend_bos)
    return repeat_scores(model, up_to._replace(tokens=up_to.tokens[start:], control=up_to.control[start:]))


def join_scores(parts: Sequence[RepeatScores]) -> RepeatScores:
    """Consecutive parts as one."""
    sides = zip(*parts, strict=True)
    return RepeatScores(*(PatternScores(*map(torch.cat, zip(*side, strict=True))) for side in sides))


def summarise_scores(found: RepeatScores, repeated: RepeatedTokens) -> HeadScores:
    """Means over sequences with intervals, nulls and thresholds; ``repeated`` are the sequences that were read."""
    uniform = uniform_scores(repeated.n, repeated.bos)
    n_seqs, scores = len(repeated.tokens), {}
    for kind in repeat_kinds(repeated.n, repeated.bos):
        values, control = (getattr(side, kind.name) for side in found)
        null = found.repeated.previous_null if kind.name == "previous" else control
        n_queries = n_seqs * _queries_per_sequence(kind.name, repeated)
        samples = Samples(values, null, float(getattr(uniform, kind.name)), n_queries)
        scores[kind.name] = head_score(kind, samples, "sequences", repeated.seed)
    source = f"{n_seqs} sequences of {repeated.n} random tokens, twice; {repeated.description}; seed {repeated.seed}"
    return HeadScores(scores, {}, source, repeated.seed)


def _queries_per_sequence(name: str, repeated: RepeatedTokens) -> int:
    n_pos = repeated.bos + 2 * repeated.n
    last = n_pos - 1  # also the number of queries q >= 1
    special = {
        "induction": repeated.n,
        "duplicate": repeated.n - (1 - repeated.bos),
        "previous": n_pos - first_query(n_pos),
    }
    return special.get(name, last)
