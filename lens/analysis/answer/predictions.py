"""What a model, changed or not, says is next at one position: its likeliest tokens, and the answers one asks for."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.answer.generation import Change
from lens.finite import require_finite
from lens.hooked import HookedTransformer
from lens.hooks import hooks

DEFINITION = "P(next token | all tokens up to here), of the whole vocabulary; entropy: how undecided that is, nats."


class Prediction(NamedTuple):
    """The next token at one position. Ranks count the tokens that score strictly higher: 0 is the top."""

    top: Int[Tensor, " k"]  # the likeliest tokens
    top_logprob: Float[Tensor, " k"]  # nats
    top_logit: Float[Tensor, " k"]
    entropy: float  # nats
    answers: Int[Tensor, " answer"]
    logprob: Float[Tensor, " answer"]  # nats
    logit: Float[Tensor, " answer"]
    rank: Int[Tensor, " answer"]


@torch.no_grad()
def predict(
    model: HookedTransformer,
    tokens: Int[Tensor, "1 pos"],
    pos: int,
    answers: Sequence[int] = (),
    n_top: int = 10,
    change: Change | None = None,
) -> Prediction:
    """The next token after position ``pos``, and ``answers`` among all tokens. ValueError outside of the text."""
    if not 0 <= pos < tokens.shape[1]:
        raise ValueError(f"predict: pos={pos}; these tokens have positions 0 … {tokens.shape[1] - 1}.")
    tokens = tokens[:, : pos + 1].to(model.device)
    with hooks(model, (change or Change()).hooks(model)):
        logits = model(tokens, logit_positions=-1)[0, -1].float()
    require_finite(model, tokens, logits)
    logprobs, ids = logits.log_softmax(-1), torch.tensor(list(answers), dtype=torch.long, device=logits.device)
    top = logits.topk(min(n_top, len(logits))).indices
    rank = (logits > logits[ids, None]).sum(-1)
    entropy = float(-(logprobs.exp() * logprobs).sum())
    found = Prediction(top, logprobs[top], logits[top], entropy, ids, logprobs[ids], logits[ids], rank)
    return Prediction(*(field.cpu() if isinstance(field, Tensor) else field for field in found))
