"""All instruments, in the order of the chain. Imports no torch: pages list these names before they compute.

A new one: its file, a line here, and a test.
"""

from collections.abc import Sequence

from lens.analysis.instruments.ablation import MEAN, RESAMPLE, ZERO
from lens.analysis.instruments.copy_suppression import COPY_SUPPRESSION
from lens.analysis.instruments.direct_effect import DIRECT_EFFECT
from lens.analysis.instruments.distance import DISTANCE
from lens.analysis.instruments.duplicate import DUPLICATE
from lens.analysis.instruments.entropy import ENTROPY, ENTROPY_SHARE
from lens.analysis.instruments.feeders import FEEDER_K, FEEDER_Q, FEEDER_V
from lens.analysis.instruments.first import FIRST
from lens.analysis.instruments.induction import INDUCTION
from lens.analysis.instruments.instrument import LINKS, Instrument, Link
from lens.analysis.instruments.largest import LARGEST
from lens.analysis.instruments.name_copying import COPYING as NAME_COPYING
from lens.analysis.instruments.name_copying import NEGATIVE as NAME_COPYING_NEGATIVE
from lens.analysis.instruments.ov_copying import OV_FULL, OV_RESIDUAL
from lens.analysis.instruments.ov_diagonal import TOP_1, TOP_10
from lens.analysis.instruments.prefix_matching import PREFIX_MATCHING
from lens.analysis.instruments.previous import PREVIOUS
from lens.analysis.instruments.self_attention import SELF
from lens.analysis.instruments.sink import SINK
from lens.analysis.instruments.successor import SUCCESSOR
from lens.analysis.instruments.two_back import TWO_BACK

INSTRUMENTS: tuple[Instrument, ...] = (
    FIRST,
    SINK,
    SELF,
    DISTANCE,
    LARGEST,
    ENTROPY,
    ENTROPY_SHARE,
    INDUCTION,
    DUPLICATE,
    PREVIOUS,
    TWO_BACK,
    OV_FULL,
    OV_RESIDUAL,
    TOP_1,
    TOP_10,
    NAME_COPYING,
    NAME_COPYING_NEGATIVE,
    SUCCESSOR,
    COPY_SUPPRESSION,
    FEEDER_Q,
    FEEDER_K,
    FEEDER_V,
    PREFIX_MATCHING,
    RESAMPLE,
    MEAN,
    ZERO,
    DIRECT_EFFECT,
)
HEAD_SCORES = ("induction", "duplicate", "previous", "first", "entropy", "entropy_normalised")  # asked by default


def instrument(name: str) -> Instrument:
    """The instrument of that name; KeyError lists the names."""
    for one in INSTRUMENTS:
        if one.name == name:
            return one
    raise KeyError(f"no instrument is called {name!r}; there are {', '.join(one.name for one in INSTRUMENTS)}")


def instruments_named(names: Sequence[str]) -> tuple[Instrument, ...]:
    """Several, in this order; KeyError lists the names."""
    return tuple(map(instrument, names))


def pattern_names() -> tuple[str, ...]:
    """The instruments of attention patterns: one pass over a sample gives them all."""
    return tuple(one.name for one in INSTRUMENTS if one.pattern is not None)


def by_link() -> dict[Link, tuple[Instrument, ...]]:
    """All instruments under the link of the chain that they are evidence for, links in its order."""
    return {link: tuple(one for one in INSTRUMENTS if one.link == link) for link in LINKS}
