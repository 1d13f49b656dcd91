"""What is computed group by group, each of which can be kept: a sweep of replacements, or senders of direct paths."""

from collections.abc import Iterable
from itertools import chain
from typing import Any

from lens.analysis.interventions.ablation import with_parts
from lens.analysis.interventions.engine import Outline, Part, outline, sweep_group
from lens.analysis.interventions.intervention import Experiment
from lens.analysis.interventions.path import Path, PathPart, PathSweep, with_senders
from lens.analysis.interventions.path_engine import PathOutline, path_group, path_outline
from lens.analysis.interventions.results import Sweep
from lens.model import Transformer

Work = Experiment | Path


def outline_of(model: Transformer, work: Work) -> Outline | PathOutline:
    """How much there is to compute, and about how long it takes."""
    return path_outline(model, work) if isinstance(work, Path) else outline(model, work)


def runs_of(group: int, model: Transformer, work: Work) -> Part | tuple[PathPart, ...]:
    """One of the groups of the outline."""
    return path_group(group, model, work) if isinstance(work, Path) else sweep_group(group, model, work)


def joined(empty: Sweep | PathSweep, groups: Iterable[Any]) -> Sweep | PathSweep:
    """The ``empty`` sweep of an outline with these groups filled in; needs no model."""
    if isinstance(empty, Sweep):
        return with_parts(empty, groups)
    return with_senders(empty, chain.from_iterable(groups))
