"""How far a model has come: the scores that are written down while it trains."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from lens.analysis.head_scores import repeat_scores
from lens.analysis.loss import next_token_stats
from lens.analysis.random_tokens import repeated_tokens
from lens.hooked import HookedTransformer

N_REPEATED = 25  # random tokens in a block
N_SEQS = 16


class Scores(NamedTuple):
    """A row of the score table. Scores are means over 16 sequences of 25 random tokens, twice (seed 0)."""

    step: int
    tokens: int
    train_loss: float  # nats, mean of the last 100 steps
    held_out_loss: float  # nats, first context of each held-out chapter
    prefix_matching: float  # of the best head; its control is not subtracted
    prefix_control: float  # the largest of any head on the paired control
    best_head: str
    previous_token: float  # of the best head
    first_copy_loss: float  # nats, tokens 2 … n
    second_copy_loss: float
    second_copy_top1: float  # share of the same tokens that are the model's first guess


@torch.no_grad()
def score(model: HookedTransformer, step: int, tokens: int, train_loss: float, held_out: Tensor) -> Scores:
    """Every score of the model as it is."""
    repeated = repeated_tokens(model, N_REPEATED, N_SEQS)
    found = repeat_scores(model, repeated)
    induction = found.of("induction").score.mean(0)
    best = induction.argmax().item()
    stats = next_token_stats(model, repeated.tokens, top_k=1)
    loss, hit = stats.loss[:, :-1], model(repeated.tokens)[:, :-1].argmax(-1) == repeated.tokens[:, 1:]
    first, second = slice(1, N_REPEATED), slice(1 + N_REPEATED, 2 * N_REPEATED)
    return Scores(
        step=step,
        tokens=tokens,
        train_loss=train_loss,
        held_out_loss=held_out_loss(model, held_out),
        prefix_matching=induction.max().item(),
        prefix_control=found.of("induction").null.mean(0).max().item(),
        best_head=f"{best // model.cfg.n_heads}.{best % model.cfg.n_heads}",
        previous_token=found.of("previous").score.mean(0).max().item(),
        first_copy_loss=loss[:, first].mean().item(),
        second_copy_loss=loss[:, second].mean().item(),
        second_copy_top1=hit[:, second].float().mean().item(),
    )


def held_out_loss(model: HookedTransformer, tokens: Int[Tensor, "batch pos"]) -> float:
    """Mean loss on held-out contexts, nats."""
    return model(tokens, return_type="loss").item()


def held_out_contexts(model: HookedTransformer, documents: Sequence[str]) -> Int[Tensor, "batch pos"]:
    """BOS and the first tokens of every document that fills a context; documents are never joined."""
    length = model.cfg.n_ctx - 1
    ids = model.tokenizer([text[: 16 * length] for text in documents], add_special_tokens=False).input_ids
    return torch.tensor([[model.bos.id, *row[:length]] for row in ids if len(row) >= length])
