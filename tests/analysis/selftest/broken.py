"""Instruments with one fault each, as they could be written by mistake."""

from dataclasses import replace

import torch

from lens.analysis.answer.direct_attribution import direct_attribution, neuron_attribution
from lens.analysis.answer.feeder_cuts import cut_feeders
from lens.analysis.answer.generation import Change, write
from lens.analysis.answer.knockout import knockout
from lens.analysis.answer.logit_lens import LogitLens, logit_lens
from lens.analysis.answer.neurons import layer_activations
from lens.analysis.answer.predictions import predict
from lens.analysis.answer.qk_attribution import Cells, induction_cells, qk_attribution
from lens.analysis.answer.reasons import stripe_reasons
from lens.analysis.checkpoint import measure_repeats
from lens.analysis.head_scores import summarise_scores
from lens.analysis.induction_loss import RepeatLosses, loss_by_position, repeat_losses, summarise_repeats
from lens.analysis.instruments.layout import repeats_layout
from lens.analysis.instruments.patterns import PatternReader, Readings
from lens.analysis.instruments.registry import HEAD_SCORES, instruments_named
from lens.analysis.interventions import Grid, attribution, run_sweep
from lens.analysis.names import Head
from lens.analysis.random_tokens import repeated_tokens
from lens.analysis.selftest.copying import Copying, copying
from lens.analysis.selftest.dated import dated
from lens.analysis.selftest.subject import contributions
from lens.composition import composition_scores
from lens.decompose import Stack
from lens.hooks import hooks


def scores_of(pattern_of):
    """``head_scores`` from patterns that ``pattern_of(model, cache, layer)`` makes."""

    def scores(model, repeated, names=HEAD_SCORES):
        read = PatternReader(instruments_named(names), repeats_layout(repeated.n, repeated.bos))
        sides = []
        for tokens in (repeated.tokens, repeated.control):
            _, cache = model.run_with_cache(tokens)
            sides.append(torch.stack([read(pattern_of(model, cache, layer)) for layer in (0, 1)], 3))
        own = torch.tensor(read.own_null)[:, None, None, None]
        null = torch.where(own, sides[0][1], sides[1][0])
        counts = (one.expand(-1, len(repeated.tokens)) for one in (read.uniform(), read.n_queries))
        return summarise_scores(Readings(tuple(names), sides[0][0], null, *counts), repeated)

    return scores


def true_pattern(model, cache, layer):
    return cache["pattern", layer]


def wrong_offset(model, cache, layer):
    return cache["pattern", layer].roll(1, dims=-1)


def one_too_far(model, cache, layer):
    return cache["pattern", layer].roll(-1, dims=-1)


def no_causal_mask(model, cache, layer):
    q, k = (cache[name, layer].transpose(1, 2) for name in "qk")
    return (q @ k.mT / model.blocks[layer].attn.scale).softmax(-1)


def keys_and_queries_swapped(model, cache, layer):
    return cache["pattern", layer].mT


def heads_in_wrong_order(model, cache, layer):
    return cache["pattern", layer].flip(1)


def control_repeats_too(model, n, n_seqs, seed):
    repeated = repeated_tokens(model, n, n_seqs, seed)
    return repeated._replace(control=repeated.tokens)


def control_shares_tokens(model, n, n_seqs, seed):
    """A third of the control's second half is what it should have left out."""
    repeated = repeated_tokens(model, n, n_seqs, seed)
    control = repeated.control.clone()
    control[:, -(n // 3) :] = repeated.tokens[:, -(n // 3) :]
    return repeated._replace(control=control)


def transposed_OV(model):
    return composition_scores(model.OV.T, model.QK.T)


def queries_for_keys(model):
    return model.all_composition_scores("Q")


def not_normalised(model):
    return model.all_composition_scores("K") * 2


def copying_of(small_of):
    """``copying`` with the small matrix that ``small_of(model, M)`` makes."""

    def scores(model, draws, seed):
        M = (model.W_U - model.W_U.mean(1, keepdim=True)) @ model.W_E
        eigenvalues = torch.linalg.eigvals(small_of(model, M).detach())
        score = eigenvalues.sum(-1).real / eigenvalues.abs().sum(-1)
        return Copying(score, copying(model, draws, seed).null)

    return scores


def true_copying(model, M):
    return model.W_O @ M @ model.W_V


def copying_of_transposed_OV(model, M):
    return model.W_V.mT @ M @ model.W_O.mT


def copying_without_sign(model, draws, seed):
    found = copying(model, draws, seed)
    return Copying(found.score.abs(), found.null)


def copying_by_singular_values(model, draws, seed):
    found = copying(model, draws, seed)
    return Copying(torch.ones_like(found.score), found.null)  # Σσ / Σ|σ|


def without_scale(cache, direction):
    parts = contributions(cache, direction)
    return Stack(parts.values * cache["ln_final.hook_scale"][..., 0], parts.labels)


def one_position_late(cache, direction):
    parts = contributions(cache, direction)
    return Stack(parts.values.roll(1, dims=-1), parts.labels)


def wrong_sign(cache, direction):
    return contributions(cache, -direction)


def embedding_left_out(cache, direction):
    parts = contributions(cache, direction)
    return Stack(parts.values * 0.999, parts.labels)


def loss_shifted(model, repeated):
    losses = RepeatLosses(*(loss.roll(1, dims=1) for loss in repeat_losses(model, repeated)))
    return summarise_repeats(losses, repeated.n, repeated.bos, repeated.seed, repeated.set_size)


def loss_of_control(model, repeated):
    return loss_by_position(model, repeated._replace(tokens=repeated.control))


def loss_at_one_length(model, repeated):
    return loss_by_position(model, repeated_tokens(model, 25, len(repeated.tokens), repeated.seed))


def lens_without_norm(model, tokens, target):
    found = logit_lens(model, tokens, target)
    _, cache = model.run_with_cache(tokens)
    raw = model.unembed(cache["resid_post", model.cfg.n_layers - 1]).log_softmax(-1)
    logprob = found.logprob.clone()
    logprob[-1] = raw.gather(-1, target[..., None])[..., 0]
    return found._replace(logprob=logprob)


def lens_upside_down(model, tokens, target):
    return LogitLens(*(field.flip(0) for field in logit_lens(model, tokens, target)))


def lens_of_token_itself(model, tokens, target):
    return logit_lens(model, tokens, tokens)


def change_forgotten(model, tokens, n_new, sampling, change=None, **how):
    return write(model, tokens, n_new, sampling, None, **how)


def change_of_one_reading_only(model, tokens, n_new, sampling, change=None, use_past_kv_cache=True):
    """A change that a cache of keys and values loses."""
    return write(model, tokens, n_new, sampling, None if use_past_kv_cache else change)


def twin_for_model(model, tokens, n_new, sampling, change=None, **how):
    """The change is made where none was asked for, and left out where one was."""
    return write(model, tokens, n_new, sampling, Change((Head(1, 2),)) if change is None else None, **how)


def score_without_control(model, repeated):
    found = measure_repeats(model, repeated)
    return found._replace(induction_control=torch.zeros_like(found.induction_control))


def score_of_first_copy(model, repeated):
    return measure_repeats(model, repeated._replace(tokens=repeated.control))


def dated_backwards(labels, repeats):
    return dated(labels, dict(zip(repeats, reversed(repeats.values()))))


def dated_one_late(labels, repeats):
    return dated(labels, {i: repeats[max(0, i - 1)] for i in repeats})


def born_one_early(labels, repeats):
    found = dated(labels, repeats)
    birth = found.birth
    return found._replace(birth=birth._replace(last_below=birth.last_below - 1, first_above=birth.first_above - 1))


def with_put(model, experiment, put):
    return run_sweep(model, replace(experiment, intervention=replace(experiment.intervention, put=put)))


def always_zero(model, experiment):
    return with_put(model, experiment, "zero")


def mean_for_resample(model, experiment):
    return with_put(model, experiment, "mean")


def nothing_replaced(model, experiment):
    found = run_sweep(model, experiment)
    return found._replace(values=found.base.expand_as(found.values))


def neighbour_replaced(model, experiment):
    """The next head of the layer: cells of a grid move along its last axis, places of a set get the next number."""
    if not experiment.grid.sets:
        found = run_sweep(model, experiment)
        return found._replace(values=found.values.roll(1, dims=1))
    cells = tuple(tuple(one._replace(head=(one.head + 1) % 4) for one in cell) for cell in experiment.grid.sets)
    return run_sweep(model, replace(experiment, grid=Grid(sets=cells)))


def one_replaced(model, experiment):
    return run_sweep(model, replace(experiment, grid=Grid(sets=tuple(cell[:1] for cell in experiment.grid.sets))))


def other_way_round(model, experiment):
    into = {"clean": "corrupted", "corrupted": "clean"}[experiment.intervention.into]
    return run_sweep(model, replace(experiment, intervention=replace(experiment.intervention, into=into)))


def slope_of_other_run(model, experiments):
    turned = [replace(one, intervention=replace(one.intervention, into="clean")) for one in experiments]
    return attribution(model, turned)


def whole_activation(model, experiments):
    """Gradient times the activation, not times its change: zero is put there."""
    return attribution(model, [replace(one, intervention=replace(one.intervention, put="zero")) for one in experiments])


def sign_lost(model, experiments):
    found = attribution(model, experiments)
    return [one._replace(values=one.base + (one.values - one.base).abs()) for one in found]


def answer_one_late(model, tokens, target):
    return direct_attribution(model, tokens, target._replace(pos=target.pos - 1))


def answers_exchanged(model, tokens, target):
    return direct_attribution(model, tokens, target._replace(right=target.wrong, wrong=target.right))


def answer_with_something_left_out(model, tokens, target):
    found = direct_attribution(model, tokens, target)
    return found._replace(parts=found.parts * 0.999)


def sides_exchanged(model, head, repeated):
    found = stripe_reasons(model, head, repeated)
    turned = (one._replace(query_side=one.key_side, key_side=one.query_side) for one in (found.text, found.control))
    text, control = turned
    return found._replace(text=text, control=control)


def control_is_the_text(model, head, repeated):
    found = stripe_reasons(model, head, repeated)
    return found._replace(control=found.text)


def stripe_one_on(model, head, repeated):
    """The place after the induction stripe."""
    cells = induction_cells(repeated)
    found = stripe_reasons(model, head, repeated)
    late = Cells(cells.queries, tuple(key + 1 for key in cells.keys[:-1]) + cells.keys[-1:])
    text, control = (qk_attribution(model, head, ids, late) for ids in (repeated.tokens, repeated.control))
    return found._replace(text=text, control=control)


def cut_with_the_wrong_control(model, head, repeated):
    found = stripe_reasons(model, head, repeated)
    cells = induction_cells(repeated)
    return found._replace(cut_from_keys=cut_feeders(model, head, repeated.tokens, repeated.control, cells, "k"))


def nothing_cut(model, head, repeated):
    found = stripe_reasons(model, head, repeated)
    cuts = found.cut_from_keys
    return found._replace(cut_from_keys=cuts._replace(attention=cuts.uncut.expand_as(cuts.attention)))


def predicted_one_early(model, tokens, pos, answers, n_top):
    return predict(model, tokens, pos - 1, answers, n_top)


def softmax_of_the_top(model, tokens, pos, answers, n_top):
    found = predict(model, tokens, pos, answers, n_top)
    return found._replace(top_logprob=found.top_logit.log_softmax(-1))


def entropy_in_bits(model, tokens, pos, answers, n_top):
    found = predict(model, tokens, pos, answers, n_top)
    return found._replace(entropy=found.entropy / 0.6931)


def ranks_from_one(model, tokens, pos, answers, n_top):
    found = predict(model, tokens, pos, answers, n_top)
    return found._replace(rank=found.rank + 1)


def cells_cut_one_key_on(model, head, tokens, cells):
    return knockout(model, head, tokens, [(query, key + 1) for query, key in cells])


def cells_cut_in_the_next_head(model, head, tokens, cells):
    return knockout(model, (head.layer, (head.head + 1) % model.cfg.n_heads), tokens, cells)


def cells_not_cut(model, head, tokens, cells):
    found = knockout(model, head, tokens, cells)
    return found._replace(loss=found.loss[:1].expand_as(found.loss))


def cells_cut_in_every_head(model, head, tokens, cells):
    """The look of all heads of the layer is lost, as where the head's axis is left out of the cut."""
    found = knockout(model, head, tokens, cells)

    def cut(scores, hook):
        for query, key in cells:
            scores[:, :, query, key] = -torch.inf

    with hooks(model, [(f"blocks.{head.layer}.attn.hook_attn_scores", cut)]):
        loss = model(tokens, return_type="loss", loss_per_token=True)
    return found._replace(loss=torch.cat([found.loss[:1], loss, found.loss[2:]]))


def losses_exchanged(model, head, tokens, cells):
    found = knockout(model, head, tokens, cells)
    return found._replace(loss=torch.cat([found.loss[[1, 0]], found.loss[2:]]))


def neurons_one_early(model, tokens, target, count):
    return neuron_attribution(model, tokens, target._replace(pos=target.pos - 1), count)


def neurons_of_the_wrong_answer(model, tokens, target, count):
    return neuron_attribution(model, tokens, target._replace(right=target.wrong, wrong=target.right), count)


def activations_before_the_nonlinearity(model, tokens, layer):
    with torch.no_grad():
        _, cache = model.run_with_cache(tokens)
    return cache["pre", layer][0]


def activations_of_the_layer_before(model, tokens, layer):
    return layer_activations(model, tokens, max(0, layer - 1))
