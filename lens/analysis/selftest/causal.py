"""The instruments that intervene, all through :mod:`lens.analysis.interventions`, as functions of a subject."""

from jaxtyping import Float
from torch import Tensor

from lens.analysis.interventions import Experiment, Grid, Intervention, Pairs
from lens.analysis.names import Head
from lens.analysis.selftest.measure import reading
from lens.analysis.selftest.result import Reading
from lens.analysis.selftest.subject import Subject
from lens.analysis.stats import family_wise_threshold

CANDIDATE = 0.5  # prefix-matching score from which a head is ablated together with the others
HEADS = Grid(("layer", "head"))


def ablation(subject: Subject, all_candidates: bool = False) -> Reading:
    """What the logit difference loses without the strongest induction head, or without all heads that score.

    Naive: z = 0. Beside the control: z of the control run, in which nothing repeats.
    """
    heads, n_seqs = _candidates(subject, all_candidates), len(subject.repeated.tokens)
    if not heads:
        return Reading(0.0, 0.0, 0.0, 0.0, f"no head scores {CANDIDATE:g}", n_seqs, "sequences")
    zero, resampled, null = subject.lost_without(heads)
    threshold = family_wise_threshold(null.abs()[:, None])
    return reading(zero, resampled, null, threshold, " and ".join(map(str, heads)))


def _candidates(subject: Subject, all_candidates: bool) -> tuple[Head, ...]:
    scores = subject.scores["induction"].score.mean
    if not all_candidates:
        return (Head(*divmod(int(scores.argmax()), scores.shape[1])),)
    return tuple(Head(*place) for place in (scores >= CANDIDATE).nonzero().tolist())


def patching(subject: Subject) -> Reading:
    """What the head with the largest effect brings into the control run, when it writes there what it wrote on repeats.

    Its null: the same with what it wrote on another sequence's repeats.
    """
    gained, null = (_gained(subject, pairs) for pairs in both(subject))
    return _largest(gained, null)


def attribution_patching(subject: Subject) -> Reading:
    """The same to first order, from one forward and one backward pass."""
    gained, null = (_approximate(subject, pairs) for pairs in both(subject))
    return _largest(gained, null)


def both(subject: Subject) -> tuple[Pairs, Pairs]:
    """Each repeat beside its control, and each control beside the repeat of the next sequence."""
    repeats, controls = subject.repeated.tokens, subject.repeated.control
    return subject.pairs, Pairs.of(repeats.roll(1, 0), controls)


def _gained(subject: Subject, pairs: Pairs) -> Float[Tensor, "layer head batch"]:
    sweep = subject.tools.sweep(subject.model, Experiment(pairs, Intervention("z"), HEADS, subject.metric))
    return sweep.values - sweep.base


def _approximate(subject: Subject, pairs: Pairs) -> Float[Tensor, "layer head batch"]:
    experiment = Experiment(pairs, Intervention("z"), HEADS, subject.metric)
    (sweep,) = subject.tools.first_order(subject.model, [experiment])
    return (sweep.values - sweep.base).detach()


def _largest(gained: Float[Tensor, "layer head batch"], null: Float[Tensor, "layer head batch"]) -> Reading:
    at = Head(*divmod(int(gained.mean(-1).abs().argmax()), gained.shape[1]))
    threshold = family_wise_threshold(null.movedim(-1, 0).abs())
    return reading(gained[at], gained[at], null[at], threshold, str(at))
