"""Interventions: parts of a run replaced by those of another, exactly and without one forward pass for each.

Start with :func:`run_sweep` on an :class:`Experiment`: prompts in :class:`Pairs`, what is put where in an
:class:`Intervention`, which cells in a :class:`Grid`, and what is measured in a :class:`Metric`.
"""

from lens.analysis.interventions.agreement import Agreement, agreement
from lens.analysis.interventions.attribution import NOTE as ATTRIBUTION_NOTE
from lens.analysis.interventions.attribution import attribution
from lens.analysis.interventions.cells import Cell, Grid, Place, heads_set
from lens.analysis.interventions.engine import (
    Outline,
    Part,
    assemble,
    outline,
    run_sweep,
    sweep_group,
)
from lens.analysis.interventions.export import (
    ablation_to_python,
    agreement_lines,
    change_lines,
    from_json,
    paths_to_python,
    repair_to_python,
    sets_to_python,
    to_json,
    to_python,
)
from lens.analysis.interventions.head_sets import (
    Faithfulness,
    HeadSets,
    faithfulness,
    head_sets,
    nothing_to_explain,
)
from lens.analysis.interventions.inspect import CellChange, cell_change
from lens.analysis.interventions.intervention import INTO, KINDS, Experiment, Intervention, Metric, kinds_for
from lens.analysis.interventions.pairs import Noise, Pairs, with_noise
from lens.analysis.interventions.path import (
    INPUTS,
    Path,
    PathPart,
    PathSweep,
    Sender,
    path_effect,
    senders_in_order,
    with_senders,
)
from lens.analysis.interventions.path_engine import PathOutline, path_group, path_outline, path_patch
from lens.analysis.interventions.plan import STATUS
from lens.analysis.interventions.results import (
    Effect,
    Recovered,
    Share,
    Sweep,
    closed,
    effect,
    gap_of,
    recovered,
)
from lens.analysis.interventions.sites import SITES, Site, available_sites, find_site

__all__ = [
    "ATTRIBUTION_NOTE",
    "INPUTS",
    "INTO",
    "KINDS",
    "SITES",
    "STATUS",
    "Agreement",
    "Cell",
    "CellChange",
    "Effect",
    "Experiment",
    "Faithfulness",
    "Grid",
    "HeadSets",
    "Intervention",
    "Metric",
    "Noise",
    "Outline",
    "Pairs",
    "Part",
    "Path",
    "PathOutline",
    "PathPart",
    "PathSweep",
    "Place",
    "Recovered",
    "Sender",
    "Share",
    "Site",
    "Sweep",
    "ablation_to_python",
    "agreement",
    "agreement_lines",
    "assemble",
    "attribution",
    "available_sites",
    "cell_change",
    "change_lines",
    "closed",
    "effect",
    "faithfulness",
    "find_site",
    "from_json",
    "gap_of",
    "head_sets",
    "heads_set",
    "kinds_for",
    "nothing_to_explain",
    "outline",
    "path_effect",
    "path_group",
    "path_outline",
    "path_patch",
    "paths_to_python",
    "recovered",
    "repair_to_python",
    "run_sweep",
    "senders_in_order",
    "sets_to_python",
    "sweep_group",
    "to_json",
    "to_python",
    "with_noise",
    "with_senders",
]
