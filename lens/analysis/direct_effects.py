"""What every head adds to a task's answers by itself: its direct path, at the places where the metric is read."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.circuit_weights import read_through
from lens.analysis.direct_paths import final_scale, head_parts
from lens.analysis.interventions.intervention import Metric
from lens.analysis.interventions.pairs import Ids, Pairs
from lens.analysis.interventions.readers import Reader
from lens.analysis.interventions.recording import record
from lens.model import Transformer
from lens.progress import Progress, silent


@torch.no_grad()
def direct_effects(
    model: Transformer, pairs: Pairs, metric: Metric, side: str = "clean", progress: Progress = silent
) -> Float[Tensor, "layer head pair"]:
    """Logits that each head adds to the right answers above the wrong ones, in the run of one ``side``.

    Where there are no wrong answers: above the average token; where there are no answers: to the next token of the
    prompt above the average one. Mean over the places that ``metric`` reads. The final norm's scale, and that of a
    norm after attention, are those of the run. b_O belongs to no head, nor does what stands in every value
    (:func:`~.circuit_weights.constant_values`). Source: Elhage et al. 2021.
    """
    cfg = model.cfg
    names = [f"blocks.{layer}.attn.hook_z" for layer in range(cfg.n_layers)]
    names += [f"blocks.{layer}.ln1_post.hook_scale" for layer in range(cfg.n_layers) if cfg.post_norm]
    run = record(model, pairs, side, names)
    reader = Reader(model, pairs, side, _plain(pairs, metric))
    pair, pos = reader.read.nonzero(as_tuple=True)
    reads = read_through(model.ln_final, _directions(model, pairs, reader.tokens, pair, pos).T).T
    scale = final_scale(model, run.final[pair, pos])
    count = torch.bincount(pair, minlength=len(pairs))
    found = []
    for layer in range(cfg.n_layers):
        added = head_parts(model, layer, run.kept[f"blocks.{layer}.attn.hook_z"][pair, pos], reads / scale)
        if cfg.post_norm:
            added = added / run.kept[f"blocks.{layer}.ln1_post.hook_scale"][pair, pos]
        total = added.new_zeros(len(pairs), cfg.n_heads).index_add_(0, pair, added)
        found.append((total / count[:, None]).T)
        progress((layer + 1) / cfg.n_layers, f"layer {layer} of {cfg.n_layers}")
    return torch.stack(found).cpu()


def _plain(pairs: Pairs, metric: Metric) -> Metric:
    """A metric that reads at the same places and needs no more of the pairs than they have."""
    return Metric("logit" if pairs.answers else "loss", metric.where)


def _directions(
    model: Transformer, pairs: Pairs, tokens: Tensor, pair: Int[Tensor, " n"], pos: Int[Tensor, " n"]
) -> Float[Tensor, "n d_model"]:
    average = model.unembed.W_U.float().mean(1)
    if not pairs.answers:
        return model.unembed.W_U.T[tokens[pair, pos + 1]].float() - average
    right = _mean_direction(model, pairs.answers)
    wrong = _mean_direction(model, pairs.wrong) if pairs.wrong else average
    return (right - wrong)[pair]


def _mean_direction(model: Transformer, answers: tuple[Ids, ...]) -> Float[Tensor, "pair d_model"]:
    W_U = model.unembed.W_U.T
    return torch.stack([W_U[list(ids)].float().mean(0) for ids in answers])
