"""Writing on beside a changed twin, as a function of a subject: does the text go on repeating without the head?"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.answer.generation import Change
from lens.analysis.names import Head
from lens.analysis.selftest.measure import reading
from lens.analysis.selftest.result import Reading
from lens.analysis.selftest.subject import Subject
from lens.analysis.stats import family_wise_threshold
from lens.generate import Sampling

LEAD, NEW = 3, 8  # tokens of the second half that are given, and that are written after them
GREEDY = Sampling(0.0)


def writing(subject: Subject) -> Reading:
    """How many of the written tokens go on with the block, with the strongest induction head minus without it."""
    scores = subject.scores["induction"].score.mean
    head = Head(*divmod(int(scores.argmax()), scores.shape[1]))
    twin = Change((head,))
    start = subject.repeated.bos + subject.repeated.n + LEAD
    right = subject.following(1)[:, start - 1 : start - 1 + NEW]
    gains, errors = [], []
    for tokens in (subject.repeated.tokens, subject.repeated.control):
        shares = [_share(subject, tokens[:, :start], right, change) for change in (None, twin)]
        gains.append(shares[0] - shares[1])
        errors.append(_cached_against_not(subject, tokens[:1, :start], twin))
    repeat, control = gains
    found = reading(repeat, repeat - control, control, family_wise_threshold(control.abs()[:, None]), str(head))
    return found._replace(error=max(errors), note=f"with and without cache within {max(errors):.1g}")


def _share(
    subject: Subject, prompts: Int[Tensor, "batch pos"], right: Int[Tensor, "batch new"], change: Change | None
) -> Float[Tensor, " batch"]:
    texts = [subject.tools.write(subject.model, one[None], NEW, GREEDY, change).ids for one in prompts]
    return (torch.stack(texts) == right).double().mean(-1)


def _cached_against_not(subject: Subject, prompt: Int[Tensor, "1 pos"], change: Change) -> float:
    both = [
        subject.tools.write(subject.model, prompt, NEW, GREEDY, change, use_past_kv_cache=cached)
        for cached in (True, False)
    ]
    return float((both[0].logprob - both[1].logprob).abs().max())
