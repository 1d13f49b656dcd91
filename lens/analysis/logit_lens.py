"""What the model would predict if it stopped after each layer."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.loss import BYTES, chunks
from lens.finite import require_finite
from lens.hooks import HookPoint, hooks
from lens.model import Transformer
from lens.progress import Progress, silent

DEFINITION = (
    "Log-probability (nats) and rank of a token, read from the residual stream after every layer through the model's "
    "own final norm, with that stream's own statistics, and its unembedding. Row 0 is the embedding."
)
SOURCE = 'nostalgebraist, "interpreting GPT: the logit lens" (2020)'


class LogitLens(NamedTuple):
    """One row per stream: 0 is the embedding, L the stream after layer L − 1, the last one the output itself."""

    logprob: Float[Tensor, "layer_plus_1 batch pos"]  # nats, of the target; 0 is certainty
    rank: Int[Tensor, "layer_plus_1 batch pos"]  # tokens that score strictly higher; 0 is the top
    kl: Float[Tensor, "layer_plus_1 batch pos"]  # nats, KL(final ‖ layer): what this stream does not know yet


@torch.no_grad()
def logit_lens(
    model: Transformer,
    tokens: Int[Tensor, "batch pos"],
    target: Int[Tensor, "batch pos"],
    max_bytes: int = BYTES,
    progress: Progress = silent,
) -> LogitLens:
    """Log-probability and rank of ``target``, and KL to the output, read from the residual stream after every layer.

    Each stream goes through the model's own final norm, with that stream's statistics, so the last row is exactly the
    output. The vocabulary is walked in chunks of positions: never more than ``max_bytes`` of logits per stream, of two.
    Source: nostalgebraist, "interpreting GPT: the logit lens" (2020).
    """
    if target.shape != tokens.shape:
        raise ValueError(
            f"logit_lens: target has shape {list(target.shape)}; wanted one per token, {list(tokens.shape)}."
        )
    streams = _streams(model, tokens.to(model.device))
    n_streams, aims = len(streams), target.to(model.device).flatten()
    flat = [stream.flatten(0, 1)[:, None] for stream in streams]
    out = LogitLens(
        *(torch.empty(n_streams, aims.numel(), dtype=kind) for kind in (torch.float, torch.long, torch.float))
    )
    parts = list(chunks(aims.numel(), model.cfg.d_vocab, max_bytes // 2))
    for done, at in enumerate(parts):
        final = _logits(model, flat[-1][at]).log_softmax(-1)
        for layer, stream in enumerate(flat):
            progress((done + layer / n_streams) / len(parts), f"stream {layer} of {n_streams - 1}")
            logits = _logits(model, stream[at])
            own, aim = logits.log_softmax(-1), aims[at, None]
            out.logprob[layer, at] = own.gather(-1, aim)[:, 0].cpu()
            out.rank[layer, at] = (logits > logits.gather(-1, aim)).sum(-1).cpu()
            out.kl[layer, at] = (final.exp() * (final - own)).sum(-1).cpu()
    require_finite(model, tokens.to(model.device), torch.stack([out.logprob, out.kl]))
    return LogitLens(*(field.unflatten(1, tokens.shape) for field in out))


def _streams(model: Transformer, tokens: Int[Tensor, "batch pos"]) -> list[Float[Tensor, "batch pos d_model"]]:
    """The stream before layer 0 and after every layer."""
    names = ["blocks.0.hook_resid_pre", *(f"blocks.{layer}.hook_resid_post" for layer in range(model.cfg.n_layers))]
    kept: list[Tensor] = []

    def keep(stream: Tensor, hook: HookPoint) -> None:
        kept.append(stream)

    with hooks(model, [(names, keep)], writes=False):
        model(tokens, stop_at_layer=model.cfg.n_layers)
    return kept


def _logits(model: Transformer, stream: Float[Tensor, "chunk 1 d_model"]) -> Float[Tensor, "chunk d_vocab"]:
    return model(stream, start_at_layer=model.cfg.n_layers)[:, 0].float()
