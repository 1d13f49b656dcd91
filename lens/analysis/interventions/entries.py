"""First-order effect of every entry of a site at one layer; queries and keys go through the softmax exactly."""

from typing import NamedTuple

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor

from lens.analysis.interventions.cells import Cell, Place
from lens.analysis.interventions.rows import Rows
from lens.analysis.interventions.sites import find_site
from lens.analysis.interventions.slopes import Slopes
from lens.analysis.interventions.values import Values
from lens.components import at_least_float32
from lens.hooks import hooks
from lens.model import Transformer
from lens.positions import Places


class Changes(NamedTuple):
    """Approximate change of the metric at one layer, as finely as the site has axes; cells are sums of entries."""

    fine: Float[Tensor, "pair *axes"]  # [pair, pos], [pair, pos, head or neuron], or [pair, head, query, key]
    every_pos: Float[Tensor, "pair head"] | None = None  # keys of all positions replaced together


@torch.no_grad()
def changes_at(model: Transformer, site: str, layer: int, slopes: Slopes, values: Values) -> Changes:
    """The approximate effect of every entry of a site at one layer."""
    name = find_site(site, model.cfg).hook_name(layer)
    old, n_pos = slopes.activations[name], slopes.places.positions.shape[1]
    pair = torch.arange(slopes.chunk.start, slopes.chunk.stop, device=old.device)
    new = values(layer, name, old, Rows(pair, (), (), 0, n_pos, pair)).to(old.dtype)
    if site in ("q", "k") and model.cfg.qk_norm != "all":  # there, one head's query moves the norm of all others
        return _through_softmax(model, site, layer, new, slopes)
    change = at_least_float32(slopes.gradients[name]) * (new - old)
    has_width = site not in ("pattern", "neurons")
    fine = (change.sum(-1) if has_width else change).cpu()
    return Changes(fine, fine.sum(1) if site == "k" else None)


def _through_softmax(model: Transformer, site: str, layer: int, new: Tensor, slopes: Slopes) -> Changes:
    """Queries or keys replaced: the pattern they make exactly, then first order in the pattern."""
    name = f"blocks.{layer}.attn.hook_{{}}"
    q, k, scores, pattern = (slopes.activations[name.format(one)] for one in ("q", "k", "attn_scores", "pattern"))
    gradient = at_least_float32(slopes.gradients[name.format("pattern")])
    if name.format("pattern") in slopes.frozen:  # its gradient is there, but queries and keys no longer reach it
        gradient = torch.zeros_like(gradient)
    scores, pattern = at_least_float32(scores), at_least_float32(pattern)
    replaced = scores_of(model, layer, new if site == "q" else q, new if site == "k" else k, slopes.places)
    replaced = at_least_float32(replaced)
    together = gradient * (replaced.softmax(-1) - pattern)
    if site == "q":
        return Changes(rearrange(together.sum(-1), "pair head query -> pair query head").cpu())
    group = model.cfg.group_size
    alone = one_key(pattern, scores, replaced, gradient).sum(2)
    fine = rearrange(alone, "pair (kv_head group) key -> pair key kv_head group", group=group).sum(-1)
    joint = rearrange(together.sum((2, 3)), "pair (kv_head group) -> pair kv_head group", group=group).sum(-1)
    return Changes(fine.cpu(), joint.cpu())


def one_key(
    pattern: Float[Tensor, "pair head query key"],
    scores: Float[Tensor, "pair head query key"],
    replaced: Float[Tensor, "pair head query key"],
    gradient: Float[Tensor, "pair head query key"],
) -> Float[Tensor, "pair head query key"]:
    """Σ over keys of gradient · Δpattern, when the score of one key alone becomes its ``replaced`` value.

    The other keys of that query keep their scores, so their pattern is multiplied by Z / Z', the ratio of the sums.
    """
    log_sum = scores.logsumexp(-1, keepdim=True)
    put = (replaced - log_sum).exp()  # the new weight of that key, over the old sum
    ratio = 1 / (1 - pattern + put).clamp(min=torch.finfo(pattern.dtype).tiny)
    others = einsum(gradient, pattern, "pair head query key, pair head query key -> pair head query")[..., None]
    return (ratio - 1) * (others - gradient * pattern) + gradient * (put * ratio - pattern)


def scores_of(
    model: Transformer, layer: int, q: Tensor, k: Tensor, places: Places
) -> Float[Tensor, "pair head query key"]:
    """The scores, −inf where a query may not look, that these queries and keys make."""
    seen, attn = [], model.blocks[layer].attn
    name = f"blocks.{layer}.attn.hook_attn_scores"
    with hooks(model, [(name, lambda scores, hook: seen.append(scores))], writes=False):
        q, k = attn.positioned("q", q, places), attn.positioned("k", k, places)
        attn.attend(q, k, places.allowed[attn.window], places.bias)
    return seen[0]


def of_cell(cell: Cell, changes: dict[int, Changes], site: str, lengths: Tensor) -> Float[Tensor, " pair"]:
    """Sum over the places of a cell; NaN for a prompt that lacks one of them."""
    parts = [_of_place(place, changes[place.layer], site, lengths) for place in cell]
    return torch.stack(parts).sum(0)


def _of_place(place: Place, changes: Changes, site: str, lengths: Tensor) -> Float[Tensor, " pair"]:
    if site == "k" and place.pos is None:
        joint = changes.every_pos
        return joint.sum(-1) if place.head is None else joint[:, place.head]
    fine = changes.fine.transpose(1, 2) if site == "pattern" else changes.fine  # [pair, pos, …]
    n_pos = torch.arange(fine.shape[1])
    absent = (place.key or 0) >= lengths
    if place.pos is None:
        chosen = n_pos < lengths[:, None]
    else:
        at = lengths + place.pos if place.pos < 0 else torch.full_like(lengths, place.pos)
        absent |= (at < 0) | (at >= lengths)
        chosen = n_pos == at[:, None]
    fine = fine.masked_fill(~chosen.reshape(*chosen.shape, *[1] * (fine.ndim - 2)), 0)
    first = place.neuron if site == "neurons" else place.head
    for axis, at in ((3, place.key), (2, first)):
        if at is not None:
            fine = fine.select(axis, at)
    return fine.flatten(1).sum(-1).masked_fill(absent, torch.nan)
