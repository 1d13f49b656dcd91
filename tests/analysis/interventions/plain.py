"""The plain way: one forward pass of one pair for each cell, and the metric from all logits."""

import torch

from lens.analysis.interventions import SITES

PATTERN = {"pos": 2, "head": 1, "key": 3}
OTHERS = {"pos": 1, "head": 2, "neuron": 2}


def forward(model, ids, hooks=(), resid_change=None):
    """Logits [pos, d_vocab] of one prompt without padding."""
    hooks = list(hooks)
    if resid_change is not None:
        hooks.insert(0, ("blocks.0.hook_resid_pre", lambda x, hook: x + resid_change))
    with torch.no_grad():
        return model.run_with_hooks(torch.tensor([ids]), fwd_hooks=hooks)[0]


def cached(model, ids, resid_change=None):
    kept = {}

    def keep(x, hook):
        kept[hook.name] = x.clone()

    forward(model, ids, [(lambda name: "input" not in name and "mlp_in" not in name, keep)], resid_change)
    return kept


def index_of(site, place, length):
    axes = PATTERN if site == "pattern" else OTHERS
    index = [slice(None)] * 4
    for axis in SITES[site].axes:
        at = getattr(place, axis)
        if at is not None:
            index[axes[axis]] = at + length if axis == "pos" and at < 0 else at
    return index


def changes(site, cell, length, new):
    """Hooks that replace the places of ``cell`` by ``new(name, old)``."""

    def put(x, hook):
        value = new(hook.name, x)
        for place in cell:
            if SITES[site].hook_name(place.layer) == hook.name:
                index = index_of(site, place, length)[: x.ndim]
                x[tuple(index)] = value[tuple(index)]
        return x

    return [(name, put) for name in {SITES[site].hook_name(place.layer) for place in cell}]


def freezing(kept, names):
    return [(name, lambda x, hook: kept[hook.name]) for name in names]


def logit_diff(logits, answers, wrong):
    last = logits[-1]
    return float(last[list(answers)].mean() - last[list(wrong)].mean())
