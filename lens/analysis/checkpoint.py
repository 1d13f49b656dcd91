"""What is measured at one checkpoint of a training run: head scores and losses, per sequence and per text."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.attention import head_patterns
from lens.analysis.held_out import beginnings, is_read
from lens.analysis.instruments.induction import INDUCTION
from lens.analysis.instruments.layout import repeats_layout
from lens.analysis.instruments.measure import measure_named
from lens.analysis.instruments.patterns import PatternReader, read_repeats
from lens.analysis.instruments.previous import PREVIOUS
from lens.analysis.instruments.registry import instrument
from lens.analysis.instruments.sample import repeats
from lens.analysis.loss import next_token_stats
from lens.analysis.names import Head
from lens.analysis.random_tokens import RepeatedTokens, repeated_tokens
from lens.analysis.score_results import HeadScore
from lens.batching import at_once
from lens.hooked import HookedTransformer
from lens.hooks import HookPoint, hooks
from lens.tokens import TokenBatch

TOKENS = 512  # read in one forward pass: small models are fastest while everything fits the processor's cache
BYTES = 64_000_000  # of logits in one forward pass
SPEED = 3e10  # floating-point operations a second of a small model on one slow core, for estimates


class Setting(NamedTuple):
    """On what the checkpoints of a run are measured; all of them on the same tokens."""

    n: int = 25  # random tokens before they repeat
    seqs: int = 16  # repeated sequences, each with its control
    seed: int = 0
    texts: int = 16  # held-out chapters
    bos: bool | None = None  # None: the model's own policy


class Inputs(NamedTuple):
    """The tokens that a :class:`Setting` means for one model."""

    repeated: RepeatedTokens
    texts: TokenBatch | None  # None for a model without a tokenizer, or one that knows few of their words
    words: list[str]  # the tokens of the first repeated sequence; ids where there is no tokenizer


class OnRepeats(NamedTuple):
    """Head scores and losses on repeated random tokens. Probabilities and nats; see ``lens.analysis.head_scores``."""

    induction: Float[Tensor, "sequence layer head"]
    induction_control: Float[Tensor, "sequence layer head"]
    previous: Float[Tensor, "sequence layer head"]
    previous_null: Float[Tensor, "sequence layer head"]
    first_copy: Float[Tensor, " sequence"]  # loss on tokens 2 … n of the first copy
    second_copy: Float[Tensor, " sequence"]  # loss on the same tokens the second time


class OnInstrument(NamedTuple):
    """One instrument at one checkpoint, in its unit. NaN where there is no such number, interval, null or threshold."""

    value: Float[Tensor, "layer head"]
    low: Float[Tensor, "layer head"]
    high: Float[Tensor, "layer head"]
    null: Float[Tensor, "layer head"]  # mean of what it is compared with
    threshold: Float[Tensor, ""]
    above: Float[Tensor, "layer head"]  # 1: beyond chance, 0: not, NaN: the sample cannot say


class OnSequences(NamedTuple):
    """What one instrument of patterns reads of every repeated sequence at one checkpoint, in its unit."""

    score: Float[Tensor, "sequence layer head"]
    null: Float[Tensor, "sequence layer head"]  # of what it is compared with, on the same or the control sequence
    uniform: Float[Tensor, ""]  # the number of a head that looks at all keys alike


class OnTokens(NamedTuple):
    """The predictions of one text at one checkpoint. Entry p is about the token at position p + 1."""

    loss: Float[Tensor, " predicted"]  # nats
    rank: Int[Tensor, " predicted"]  # tokens of the vocabulary that score strictly higher
    tied: Int[Tensor, " predicted"]  # other tokens that score exactly as high


class OnTexts(NamedTuple):
    """Loss on held-out texts, nats. Entry p is about the token at position p + 1; NaN behind the end of a text."""

    loss: Float[Tensor, "text predicted"]


def inputs_of(model: HookedTransformer, setting: Setting) -> Inputs:
    """The tokens that every checkpoint of this model is measured on. ValueError where the setting does not fit it."""
    bos = model.bos.id is not None and (model.bos.prepend if setting.bos is None else setting.bos)
    repeated = repeated_tokens(model, setting.n, setting.seqs, setting.seed, bos)
    first = repeated.tokens[0]
    if model.tokenizer is None:
        return Inputs(repeated, None, [str(int(i)) for i in first])
    texts = beginnings(model, setting.texts, bos)
    return Inputs(repeated, texts if is_read(model, texts) else None, model.to_str_tokens(first))


@torch.no_grad()
def measure_repeats(model: HookedTransformer, repeated: RepeatedTokens) -> OnRepeats:
    """Scores and losses from one forward pass of the sequences and one of their controls."""
    both = torch.cat([repeated.tokens, repeated.control]).to(model.device)
    n, bos, n_seqs = repeated.n, repeated.bos, len(repeated.tokens)
    read = PatternReader((INDUCTION, PREVIOUS), repeats_layout(n, bos, model.device))
    found = torch.empty(3, len(both), model.cfg.n_layers, model.cfg.n_heads, device=model.device)
    losses = []
    for rows in _batches(model, both):

        def look(pattern: Tensor, hook: HookPoint, rows: slice = rows) -> None:
            (induction, previous), (_, previous_null) = read(pattern.float())
            found[:, rows, hook.layer()] = torch.stack([induction, previous, previous_null])

        names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(model.cfg.n_layers)]
        with hooks(model, [(names, look)], writes=False):
            losses.append(model(both[rows], return_type="loss", loss_per_token=True))
    loss = torch.cat(losses)[:n_seqs].cpu()
    induction, previous, null = found.cpu()
    first, second = (loss[:, start : start + n - 1].mean(1) for start in (bos, bos + n))
    return OnRepeats(induction[:n_seqs], induction[n_seqs:], previous[:n_seqs], null[:n_seqs], first, second)


@torch.no_grad()
def measure_texts(model: HookedTransformer, texts: TokenBatch) -> OnTexts:
    """Loss at every position of every text."""
    tokens, mask = texts.tokens.to(model.device), texts.mask.to(model.device)
    rows = [
        model(tokens[part], return_type="loss", loss_per_token=True, attention_mask=_mask(mask[part]))
        for part in _batches(model, tokens)
    ]
    return OnTexts(torch.cat(rows).cpu())


def measure_instruments(model: HookedTransformer, names: Sequence[str], inputs: Inputs) -> dict[str, HeadScore]:
    """The number of every head by the instruments of these names, on the part of ``inputs`` that each reads.

    Tasks are the repeats. KeyError for a name that does not exist, ValueError where this model has no such number.
    """
    measured = measure_named(model, names, [repeats(inputs.repeated)])
    if measured.missing:
        name, why = next(iter(measured.missing.items()))
        raise ValueError(f"{instrument(name).title} of {model.name}: {why}.")
    return dict(measured.scores)


def on_instrument(score: HeadScore) -> OnInstrument:
    """What of a score stands on the training axis."""
    none = torch.full_like(score.score.mean, torch.nan)
    above = none if score.above is None else score.above.to(none.dtype)
    parts = (score.score.mean, score.score.low, score.score.high, score.null_mean)
    threshold = torch.tensor(torch.nan if score.threshold is None else score.threshold)
    return OnInstrument(*(none if one is None else one.cpu() for one in parts), threshold, above.cpu())


def measured_together(names: Sequence[str]) -> list[list[str]]:
    """Names in the groups that share their work: all those of attention patterns, and each of the others."""
    patterns = [name for name in names if instrument(name).pattern is not None]
    return [*([patterns] if patterns else []), *([name] for name in names if name not in patterns)]


def measure_sequences(model: HookedTransformer, name: str, inputs: Inputs) -> OnSequences:
    """The instrument called ``name`` on every repeated sequence, before any mean. ValueError if it reads no pattern."""
    found = read_repeats(model, [instrument(name)], inputs.repeated).of(name)
    return OnSequences(found.score, found.null, found.uniform[0])


def measure_tokens(model: HookedTransformer, tokens: Int[Tensor, "1 pos"]) -> OnTokens:
    """Loss and rank of every token of one text but the first."""
    stats = next_token_stats(model, tokens, top_k=1)
    return OnTokens(stats.loss[0, :-1], stats.rank[0, :-1], stats.tied[0, :-1])


def measure_pattern(model: HookedTransformer, tokens: Float[Tensor, "1 pos"], head: Head) -> Float[Tensor, "query key"]:
    """Attention of one head on one text."""
    return head_patterns(model, tokens, [head]).pattern[0, 0]


def _mask(mask: Tensor) -> Tensor | None:
    """None where nothing is padded: the model is then faster."""
    return None if mask.all() else mask


def _batches(model: HookedTransformer, tokens: Tensor) -> Iterator[slice]:
    n_rows, n_pos = tokens.shape
    rows = at_once(min(TOKENS // n_pos, BYTES // (4 * n_pos * model.cfg.d_vocab)))
    return (slice(start, start + rows) for start in range(0, n_rows, rows))
