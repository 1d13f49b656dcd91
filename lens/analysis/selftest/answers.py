"""What reads an answer: parts of a logit, the writes behind a score, and their cut, as functions of a subject."""

import torch

from lens.analysis.answer.direct_attribution import Target
from lens.analysis.answer.qk_attribution import contrast_weights, induction_cells
from lens.analysis.selftest.measure import reading
from lens.analysis.selftest.result import Reading
from lens.analysis.selftest.subject import Subject
from lens.analysis.stats import family_wise_threshold


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
