"""What reads an answer: parts of a logit, the writes behind a score, and their cut, as functions of a subject."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.answer.direct_attribution import Target
from lens.analysis.answer.qk_attribution import contrast_weights, induction_cells
from lens.analysis.selftest.measure import reading
from lens.analysis.selftest.result import Reading
from lens.analysis.selftest.subject import Subject
from lens.analysis.stats import family_wise_threshold
from lens.hooked import HookedTransformer, next_token_loss
from lens.planted.neurons import with_neurons
from lens.readout import logit_contributions

SHOWN = 3  # neurons that a row names


@torch.no_grad()
def direct_attribution(subject: Subject) -> Reading:
    """The head that adds most to the last logit difference of the second copy that is known, beside the control."""
    cfg, at = subject.model.cfg, subject.queries.stop - 1
    pos = torch.full((len(subject.repeated.tokens),), at)
    target = Target("logit_diff", pos, subject.following(1)[:, at], subject.following(2)[:, at])
    read, errors = [], []
    for tokens, logits, _ in subject.runs:
        found = subject.tools.answer(subject.model, tokens, target)
        errors.append(float((found.parts.sum(1) - subject.difference(logits)[:, at]).abs().max()))
        read.append(found.heads(cfg.n_layers, cfg.n_heads))
    layer, head = divmod(int(read[0].mean(0).abs().argmax()), cfg.n_heads)
    repeat, control = (one[:, layer, head] for one in read)
    found = reading(repeat, repeat - control, control, family_wise_threshold(read[1].abs()), f"{layer}.{head}")
    return found._replace(error=max(errors), note=f"parts sum to the logit difference within {max(errors):.1g}")


@torch.no_grad()
def predictions(subject: Subject) -> Reading:
    """How much likelier than an even guess the next token of the block is, after the last place of the second copy.

    Log-probability, rank and entropy must be those of the run's own logits.
    """
    gains, errors = [], []
    for tokens, logits, _ in subject.runs:
        found, error = zip(
            *(
                _prediction(subject, *one)
                for one in zip(tokens, logits[:, subject.asked], subject.following(1)[:, subject.asked])
            )
        )
        gains.append(torch.stack(found))
        errors.append(max(error))
    repeat, control = gains
    threshold = family_wise_threshold(control.abs()[:, None])
    found = reading(repeat, repeat - control, control, threshold, f"position {subject.asked}")
    return found._replace(error=max(errors), note=f"as the run's own logits within {max(errors):.1g}")


def _prediction(
    subject: Subject, tokens: Int[Tensor, " pos"], logits: Float[Tensor, " d_vocab"], right: Tensor
) -> tuple[Tensor, float]:
    """The gain over an even guess, nats, and how far the numbers are from those of ``logits``."""
    model, right = subject.model, int(right)
    found = subject.tools.predict(model, tokens[None], subject.asked, [right], 3)
    logprob = logits.log_softmax(-1)
    off = [
        float((found.logprob[0] - logprob[right]).abs()),
        float((found.top_logprob - logprob.topk(3).values).abs().max()),
        float(abs(int(found.rank[0]) - int((logits > logits[right]).sum()))),
        abs(found.entropy + float((logprob.exp() * logprob).sum())),
    ]
    even = torch.tensor(float(model.cfg.d_vocab)).log()
    return found.logprob[0] + even, max(off)


@torch.no_grad()
def knockout(subject: Subject) -> Reading:
    """How far the loss of the next token of the block rises where the strongest induction head does not see it.

    Beside the same cell on the control, which is continued by the same token. The uncut run must be the plain one.
    """
    head, at = subject.looker, subject.asked
    cells = [(at, at - subject.repeated.n + 1)]
    rises, others, errors = [], [], []
    for tokens in subject.continued:
        found = [subject.tools.knockout(subject.model, head, one[None], cells) for one in tokens]
        plain = next_token_loss(subject.model(tokens), tokens, per_token=True)
        errors += [float((one.loss[0] - loss).abs().max()) for one, loss in zip(found, plain)]
        rises.append(torch.stack([one.changed[1, -1] for one in found]))
        others.append(torch.stack([one.changed[2:, -1].abs().max() for one in found]))
    repeat, control = rises
    where = f"{head}, its look from the last place at what followed"
    found = reading(repeat, repeat - control, control, family_wise_threshold(others[0][:, None]), where)
    return found._replace(error=max(errors), note=f"uncut, the loss is that of the plain run within {max(errors):.1g}")


@torch.no_grad()
def neurons(subject: Subject) -> Reading:
    """What the neuron with the largest part adds to one logit difference, in the model with planted neurons.

    All neurons must sum to the MLPs' parts, and to what all activations times all weights add.
    """
    model = _with_neurons(subject.model)
    pos = torch.full((len(subject.repeated.tokens),), subject.asked)
    target = Target("logit_diff", pos, *(subject.following(steps)[:, subject.asked] for steps in (1, 2)))
    read, places, errors = [], [], []
    for tokens in (subject.repeated.tokens, subject.repeated.control):
        found = subject.tools.neurons(model, tokens, target, model.cfg.n_layers * model.cfg.d_mlp)
        whole = subject.tools.answer(model, tokens, target)
        mlps = [at for at, write in enumerate(whole.writes) if write.kind == "mlp"]
        largest = found.parts.abs().argmax(1)
        places.append([found.neurons[at] for at in largest])
        read.append(found.parts.gather(1, largest[:, None])[:, 0])
        sums = whole.parts[:, mlps].sum(1), _from_activations(subject, model, tokens)
        errors += [float((found.parts.sum(1) - one).abs().max()) for one in sums]
    repeat, control = read
    where = ", ".join(dict.fromkeys(f"{layer}.{neuron}" for layer, neuron in places[0][:SHOWN])) + " …"
    found = reading(repeat, repeat - control, control, family_wise_threshold(control.abs()[:, None]), where)
    return found._replace(error=max(errors), note=f"neurons sum to their MLPs within {max(errors):.1g}")


def _with_neurons(model: HookedTransformer) -> HookedTransformer:
    cfg, state = with_neurons(model.cfg, model.state_dict())
    return HookedTransformer.from_state(cfg, state, bos=model.bos, name=f"{model.name} with neurons").eval()


def _from_activations(
    subject: Subject, model: HookedTransformer, tokens: Int[Tensor, "batch pos"]
) -> Float[Tensor, " batch"]:
    """What the activations of all layers add to the logit difference, from all that they write."""
    writes = torch.zeros(*tokens.shape, model.cfg.d_model)
    for row, text in enumerate(tokens):
        for layer, block in enumerate(model.blocks):
            writes[row] += subject.tools.activations(model, text[None], layer) @ block.mlp.W_out
    _, cache = model.run_with_cache(tokens, names_filter=lambda name: name.startswith("ln_final"))
    return logit_contributions(cache, writes[None], subject.direction)[0, :, subject.asked]


@torch.no_grad()
def qk_attribution(subject: Subject) -> Reading:
    """What the head that its keys read most adds to the contrast of the strongest induction head's stripe.

    The identity is checked as well: all pairs sum to the contrast of the run's own scores (no planted model caps them).
    """
    if subject.looker.layer == 0:
        return _no_head_before(subject)
    reasons = subject.reasons
    heads = [at for at, write in enumerate(reasons.text.writes) if write.kind == "head"]
    text, control = (one.key_side[:, heads] for one in (reasons.text, reasons.control))
    at = int(text.mean(0).abs().argmax())
    error = _off(subject)
    asks = reasons.read.strongest("q", 1)[0][0]
    found = reading(
        text[:, at],
        text[:, at] - control[:, at],
        control[:, at],
        family_wise_threshold(control.abs()),
        f"{asks} × {reasons.text.writes[heads[at]]} → {subject.looker}",
    )
    return found._replace(error=error, note=f"pairs sum to the contrast of the scores within {error:.1g} of it")


def _off(subject: Subject) -> float:
    """How far the pairs are from the contrast of the scores, as a share of the scores' size."""
    head, cells = subject.looker, induction_cells(subject.repeated)
    weights = contrast_weights(subject.model, head.layer, cells, subject.repeated.tokens.shape[1])
    scores = subject.runs[0].cache["attn_scores", head.layer][:, head.head, list(cells.queries)]
    actual = (scores.masked_fill(weights == 0, 0) * weights).sum(-1).mean(-1)
    size = scores[scores.isfinite()].abs().max()
    return float((subject.reasons.text.total - actual).abs().max() / size)


@torch.no_grad()
def feeder_cut(subject: Subject) -> Reading:
    """What the stripe's attention loses with the write cut out of its keys that takes away most, beside the others."""
    if subject.looker.layer == 0:
        return _no_head_before(subject)
    cuts = subject.reasons.cut_from_keys
    lost = -cuts.change  # [write, sequence]
    at = int(lost.mean(1).argmax())
    others = torch.cat([lost[:at], lost[at + 1 :]])
    where = f"{cuts.writes[at]} out of the keys of {subject.looker}"
    return reading(lost[at], lost[at], others.mean(0), family_wise_threshold(others.abs().T), where)


def _no_head_before(subject: Subject) -> Reading:
    where = f"no head stands before {subject.looker}"
    return Reading(0.0, 0.0, 0.0, 0.0, where, len(subject.repeated.tokens), "sequences")
