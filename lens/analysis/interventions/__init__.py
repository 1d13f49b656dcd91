"""Interventions: parts of a run replaced by those of another, exactly and without one forward pass for each.

Start with :func:`run_sweep` on an :class:`Experiment`: prompts in :class:`Pairs`, what is put where in an
:class:`Intervention`, which cells in a :class:`Grid`, and what is measured in a :class:`Metric`.
"""

from lens.analysis.interventions.cells import Cell, Grid, Place, heads_set
from lens.analysis.interventions.engine import (
    Outline,
    Part,
    assemble,
    outline,
    run_sweep,
    sweep_group,
    sweep_parts,
)
from lens.analysis.interventions.intervention import FREEZE, INTO, KINDS, PUT, Experiment, Intervention, Metric
from lens.analysis.interventions.pairs import Noise, Pairs, with_noise
from lens.analysis.interventions.plan import STATUS
from lens.analysis.interventions.results import Effect, Recovered, Sweep, clean_and_corrupted, effect, recovered
from lens.analysis.interventions.sites import SITES, Site, available_sites, find_site

__all__ = [
    "FREEZE",
    "INTO",
    "KINDS",
    "PUT",
    "SITES",
    "STATUS",
    "Cell",
    "Effect",
    "Experiment",
    "Grid",
    "Intervention",
    "Metric",
    "Noise",
    "Outline",
    "Pairs",
    "Part",
    "Place",
    "Recovered",
    "Site",
    "Sweep",
    "assemble",
    "available_sites",
    "clean_and_corrupted",
    "effect",
    "find_site",
    "heads_set",
    "outline",
    "recovered",
    "run_sweep",
    "sweep_group",
    "sweep_parts",
    "with_noise",
]
