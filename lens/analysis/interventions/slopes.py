"""The base run with its gradients: what attribution patching reads off."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.interventions.engine import over_read
from lens.analysis.interventions.intervention import Experiment
from lens.analysis.interventions.readers import Reader
from lens.analysis.interventions.recording import first_stream, frozen_names
from lens.analysis.interventions.sites import find_site, n_layers_of
from lens.hooks import HookPoint, hooks
from lens.model import Transformer
from lens.positions import Places


class Slopes(NamedTuple):
    """The base run with its gradients: activation and d metric / d activation, by hook name."""

    chunk: range  # which pairs
    metric: Float[Tensor, " pair"]
    activations: dict[str, Tensor]
    gradients: dict[str, Tensor]
    places: Places
    frozen: frozenset[str]


def slopes_of(model: Transformer, experiments: Sequence[Experiment], chunk: range, reader: Reader) -> Slopes:
    """Forward and backward of the base run of some pairs. What is frozen passes no gradient on."""
    first = experiments[0]
    rows = slice(chunk.start, chunk.stop)
    resid, mask = (x[rows] for x in first_stream(model, first.pairs, first.intervention.base))
    resid, mask = resid.detach().requires_grad_(), None if mask.all() else mask
    names, kept = _names(model, experiments), {}

    def keep(activation: Tensor, hook: HookPoint) -> None:
        kept[hook.name] = activation

    frozen = frozen_names(model, first.intervention.freeze)
    with torch.enable_grad(), hooks(model, [(frozen, _stop_gradient)] if frozen else []):
        with hooks(model, [(names, keep)], writes=False):
            final = model(resid, attention_mask=mask, start_at_layer=0, stop_at_layer=model.cfg.n_layers)
            metric = metric_of(model, reader, final, chunk)
        found = torch.autograd.grad(metric.sum(), [kept[name] for name in names], allow_unused=True)
    gradients = {name: torch.zeros_like(kept[name]) if one is None else one for name, one in zip(names, found)}
    activations = {name: x.detach() for name, x in kept.items()}
    with torch.no_grad():
        return Slopes(chunk, metric.detach(), activations, gradients, model.places(resid, mask), frozenset(frozen))


def _stop_gradient(activation: Tensor, hook: HookPoint) -> Tensor:
    return activation.detach().requires_grad_()


def _names(model: Transformer, experiments: Sequence[Experiment]) -> list[str]:
    names = []
    for experiment in experiments:
        site = find_site(experiment.intervention.site, model.cfg)
        names += [site.hook_name(layer) for layer in n_layers_of(site, model.cfg)]
        if site.name in ("q", "k"):
            for layer in range(model.cfg.n_layers):
                names += [f"blocks.{layer}.attn.hook_{one}" for one in ("q", "k", "attn_scores", "pattern")]
    return list(dict.fromkeys(names))


def metric_of(model: Transformer, reader: Reader, final: Tensor, chunk: range) -> Float[Tensor, " pair"]:
    """The metric of some pairs, with its graph."""
    read = reader.read[chunk.start : chunk.stop]
    pair, pos = read.nonzero(as_tuple=True)
    values = reader(model.ln_final(final)[pair, pos], pair + chunk.start, pos)
    return over_read(values.new_zeros(read.shape).index_put((pair, pos), values), read)
