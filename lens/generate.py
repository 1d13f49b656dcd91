"""Writing text: one token at a time, each read once."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.attention import KeyValues
from lens.finite import require_finite
from lens.model import Transformer
from lens.tokens import TokenBatch

SEEDS = 1 << 20  # more than the tokens of any text: another seed draws otherwise at every place


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


def padded_left(tokens: Int[Tensor, "batch pos"], mask: Bool[Tensor, "batch pos"] | None = None) -> TokenBatch:
    """The same rows with all pads on the left, the real tokens in their order; without a mask all are real.

    ValueError for a row that is nothing but pads.
    """
    if mask is None:
        return TokenBatch(tokens, torch.ones_like(tokens, dtype=torch.bool))
    mask = mask.to(tokens.device).bool()
    if mask.shape != tokens.shape:
        raise ValueError(f"attention_mask has shape {list(mask.shape)}; wanted that of the ids, {list(tokens.shape)}.")
    if not mask.any(-1).all():
        row = int((~mask.any(-1)).nonzero()[0, 0])
        raise ValueError(f"Row {row} of attention_mask has no real token: there is nothing to continue.")
    order = mask.int().argsort(dim=-1, stable=True)
    return TokenBatch(tokens.gather(-1, order), mask.gather(-1, order))


class Step(NamedTuple):
    """One more token of every row."""

    drawn: Int[Tensor, " batch"]
    logits: Float[Tensor, "batch d_vocab"]  # the model's own, before temperature, top_k and top_p


@torch.no_grad()
def generation_steps(
    model: Transformer,
    prompts: TokenBatch,
    max_new_tokens: int,
    sampling: Sampling,
    stop_ids: Sequence[int] = (),
    use_past_kv_cache: bool = True,
) -> Iterator[Step]:
    """:func:`generate_tokens`, one step at a time.

    What is drawn depends on the seed and on how many tokens stand before it, so that a text that is continued in parts
    is the text that is written at once.
    """
    tokens, mask = prompts
    sampling.check()
    if max_new_tokens < 1 or tokens.shape[1] + max_new_tokens > model.cfg.n_ctx:
        raise ValueError(
            f"max_new_tokens={max_new_tokens} after {tokens.shape[1]} tokens; it must be at least 1, "
            f"and together at most {model.cfg.n_ctx}, which this model can read."
        )
    past, new, ends = KeyValues() if use_past_kv_cache else None, tokens, torch.tensor(stop_ids, dtype=torch.long)
    stopped = torch.zeros(len(tokens), dtype=torch.bool)
    for _ in range(max_new_tokens):
        unread = new if use_past_kv_cache else tokens
        logits = model(unread, attention_mask=mask, past=past, logit_positions=-1)[:, -1]
        require_finite(model, tokens, logits, mask)
        random = _random(sampling.seed, tokens.shape[1])
        drawn = torch.multinomial(next_token_probs(logits.cpu(), sampling), 1, generator=random)[:, 0]
        drawn = torch.where(stopped, tokens[:, -1].cpu(), drawn)
        stopped |= torch.isin(drawn, ends)
        new = drawn[:, None].to(tokens.device)
        tokens = torch.cat([tokens, new], dim=1)
        mask = torch.cat([mask, torch.ones_like(new, dtype=torch.bool)], dim=1)
        yield Step(drawn, logits)
        if stopped.all():
            break


def _random(seed: int | None, n_before: int) -> torch.Generator | None:
    return None if seed is None else torch.Generator().manual_seed((seed * SEEDS + n_before) % 2**63)


def generate_tokens(
    model: Transformer,
    prompts: TokenBatch,
    max_new_tokens: int,
    sampling: Sampling,
    stop_ids: Sequence[int] = (),
    on_token: Callable[[Int[Tensor, " batch"]], None] | None = None,
    use_past_kv_cache: bool = True,
) -> Int[Tensor, "batch longer"]:
    """``prompts``, padded on the left, continued until every row wrote one of ``stop_ids``, or ``max_new_tokens``.

    ``on_token`` sees the new ids of each step, and may raise to stop. A row that has stopped repeats its last id.
    ``use_past_kv_cache``: each token is read once, so that a hook sees only the new position. Without it all tokens are
    read again for every new one: the same unless a hook treats positions differently, as one at ``[:, -1]`` does, which
    then edits only the last position of each reading and leaves the ones before it as they are.
    """
    written = []
    for drawn, _ in generation_steps(model, prompts, max_new_tokens, sampling, stop_ids, use_past_kv_cache):
        written.append(drawn)
        if on_token is not None:
            on_token(drawn)
    return torch.cat([prompts.tokens, torch.stack(written, 1).to(prompts.tokens.device)], dim=1)


def until_end(row: Sequence[int], stop_ids: Sequence[int]) -> list[int]:
    """What a row wrote, up to its first end token: what follows in a batch only fills the row up."""
    end = next((i + 1 for i, token in enumerate(row) if token in stop_ids), len(row))
    return list(row[:end])
