"""Does padding change anything? The same texts padded to one length and alone, compared."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.analysis.loss import chunks, final_stream
from lens.hooks import HookPoint, hooks
from lens.model import Transformer
from lens.progress import Progress, silent

DEFINITION = (
    "Largest absolute difference of any logit at any real token between the padded batch and the text alone. "
    "0 but for rounding means that a pad is neither read nor counted as a position."
)


class PaddingCheck(NamedTuple):
    """How much padding moves what a model says at the real tokens of each text."""

    masked: Float[Tensor, " batch"]  # logits; pads hidden, as always in Lens
    unmasked: Float[Tensor, " batch"]  # logits; the same pads read as if they were text
    loss: Float[
        Tensor, " batch"
    ]  # nats, mean over the predicted tokens of each text in the batch; NaN if there is none
    loss_alone: Float[Tensor, " batch"]  # nats, the same read alone
    scored: Int[Tensor, " batch"]  # predicted tokens of each text in the batch
    attention: float  # largest attention of any head and any real token to a pad; 0 without pads
    spread: float  # standard deviation of the logits of the texts, for scale
    n_pads: int


@torch.no_grad()
def padding_check(
    model: Transformer, tokens: Int[Tensor, "batch pos"], mask: Bool[Tensor, "batch pos"], progress: Progress = silent
) -> PaddingCheck:
    """The largest change of a logit by padding, with the mask and, for contrast, without it; see ``DEFINITION``."""
    seen, look = _attention_to_pads(model, mask)
    with hooks(model, look, writes=False):
        masked = final_stream(model, tokens, mask, lambda x: progress(x / 3, "padded"))
    unmasked = final_stream(model, tokens, None, lambda x: progress((1 + x) / 3, "without the mask"))
    texts = []
    for row, real in enumerate(mask):
        progress((2 + row / len(mask)) / 3, f"text {row + 1} alone")
        text = tokens[row, real]
        streams = torch.stack([final_stream(model, text[None])[0], masked[row, real], unmasked[row, real]])
        texts.append(_compare(model, text, streams))
    differences = torch.stack([text.differences for text in texts])
    losses = torch.stack([text.losses for text in texts])
    spread = torch.cat([text.variances for text in texts]).mean().sqrt().item()
    scored = (mask[:, 1:] & mask[:, :-1]).sum(1)
    return PaddingCheck(*differences.T, losses[:, 1], losses[:, 0], scored, max(seen), spread, int((~mask).sum()))


class _Text(NamedTuple):
    """One text read alone, with the mask and without it."""

    differences: Float[Tensor, "2"]  # logits, from alone: with the mask, without
    losses: Float[Tensor, "2"]  # nats: alone, with the mask
    variances: Float[Tensor, " pos"]  # of the logits, alone


def _compare(model: Transformer, text: Int[Tensor, " pos"], streams: Float[Tensor, "3 pos d_model"]) -> _Text:
    differences, losses, variances = [], [], []
    for at in chunks(len(text), 3 * model.cfg.d_vocab):
        logits = model(streams[:, at], start_at_layer=model.cfg.n_layers).float()
        differences.append((logits[1:] - logits[0]).abs().amax((1, 2)))
        variances.append(logits[0].var(-1))
        target = text[at.start + 1 : at.stop + 1]
        logprobs = logits[:2, : len(target)].log_softmax(-1)
        losses.append(-logprobs[:, torch.arange(len(target)), target])
    return _Text(torch.stack(differences).amax(0).cpu(), torch.cat(losses, 1).mean(1).cpu(), torch.cat(variances).cpu())


def _attention_to_pads(model: Transformer, mask: Bool[Tensor, "batch pos"]) -> tuple[list[float], list]:
    """Hooks that note the largest attention of a real query to a pad, and the list they write into."""
    seen = [0.0]
    forbidden = mask[:, None, :, None] & ~mask[:, None, None, :]

    def look(pattern: Float[Tensor, "batch head query key"], hook: HookPoint) -> None:
        seen.append(pattern.masked_fill(~forbidden, 0).max().item())

    return seen, [([f"blocks.{layer}.attn.hook_pattern" for layer in range(model.cfg.n_layers)], look)]
