"""Where to look first in a model: heads picked on one sample, and judged on another.

Sample A picks the heads whose attention has a habit, beyond what chance gives the best of all heads. What was picked
because it is large looks large, so sample B, other random tokens of another seed, judges: the habit must be beyond
chance there too, and the behaviour must need the head (resample ablation). What the weights say has no second sample:
it stands beside a finding as evidence, and is never one by itself.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from lens.analysis.corpus.head import scores_on_text
from lens.analysis.corpus.reading import corpus
from lens.analysis.head_table import LEVEL
from lens.analysis.instruments.ablation import RESAMPLE
from lens.analysis.instruments.instrument import Instrument
from lens.analysis.instruments.measure import measure, sample_for
from lens.analysis.instruments.registry import INSTRUMENTS
from lens.analysis.instruments.sample import WEIGHTS, Sample, repeats
from lens.analysis.names import Head
from lens.analysis.random_tokens import repeated_tokens
from lens.analysis.score_results import HeadScore, HeadScores
from lens.analysis.score_summary import Standing, standing
from lens.analysis.verdicts import too_few
from lens.hooked import HookedTransformer
from lens.progress import Progress, part, silent

Verdict = Literal["found", "rejected", "inconclusive"]
SMALL, LEAST = 0.05, 1e-3  # so little of the largest effect, and so few nats, are no need
SEQUENCES, BLOCK = 16, 25  # of each sample; random tokens before they repeat


SECOND = 1_000_003  # from the seed of sample A to that of B: a scan with the next seed picks on other tokens


class Habit(NamedTuple):
    """What the attention of a head does more than chance on sample A, and what sample B says of it."""

    instrument: str
    verdict: Verdict
    picked: Standing  # on sample A
    again: Standing  # on sample B
    on_text: Standing | None = None  # on a text, which judges nothing; None without, or where it has no such query


class Finding(NamedTuple):
    """One head that sample A picked, and what sample B makes of it."""

    head: Head
    verdict: Verdict
    habits: tuple[Habit, ...]  # in the order of the chain
    matters: Verdict  # whether the repetition needs the head, by resample ablation on sample B
    need: Standing | None  # that effect on sample B; None where it cannot be measured
    evidence: tuple[str, ...]  # other instruments in which it is beyond chance
    against: tuple[str, ...]  # those with a test that do not say so


class Scan(NamedTuple):
    """All heads that were picked, what is found first; how many were tried, and on what."""

    findings: tuple[Finding, ...]
    unexplained: tuple[Head, ...]  # that both samples need, and none of whose habits has an instrument
    tried: int  # heads
    tests: tuple[str, ...]  # instruments that pick; each picks some head in ``LEVEL`` of cases where there is nothing
    samples: tuple[HeadScores, HeadScores]  # A and B: habits and resample ablation
    evidence: HeadScores  # all other instruments: on sample B, or from the weights
    seeds: tuple[int, int]
    n: int  # random tokens before they repeat
    on_text: HeadScores | None = None  # the habits on a text

    @property
    def found(self) -> tuple[Finding, ...]:
        """The heads that sample B confirms."""
        return tuple(one for one in self.findings if one.verdict == "found")

    @property
    def by_chance(self) -> float:
        """How many of the tests pick some head on average where there is nothing to find. Sample B is asked after."""
        return LEVEL * len(self.tests)


def scan(
    model: HookedTransformer,
    seeds: tuple[int, int] = (0, 1),
    n: int = BLOCK,
    n_seqs: int = SEQUENCES,
    budget: float | None = None,
    progress: Progress = silent,
    text: Sample | None = None,
) -> Scan:
    """Every head of ``model`` on two samples of repeated random tokens, then all other instruments as evidence.

    ``text``: where the habits are measured besides (:func:`lens.analysis.corpus.own_text.own_text`).

    After ``budget`` seconds no further instrument of evidence is begun; the scan names those. ValueError for one seed
    twice, which is no second sample, and for fewer sequences than carry a verdict.
    """
    if seeds[0] == seeds[1]:
        raise ValueError(f"scan: both samples have seed {seeds[0]}; give two different seeds.")
    if too_few(n_seqs):
        raise ValueError(f"scan: {too_few(n_seqs)}.")
    start, bos = time.monotonic(), model.bos.id is not None and model.bos.prepend
    samples = [repeats(repeated_tokens(model, n, n_seqs, seed, bos)) for seed in seeds]
    judges = judging()
    first = measure(model, judges, samples[:1], part(progress, 0, 0.3))
    second = measure(model, judges, samples[1:], part(progress, 0.3, 0.6))
    rest = [one for one in INSTRUMENTS if one not in judges]
    evidence = _within(model, rest, samples[1], start, budget, part(progress, 0.6, 1 if text is None else 0.8))
    result = judged(first, second, evidence, seeds, n)
    if text is None:
        return result
    return _beside(result, scores_on_text(corpus(model, text, part(progress, 0.8, 1)).readings, text))


def _beside(result: Scan, on_text: HeadScores) -> Scan:
    """With every habit on a text."""
    findings = []
    for one in result.findings:
        scores = [on_text.scores.get(habit.instrument) for habit in one.habits]
        beside = [None if score is None else standing(score, one.head) for score in scores]
        habits = tuple(habit._replace(on_text=facts) for habit, facts in zip(one.habits, beside))
        findings.append(one._replace(habits=habits))
    return result._replace(findings=tuple(findings), on_text=on_text)


def judging() -> list[Instrument]:
    """The instruments that are measured on both samples: habits, and the need for a head."""
    return [one for one in INSTRUMENTS if one.pattern is not None or one is RESAMPLE]


def _within(
    model: HookedTransformer,
    instruments: Sequence[Instrument],
    sample: Sample,
    start: float,
    budget: float | None,
    progress: Progress,
) -> HeadScores:
    """Each instrument that is begun within ``budget`` seconds of ``start``; the others are missing, with the reason."""
    scores, missing = {}, {}
    for at, one in enumerate(instruments):
        if budget is not None and time.monotonic() - start > budget:
            missing[one.name] = f"not computed because the {budget:,.0f} s of this scan were over"
            continue
        watch = part(progress, at / len(instruments), (at + 1) / len(instruments))
        measured = measure(model, [one], [sample], watch)
        scores |= measured.scores
        missing |= measured.missing
    sources = dict.fromkeys(used.source for one in instruments if (used := sample_for(one, [sample, WEIGHTS])))
    return HeadScores(scores, missing, "; ".join(sources), sample.repeated.seed)


def judged(first: HeadScores, second: HeadScores, evidence: HeadScores, seeds: tuple[int, int], n: int) -> Scan:
    """What two samples and all other instruments say together."""
    tests = tuple(name for name, score in first.scores.items() if name != RESAMPLE.name and score.above is not None)
    picked = dict.fromkeys(head for name in tests for head in _beyond(first[name]))
    findings = [_finding(head, tests, first, second, evidence) for head in picked]
    order: tuple[Verdict, ...] = ("found", "inconclusive", "rejected")
    findings.sort(key=lambda one: (order.index(one.verdict), -len(one.habits), one.head))
    needed: Iterable[Head] = ()
    if RESAMPLE.name in first.scores and RESAMPLE.name in second.scores:
        both = set(_beyond(first[RESAMPLE.name])) & set(_beyond(second[RESAMPLE.name]))
        needed = sorted(both - {one.head for one in findings if any(habit.verdict == "found" for habit in one.habits)})
    any_score = next(iter(first.scores.values()))
    return Scan(
        tuple(findings), tuple(needed), any_score.score.mean.numel(), tests, (first, second), evidence, seeds, n
    )


def verdict(score: HeadScore, head: Head) -> Verdict:
    """What sample B says of a head that sample A picked.

    Found: it is beyond what chance gives the best of all heads, as on sample A, although only picked ones are asked.
    Rejected: its whole interval lies within chance or, where no threshold says how far that reaches, within ``SMALL``
    of the largest effect of any head, or ``LEAST``. Inconclusive: its interval reaches further, or there is none.
    """
    if score.above is None:
        return "inconclusive"
    if score.above[head]:
        return "found"
    low, high, threshold = score.score.low, score.score.high, score.threshold
    if low is None or high is None:
        return "inconclusive"
    threshold = max(LEAST, SMALL * float(score.score.mean.abs().max())) if threshold is None else threshold
    reach = max(-float(low[head]), float(high[head])) if score.kind.scale == "two-sided" else float(high[head])
    return "rejected" if reach <= threshold else "inconclusive"


def together(habits: Sequence[Verdict], matters: Verdict) -> Verdict:
    """Found: some habit is, and the head is needed. Rejected: no habit is left, or it is not needed."""
    if "found" in habits and matters == "found":
        return "found"
    return "rejected" if matters == "rejected" or all(one == "rejected" for one in habits) else "inconclusive"


def _beyond(score: HeadScore) -> list[Head]:
    return [] if score.above is None else [Head(*at) for at in score.above.nonzero().tolist()]


def _finding(head: Head, tests: Sequence[str], first: HeadScores, second: HeadScores, evidence: HeadScores) -> Finding:
    names = [name for name in tests if name in second.scores and first[name].above[head]]
    habits = tuple(
        Habit(name, verdict(second[name], head), standing(first[name], head), standing(second[name], head))
        for name in names
    )
    needed = second.scores.get(RESAMPLE.name)
    matters: Verdict = "inconclusive" if needed is None else verdict(needed, head)
    said = {name: bool(score.above[head]) for name, score in evidence.scores.items() if score.above is not None}
    return Finding(
        head,
        together([one.verdict for one in habits], matters),
        habits,
        matters,
        None if needed is None else standing(needed, head),
        tuple(name for name, yes in said.items() if yes),
        tuple(name for name, yes in said.items() if not yes),
    )
