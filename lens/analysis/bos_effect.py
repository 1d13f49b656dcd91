"""What the token in front of a text changes: the loss of the same tokens with it and without."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.loss import next_token_stats
from lens.hooked import HookedTransformer
from lens.progress import Progress, part, silent

DEFINITION = (
    "Mean loss with BOS minus mean loss without, nats, over the tokens that both runs predict: all but the first token "
    "of the text, which only the run with BOS predicts. Negative: BOS helps."
)


class BosEffect(NamedTuple):
    """Losses of one text read twice. Entry t of ``with_bos`` and ``without`` is about token t + 1 of the text."""

    with_bos: Float[Tensor, " shared"]  # nats
    without: Float[Tensor, " shared"]  # nats
    mean_with: float
    mean_without: float
    difference: float  # mean_with - mean_without
    n: int  # tokens that both runs predict
    first: float  # loss of the first token, nats; needs BOS

    @property
    def changes(self) -> Float[Tensor, " shared"]:
        """How much BOS changes the loss of each token, nats; negative: it helps."""
        return self.with_bos - self.without

    @property
    def most_changed(self) -> int:
        """The entry whose loss changes most, in either direction."""
        return int(abs(self.changes).argmax())


def bos_effect(model: HookedTransformer, tokens: Int[Tensor, "1 pos"], progress: Progress = silent) -> BosEffect:
    """The loss of ``tokens``, a text without BOS, alone and after ``model.bos``; see ``DEFINITION``.

    ValueError for a model without BOS and for a text of fewer than two tokens, of which nothing is predicted twice.
    """
    if model.bos.id is None:
        raise ValueError(f"bos_effect: {model.name} has no BOS token: {model.bos.reason}.")
    if tokens.shape[1] < 2:
        raise ValueError("bos_effect: one token is predicted with BOS only; give a text of at least two tokens.")
    front = torch.full_like(tokens[:, :1], model.bos.id)
    after_bos = next_token_stats(model, torch.cat([front, tokens], 1), top_k=1, progress=part(progress, 0, 0.5))
    alone = next_token_stats(model, tokens, top_k=1, progress=part(progress, 0.5, 1))
    with_bos, without = after_bos.loss[0, 1:-1], alone.loss[0, :-1]
    means = (with_bos.double().mean().item(), without.double().mean().item())
    return BosEffect(with_bos, without, *means, means[0] - means[1], len(without), after_bos.loss[0, 0].item())
