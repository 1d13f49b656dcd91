"""Runs of both sides of the pairs, recorded once: streams, keys and values, and what the intervention needs."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lens.analysis.interventions.intervention import Experiment
from lens.analysis.interventions.pairs import Pairs, noise_of
from lens.analysis.interventions.sites import find_site, n_layers_of
from lens.analysis.streaming import batches
from lens.attention import KeyValues
from lens.finite import require_finite
from lens.hooks import HookPoint, hooks
from lens.model import Transformer

FROM_OTHER = ("other", "mean", "mean_last")  # what is put in place and read from the other run
NORMS = ("ln1", "ln2", "ln1_post", "ln2_post")


class Run(NamedTuple):
    """One recorded run of all pairs, padded on the right."""

    mask: Bool[Tensor, "pair pos"]
    final: Float[Tensor, "pair pos d_model"]  # the stream after the last layer
    kept: dict[str, Tensor]  # hook name → activation [pair, …]
    past: KeyValues

    @property
    def n_bytes(self) -> int:
        """Memory that the run holds."""
        tensors = [self.final, *self.kept.values(), *(x for pair in self.past.layers.values() for x in pair)]
        return sum(x.numel() * x.element_size() for x in tensors)


def first_stream(model: Transformer, pairs: Pairs, side: str) -> tuple[Tensor, Tensor]:
    """The stream before layer 0 [pair, pos, d_model], with the pairs' noise on the corrupted side, and the mask."""
    batch = pairs.side(side, model.device)
    resid = model.embed_tokens(batch.tokens, model.places(batch.tokens, batch.mask))
    if side == "corrupted" and pairs.noise is not None:
        resid = resid + noise_of(pairs, model.embed.W_E, pairs.n_pos, model.embed.scale)
    return resid, batch.mask


@torch.no_grad()
def record(
    model: Transformer, pairs: Pairs, side: str, names: Iterable[str], tick: Callable[[], None] = lambda: None
) -> Run:
    """Run one side, keeping the activations called ``names`` and all keys and values. ``tick`` is called per batch."""
    resid, mask = first_stream(model, pairs, side)
    names, runs = list(dict.fromkeys(names)), []
    for rows in batches(len(resid), resid.shape[1], model.cfg.n_heads):
        runs.append(_record(model, resid[rows], mask[rows], names))
        read = runs[-1].final[mask[rows]]
        require_finite(model, pairs.side(side, model.device).tokens[rows], read, mask[rows], f"{side} activations")
        tick()
    if len(runs) == 1:
        return runs[0]
    past = KeyValues()
    for layer in runs[0].past.layers:
        past.layers[layer] = tuple(torch.cat([run.past.layers[layer][i] for run in runs]) for i in (0, 1))
    kept = {name: torch.cat([run.kept[name] for run in runs]) for name in names}
    return Run(mask, torch.cat([run.final for run in runs]), kept, past)


def _record(model: Transformer, resid: Tensor, mask: Tensor, names: list[str]) -> Run:
    kept: dict[str, Tensor] = {}

    def keep(activation: Tensor, hook: HookPoint) -> None:
        kept[hook.name] = activation

    past = KeyValues()
    with hooks(model, [(names, keep)] if names else [], writes=False):
        final = model(
            resid,
            attention_mask=None if mask.all() else mask,
            start_at_layer=0,
            stop_at_layer=model.cfg.n_layers,
            past=past,
        )
        if "ln_final.hook_scale" in names:
            model.ln_final(final)
    return Run(mask, final, kept, past)


def frozen_names(model: Transformer, freeze: tuple[str, ...]) -> list[str]:
    """The hook points that "patterns", "scales" and single names mean; KeyError for one that does not exist."""
    points, names = model.hook_dict, []
    for what in freeze:
        if what == "patterns":
            names += [f"blocks.{layer}.attn.hook_pattern" for layer in range(model.cfg.n_layers)]
        elif what == "scales":
            every = [f"blocks.{i}.{norm}.hook_scale" for i in range(model.cfg.n_layers) for norm in NORMS]
            names += [name for name in [*every, "ln_final.hook_scale"] if name in points]
        elif what in points:
            names.append(what)
        else:
            raise KeyError(f"freeze={what!r} is no hook point; use 'patterns', 'scales' or a name of hook_dict.")
    return list(dict.fromkeys(names))


def base_names(model: Transformer, experiment: Experiment) -> list[str]:
    """What must be kept of the run that is changed."""
    streams = [f"blocks.{layer}.hook_resid_pre" for layer in range(model.cfg.n_layers)]
    return streams + frozen_names(model, experiment.intervention.freeze)


def other_names(model: Transformer, experiment: Experiment) -> list[str]:
    """What must be kept of the run that activations come from."""
    site = find_site(experiment.intervention.site, model.cfg)
    if experiment.intervention.put not in FROM_OTHER:
        return []
    return list(dict.fromkeys(site.hook_name(layer) for layer in n_layers_of(site, model.cfg)))
