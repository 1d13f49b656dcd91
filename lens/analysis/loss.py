"""What the model expected at every position of a text, and how wrong it was."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.analysis.streaming import batches
from lens.batching import at_once
from lens.finite import require_finite
from lens.hooks import HookPoint, hooks
from lens.model import Transformer
from lens.progress import Progress, silent

BYTES = 32_000_000  # of logits held at once
LAYERS = 0.8  # of the progress of a batch; the rest is the unembedding

LOSS = "Surprise at the actual next token: −ln of the probability the model gave it, nats; 0 is certainty."
RANK = "How many tokens of the vocabulary scored strictly higher than the actual next one; 0 is the top."
ENTROPY = "How undecided the model was about the next token, nats: −Σ p ln p over the vocabulary."


class NextToken(NamedTuple):
    """Next-token statistics. Index p is the prediction made at position p, about the token at p + 1.

    Floats are NaN, ``rank`` and ``top`` −1, at pads. After the last real token nothing follows: entropy and top tokens
    exist there, loss and probability are NaN and rank is −1.
    """

    loss: Float[Tensor, "batch pos"]  # nats
    prob: Float[Tensor, "batch pos"]  # of the actual next token
    rank: Int[Tensor, "batch pos"]  # tokens that score strictly higher
    entropy: Float[Tensor, "batch pos"]  # nats
    top: Int[Tensor, "batch pos k"]  # ids of the k likeliest next tokens
    top_prob: Float[Tensor, "batch pos k"]
    scored: Bool[Tensor, "batch pos"]  # where a real token follows a real token
    tied: Int[Tensor, "batch pos"]  # other tokens that score exactly as high as the actual next one; −1 without one


class LossSummary(NamedTuple):
    """One line for a text."""

    mean_loss: float  # nats per predicted token
    perplexity: float  # exp of it
    accuracy: float  # share of tokens on top; one that ties with m others there counts as 1/(m + 1)
    n: int  # predicted tokens


class TextStats(NamedTuple):
    """Every prediction of one text and their summary."""

    stats: NextToken
    summary: LossSummary


class PerToken(NamedTuple):
    """The predictions of one text, each at the token that it is about: entry t was predicted just before position t.

    Arrays [pos]; at position 0, which nothing predicts, floats are NaN, ``rank`` and ``tied`` −1.
    """

    loss: Float[np.ndarray, " pos"]  # nats
    prob: Float[np.ndarray, " pos"]
    rank: Int[np.ndarray, " pos"]  # tokens that score strictly higher
    entropy: Float[np.ndarray, " pos"]  # nats
    tied: Int[np.ndarray, " pos"]  # other tokens that score exactly as high

    @property
    def is_guess(self) -> Bool[np.ndarray, " pos"]:
        """Whether a token was the top guess, and no other with it."""
        return (self.rank == 0) & (self.tied == 0)

    @property
    def worst(self) -> Int[np.ndarray, " predicted"]:
        """Positions of the predicted tokens, the most surprising first."""
        return np.argsort(-self.loss[1:], kind="stable") + 1


def per_token(stats: NextToken) -> PerToken:
    """``stats`` of one text, of torch or numpy, from the position that predicts to the token that is predicted."""

    def moved(name: str) -> np.ndarray:
        values = np.asarray(getattr(stats, name))[0, :-1]
        return np.concatenate([np.array([-1 if name in ("rank", "tied") else np.nan], values.dtype), values])

    return PerToken(*map(moved, PerToken._fields))


def text_stats(
    model: Transformer, tokens: Int[Tensor, "1 pos"], top_k: int = 5, progress: Progress = silent
) -> TextStats:
    """:func:`next_token_stats` of a text of at least two tokens, with its :func:`summarise`."""
    stats = next_token_stats(model, tokens, top_k=top_k, progress=progress)
    return TextStats(stats, summarise(stats))


@torch.no_grad()
def next_token_stats(
    model: Transformer,
    tokens: Int[Tensor, "batch pos"],
    mask: Bool[Tensor, "batch pos"] | None = None,
    top_k: int = 5,
    max_bytes: int = BYTES,
    progress: Progress = silent,
) -> NextToken:
    """Loss, probability and rank of every actual next token, and the entropy and ``top_k`` of every prediction.

    The vocabulary is walked in chunks of positions: never more than ``max_bytes`` of logits. Results are on the CPU.
    """
    if not 1 <= top_k <= model.cfg.d_vocab:
        raise ValueError(
            f"next_token_stats: top_k={top_k}; it must be from 1 to the vocabulary size, {model.cfg.d_vocab}."
        )
    tokens = tokens.to(model.device)
    real = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask.to(model.device).bool()
    scored = real & real.roll(-1, 1)
    scored[:, -1] = False
    target = torch.where(scored, tokens.roll(-1, 1), -1)
    out, tied = _blank(tokens, top_k), torch.full_like(tokens, -1)
    parts = list(batches(*tokens.shape, model.cfg.n_heads))
    for done, rows in enumerate(parts):

        def report(share: float, rows: slice = rows, done: int = done) -> None:
            texts = f"texts {rows.start + 1}–{rows.stop} of {len(tokens)}, " if len(tokens) > 1 else ""
            progress((done + share) / len(parts), f"{texts}{'layers' if share < LAYERS else 'predictions'}")

        resid = final_stream(model, tokens[rows], None if mask is None else real[rows], lambda x: report(LAYERS * x))
        row, pos = real[rows].nonzero(as_tuple=True)
        for at in chunks(len(row), model.cfg.d_vocab, max_bytes):
            report(LAYERS + (1 - LAYERS) * at.start / len(row))
            # One position per row: the unembedding does not care where a position stands.
            logits = model(resid[row[at], pos[at], None], start_at_layer=model.cfg.n_layers)[:, 0].float()
            where = (row[at] + rows.start, pos[at])
            found = _read(logits, target[where], top_k)
            entropy = found[3]  # not finite where any logit is not
            require_finite(model, tokens[rows], entropy, None if mask is None else real[rows])
            tied[where] = _tied(logits, target[where])
            for field, values in zip(out, found, strict=True):
                field[where] = values
    progress(1.0, "done")
    return NextToken(*(field.cpu() for field in out), scored.cpu(), tied.cpu())


def final_stream(
    model: Transformer,
    tokens: Int[Tensor, "batch pos"],
    mask: Bool[Tensor, "batch pos"] | None = None,
    report: Callable[[float], None] | None = None,
) -> Float[Tensor, "batch pos d_model"]:
    """The residual stream that the final norm reads. ``report(share of layers done)`` may raise to stop."""
    n_layers = model.cfg.n_layers

    def layer_done(activation: Tensor, hook: HookPoint) -> None:
        report((hook.layer() + 1) / n_layers)

    names = [f"blocks.{layer}.hook_resid_post" for layer in range(n_layers)]
    with hooks(model, [] if report is None else [(names, layer_done)], writes=False):
        return model(tokens, attention_mask=mask, stop_at_layer=n_layers)


def summarise(stats: NextToken) -> LossSummary:
    """Mean loss, perplexity and accuracy over all predicted tokens. ValueError if there is none."""
    n = int(stats.scored.sum())
    if n == 0:
        raise ValueError("summarise: no token is predicted; a text needs at least two tokens (BOS counts as one).")
    mean_loss = stats.loss[stats.scored].double().mean()
    on_top = (stats.rank[stats.scored] == 0).double() / (1 + stats.tied[stats.scored])
    return LossSummary(float(mean_loss), float(mean_loss.exp()), float(on_top.mean()), n)


def share_of_most_surprising(loss: Float[Tensor, " pos"], count: int = 3) -> float:
    """Which share of a text's whole loss its ``count`` most surprising tokens hold; NaN entries are no tokens."""
    known = np.asarray(loss, np.float64)
    known = np.sort(known[np.isfinite(known)])
    return float(known[-count:].sum() / known.sum())


def _blank(tokens: Tensor, top_k: int) -> tuple[Tensor, ...]:
    number = torch.full(tokens.shape, torch.nan, device=tokens.device)
    count = torch.full_like(tokens, -1)
    top = count[..., None].repeat(1, 1, top_k)
    top_prob = number[..., None].repeat(1, 1, top_k)
    return number, number.clone(), count, number.clone(), top, top_prob


def chunks(n: int, d_vocab: int, max_bytes: int = BYTES) -> Iterator[slice]:
    """Slices of ``n`` positions whose logits together stay within ``max_bytes``."""
    size = at_once(max_bytes // (4 * d_vocab))
    return (slice(start, start + size) for start in range(0, n, size))


def _tied(logits: Float[Tensor, "chunk d_vocab"], target: Int[Tensor, " chunk"]) -> Int[Tensor, " chunk"]:
    """How many other tokens have the target's logit; −1 without a target."""
    aim = logits.gather(1, target.clamp(min=0)[:, None])
    return torch.where(target >= 0, (logits == aim).sum(-1) - 1, -1)


def _read(logits: Float[Tensor, "chunk d_vocab"], target: Int[Tensor, " chunk"], top_k: int) -> tuple[Tensor, ...]:
    """Loss, probability, rank, entropy, top ids and their probabilities; without a target (−1) NaN and −1."""
    log_total = logits.logsumexp(-1)
    known = target >= 0
    aim = logits.gather(1, target.clamp(min=0)[:, None])
    loss = torch.where(known, log_total - aim[:, 0], torch.nan)
    rank = torch.where(known, (logits > aim).sum(-1), -1)
    top = logits.topk(top_k, dim=-1)
    top_prob = (top.values - log_total[:, None]).exp()
    log_prob = logits.sub_(log_total[:, None])
    entropy = -(log_prob.exp() * log_prob).sum(-1)
    return loss, (-loss).exp(), rank, entropy, top.indices, top_prob
