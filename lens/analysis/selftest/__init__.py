"""Do the instruments find what was planted, and reject what only looks like it?"""

from collections.abc import Iterable

import torch

from lens.analysis.selftest.instrument import Instrument
from lens.analysis.selftest.instruments import INSTRUMENTS
from lens.analysis.selftest.result import Row, judge, problem
from lens.analysis.selftest.subject import TOOLS, Subject, Tools, make_subject
from lens.analysis.verdicts import too_few
from lens.hooked import HookedTransformer
from lens.planted.plants import NAMES

SEQUENCES, SEED = 16, 0


def examine(name: str, n_seqs: int = SEQUENCES, seed: int = SEED) -> tuple[Row, ...]:
    """All instruments on the planted model of that name, one row each."""
    return run((name,), n_seqs, seed)


@torch.no_grad()
def run(
    names: Iterable[str] = NAMES,
    n_seqs: int = SEQUENCES,
    seed: int = SEED,
    instruments: Iterable[Instrument] = INSTRUMENTS,
    tools: Tools = TOOLS,
) -> tuple[Row, ...]:
    """The scorecard: every instrument on every planted model. ``tools``: the functions that are tested.

    ValueError for fewer than 16 sequences, which carry no verdict.
    """
    if too_few(n_seqs):
        raise ValueError(f"selftest.run: {too_few(n_seqs)}.")
    instruments, rows = tuple(instruments), []
    for name in names:
        subject = make_subject(HookedTransformer.from_pretrained(name), n_seqs, seed, tools)
        rows += [_row(instrument, subject, seed) for instrument in instruments]
    return tuple(rows)


def _row(instrument: Instrument, subject: Subject, seed: int) -> Row:
    reading = instrument.measure(subject)
    expected = instrument.expected[subject.model.name]
    verdict = judge(reading, instrument.smallest, instrument.striking)
    return Row(
        instrument=instrument.name,
        model=subject.model.name,
        verdict=verdict,
        expected=expected.verdict,
        reading=reading,
        closed_form=expected.value,
        seed=seed,
        problem=problem(verdict, expected, reading, instrument.tolerance),
    )
