"""Any instruments on any samples: those of patterns share one pass over each sample, the others come one by one."""

from collections.abc import Sequence

from lens.analysis.instruments.instrument import Cost, Instrument, SampleName
from lens.analysis.instruments.patterns import measure_patterns
from lens.analysis.instruments.registry import instruments_named
from lens.analysis.instruments.sample import WEIGHTS, Sample
from lens.analysis.score_results import HeadScore, HeadScores
from lens.config import Config
from lens.hooked import HookedTransformer
from lens.progress import Progress, part, silent


def measure(
    model: HookedTransformer, instruments: Sequence[Instrument], samples: Sequence[Sample], progress: Progress = silent
) -> HeadScores:
    """Every number of every head. Each instrument takes the first of its samples that is given; weights always are.

    What cannot be measured in this model, or has no sample, is ``missing``, with the reason. ``progress`` may raise.
    """
    given, missing, chosen = [*samples, WEIGHTS], {}, {}
    for one in instruments:
        sample = sample_for(one, given)
        reason = f"none of its samples was given: {', '.join(one.needs.samples)}" if sample is None else ""
        reason = reason or one.needs.lacks_in(model)
        if reason:
            missing[one.name] = f"not computed because {reason}"
        else:
            chosen[one.name] = (one, sample)
    groups, found = _groups(list(chosen.values())), {}
    for done, (group, sample) in enumerate(groups):
        watch = part(progress, done / len(groups), (done + 1) / len(groups))
        if group[0].pattern is not None:
            scores = measure_patterns(model, group, sample, watch)
            found |= scores.scores
            missing |= scores.missing
        else:
            (one,) = group
            found[one.name] = one.of_model(model, sample, _of(one, watch))
    ordered: dict[str, HeadScore] = {one.name: found[one.name] for one in instruments if one.name in found}
    seeds = [one.repeated.seed for one in samples if one.repeated is not None]
    used = dict.fromkeys(sample.source for _, sample in chosen.values())
    return HeadScores(ordered, missing, "; ".join(used), seeds[0] if seeds else None)


def measure_named(
    model: HookedTransformer, names: Sequence[str], samples: Sequence[Sample], progress: Progress = silent
) -> HeadScores:
    """:func:`measure` of instruments by their names; KeyError for a name that does not exist."""
    return measure(model, instruments_named(names), samples, progress)


def sample_for(instrument: Instrument, samples: Sequence[Sample]) -> Sample | None:
    """The first of the samples that an instrument can be measured on, in its own order; None if there is none."""
    by_name: dict[SampleName, Sample] = {one.name: one for one in reversed(samples)}
    return next((by_name[name] for name in instrument.needs.samples if name in by_name), None)


def cost_of(cfg: Config, instruments: Sequence[Instrument], samples: Sequence[Sample]) -> Cost:
    """What :func:`measure` takes; instruments of patterns count once for each sample."""
    pairs = [(one, sample) for one in instruments if (sample := sample_for(one, [*samples, WEIGHTS])) is not None]
    costs = [group[0].cost(cfg, sample.size) for group, sample in _groups(pairs)]
    return Cost(sum(one.tokens for one in costs), sum(one.operations for one in costs))


def _groups(chosen: Sequence[tuple[Instrument, Sample]]) -> list[tuple[list[Instrument], Sample]]:
    """What is measured together: all patterns of one sample; every other instrument by itself."""
    groups: dict[str, tuple[list[Instrument], Sample]] = {}
    for one, sample in chosen:
        key = f"patterns of {sample.name}" if one.pattern is not None else one.name
        groups.setdefault(key, ([], sample))[0].append(one)
    return list(groups.values())


def _of(instrument: Instrument, progress: Progress) -> Progress:
    return lambda fraction, stage: progress(fraction, f"{instrument.title.lower()}: {stage}")
