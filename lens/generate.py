"""Writing text: one token at a time, each read once."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.attention import KeyValues
from lens.finite import require_finite
from lens.model import Transformer


class Sampling(NamedTuple):
    """How the next token is drawn.

    ``temperature`` 0 always takes the top token. ``top_k`` keeps the k likeliest; ``top_p`` keeps the smallest set
    whose probability reaches p, after the temperature. ``seed`` None draws differently each time.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None

    def check(self) -> None:
        """ValueError for a value outside its range."""
        if self.temperature < 0:
            raise ValueError(f"temperature={self.temperature}; it must be 0 (always the top token) or more.")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k={self.top_k}; it must be at least 1.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p}; it must be above 0 and at most 1.")


def next_token_probs(logits: Float[Tensor, "batch d_vocab"], sampling: Sampling) -> Float[Tensor, "batch d_vocab"]:
    """Probability with which each token is drawn next; zero for what top_k and top_p leave out."""
    logits = logits.float()
    if sampling.temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).float()
    logits = logits / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        kept = logits.topk(sampling.top_k, dim=-1)
        logits = torch.full_like(logits, -torch.inf).scatter(-1, kept.indices, kept.values)
    probs = logits.softmax(-1)
    if sampling.top_p is not None:
        ordered, order = probs.sort(dim=-1, descending=True)
        before = ordered.cumsum(-1) - ordered
        ordered = ordered.masked_fill(before >= sampling.top_p, 0)
        probs = torch.zeros_like(probs).scatter(-1, order, ordered)
    return probs / probs.sum(-1, keepdim=True)


@torch.no_grad()
def generate_tokens(
    model: Transformer,
    tokens: Int[Tensor, "batch pos"],
    mask: Bool[Tensor, "batch pos"],
    max_new_tokens: int,
    sampling: Sampling,
    stop_id: int | None = None,
    on_token: Callable[[Int[Tensor, " batch"]], None] | None = None,
) -> Int[Tensor, "batch longer"]:
    """``tokens``, padded on the left, continued until every row has written ``stop_id`` or ``max_new_tokens``.

    ``on_token`` sees the new ids of each step, and may raise to stop. A row that has stopped repeats ``stop_id``.
    """
    sampling.check()
    if max_new_tokens < 1 or tokens.shape[1] + max_new_tokens > model.cfg.n_ctx:
        raise ValueError(
            f"max_new_tokens={max_new_tokens} after {tokens.shape[1]} tokens; it must be at least 1, "
            f"and together at most {model.cfg.n_ctx}, which this model can read."
        )
    random = torch.Generator().manual_seed(sampling.seed) if sampling.seed is not None else None
    past, new = KeyValues(), tokens
    stopped = torch.zeros(len(tokens), dtype=torch.bool)
    for _ in range(max_new_tokens):
        logits = model(new, attention_mask=mask, past=past, logit_positions=-1)[:, -1]
        require_finite(model, tokens, logits, mask)
        drawn = torch.multinomial(next_token_probs(logits.cpu(), sampling), 1, generator=random)[:, 0]
        if stop_id is not None:
            drawn = drawn.masked_fill(stopped, stop_id)
            stopped |= drawn == stop_id
        new = drawn[:, None].to(tokens.device)
        tokens = torch.cat([tokens, new], dim=1)
        mask = torch.cat([mask, torch.ones_like(new, dtype=torch.bool)], dim=1)
        if on_token is not None:
            on_token(drawn)
        if stopped.all():
            break
    return tokens
