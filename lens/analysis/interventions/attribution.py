"""Attribution patching: the effect of every cell at once, to first order, from one forward and one backward pass.

An approximation: it takes the metric as linear in what is replaced. Queries and keys go through the softmax exactly,
because a saturated pattern hides them from the gradient (AtP*). Source: Nanda 2023, "Attribution patching";
Kramár et al. 2024, "AtP*".
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.interventions.entries import changes_at, of_cell
from lens.analysis.interventions.intervention import Experiment
from lens.analysis.interventions.plan import ABSENT, BUDGET, row_bytes
from lens.analysis.interventions.readers import Reader
from lens.analysis.interventions.recording import other_names, record
from lens.analysis.interventions.results import Sweep
from lens.analysis.interventions.sites import find_site
from lens.analysis.interventions.slopes import metric_of, slopes_of
from lens.analysis.interventions.values import Values, values_of
from lens.batching import at_once
from lens.model import Transformer

NOTE = "approximation: first order in what is replaced, queries and keys exact through the softmax; verify large cells"


def attribution(model: Transformer, experiments: Sequence[Experiment], budget: int = BUDGET) -> list[Sweep]:
    """What :func:`run_sweep` would find for each experiment, to first order. All share one forward and one backward.

    They must have the same pairs, metric, direction and freezing. Values are base + approximate change; ``NOTE`` must
    be shown with them. A cell of several places is the sum over them: what flows from one through another is counted
    twice. ValueError for a metric without a gradient (rank).
    """
    first = experiments[0]
    if any(_shared(one) != _shared(first) for one in experiments):
        raise ValueError("attribution: experiments of one call share pairs, metric, direction and freeze.")
    if first.metric.kind == "rank":
        raise ValueError("attribution: a rank has no gradient; choose logit_diff, log_prob or loss.")
    pairs, intervention = first.pairs, first.intervention
    names = dict.fromkeys(name for one in experiments for name in other_names(model, one))
    other = record(model, pairs, intervention.other, names)
    readers = {side: Reader(model, pairs, side, first.metric) for side in ("clean", "corrupted")}
    if first.metric.kind == "kl":
        clean = other if intervention.other == "clean" else record(model, pairs, "clean", ())
        with torch.no_grad():
            readers["clean"].clean = readers["corrupted"].clean = model.ln_final(clean.final)
    new = [values_of(one.intervention, other, model.cfg) for one in experiments]
    found = [
        _chunk(model, experiments, chunk, readers[intervention.base], new) for chunk in _chunks(model, first, budget)
    ]
    with torch.no_grad():
        metric = metric_of(model, readers[intervention.other], other.final, range(len(pairs))).cpu()
    return [_joined(model, one, [chunk[i] for chunk in found], metric) for i, one in enumerate(experiments)]


def _shared(one: Experiment) -> tuple:
    return one.pairs, one.metric, one.intervention.into, one.intervention.freeze


def _chunks(model: Transformer, experiment: Experiment, budget: int) -> list[range]:
    """Pairs whose graph fits the budget: backward needs the activations of all layers at once."""
    n, n_pos = len(experiment.pairs), experiment.pairs.n_pos
    size = at_once(budget // (row_bytes(model.cfg, n_pos, n_pos) * model.cfg.n_layers))
    return [range(i, min(i + size, n)) for i in range(0, n, size)]


def _chunk(
    model: Transformer, experiments: Sequence[Experiment], chunk: range, reader: Reader, new: Sequence[Values]
) -> list[tuple[Tensor, Tensor]]:
    """Values [cell, pair] of every experiment, and the base metric, of some pairs."""
    slopes = slopes_of(model, experiments, chunk, reader)
    base = slopes.metric.cpu()
    found = []
    for experiment, values in zip(experiments, new):
        site, pairs = find_site(experiment.intervention.site, model.cfg), experiment.pairs
        cells = experiment.grid.cells(site, model.cfg, pairs.n_pos)
        layers = sorted({place.layer for cell in cells for place in cell})
        changes = {layer: changes_at(model, site.name, layer, slopes, values) for layer in layers}
        lengths = torch.tensor([len(pairs.clean[i]) for i in chunk])
        out: Float[Tensor, "cell pair"] = torch.stack([of_cell(cell, changes, site.name, lengths) for cell in cells])
        found.append((out + base, base))
    return found


def _joined(model: Transformer, experiment: Experiment, found: list[tuple[Tensor, Tensor]], other: Tensor) -> Sweep:
    values, base = (torch.cat(parts, dim=-1) for parts in zip(*found))
    site = find_site(experiment.intervention.site, model.cfg)
    axes = experiment.grid.axes(site, model.cfg, experiment.pairs.n_pos)
    shape = (*map(len, axes.values()), len(base))
    status = (values.isnan() * ABSENT).to(torch.uint8)
    return Sweep(values.reshape(shape), status.reshape(shape), base, other, axes, experiment)
