"""What the model would predict if it stopped after each layer, or in the middle of one."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.answer.fitted_lens import FittedDecoder, fitted_decoder, fitted_rows
from lens.analysis.answer.lens_rows import LensRow, lens_points, lens_rows
from lens.analysis.loss import BYTES, chunks
from lens.arrays import as_tensor
from lens.batching import at_once
from lens.finite import require_finite
from lens.hooks import HookPoint, hooks
from lens.model import Transformer
from lens.progress import Progress, part, silent

DEFINITION = (
    "What the residual stream says after every layer, read through the model's own final norm, with that stream's own "
    "statistics, and its unembedding. The first row is the embedding."
)
SOURCE = 'nostalgebraist, "interpreting GPT: the logit lens" (2020)'
CACHED = 1_600_000  # bytes of logits that stay near a core while their numbers are taken
STRETCH = 256  # tokens of the vocabulary whose largest logit is taken at once
MOST_FOLLOWED = 8  # tokens at one position, those the reader asks for not counted


class LogitLens(NamedTuple):
    """One row per stream, see :func:`lens_rows`; of the streams after whole layers the last one is the output itself.

    ``logprob`` and ``rank`` are about the target; NaN and −1 where there is none.
    """

    logprob: Float[Tensor, "row batch pos"]  # nats; 0 is certainty
    rank: Int[Tensor, "row batch pos"]  # tokens that score strictly higher; 0 is the top
    kl: Float[Tensor, "row batch pos"]  # nats, KL(output ‖ row): what this stream does not know yet
    entropy: Float[Tensor, "row batch pos"]  # nats
    top: Int[Tensor, "row batch pos"]  # the likeliest token
    top_logprob: Float[Tensor, "row batch pos"]  # nats, its own


class Followed(NamedTuple):
    """Some tokens at one position, through all rows."""

    ids: Int[Tensor, " token"]
    logprob: Float[Tensor, "row token"]  # nats
    rank: Int[Tensor, "row token"]  # tokens that score strictly higher
    kl: Float[Tensor, " row"]
    entropy: Float[Tensor, " row"]
    top: Int[Tensor, "row k"]  # the likeliest tokens of each row
    top_logprob: Float[Tensor, "row k"]


@torch.no_grad()
def logit_lens(
    model: Transformer,
    tokens: Int[Tensor, "batch pos"],
    target: Int[Tensor, "batch pos"] | None = None,
    *,
    source: str = "stream",
    mid: bool = False,
    fitted: bool = False,
    max_bytes: int = BYTES,
    progress: Progress = silent,
) -> LogitLens:
    """What each stream of ``lens_rows`` says is next: its top token, ``target``'s log-probability and rank, KL.

    Each stream goes through the model's own final norm, with that stream's statistics, so the last row is exactly the
    output. ``target`` −1: none; None: the token on top of the output. ``fitted``: each stream is first taken to where
    a linear reader expects the last one (:mod:`lens.analysis.answer.fitted_lens`).
    The vocabulary is walked in chunks of positions: never more than ``max_bytes`` of logits at once, and the output's.
    Source: nostalgebraist, "interpreting GPT: the logit lens" (2020).
    """
    if target is not None and target.shape != tokens.shape:
        raise ValueError(
            f"logit_lens: target has shape {list(target.shape)}; wanted one per token, {list(tokens.shape)}."
        )
    lens = _Lens(model, tokens, source, mid, fitted, part(progress, 0, 0.1 if fitted else 0))
    n, wanted = tokens.numel(), None if target is None else target.to(model.device).flatten()
    kinds = (torch.float, torch.long, torch.float, torch.float, torch.long, torch.float)
    out = LogitLens(*(torch.empty(len(lens.rows), n, dtype=kind) for kind in kinds))
    parts = list(chunks(n, model.cfg.d_vocab, max_bytes // 2))
    for done, at in enumerate(parts):
        output = lens.output(at)
        final = _Final(output)
        aim = final.top if wanted is None else wanted[at]
        for row, logits in lens.decoded(at, output, max_bytes):
            progress((done + row / len(lens.rows)) / len(parts), f"stream {row} of {len(lens.rows) - 1}")
            for field, values in zip(out, _numbers(logits, final, aim), strict=True):
                field[row, at] = values.cpu()
    known = torch.stack([out.entropy, out.kl, out.top_logprob])
    require_finite(model, tokens.to(model.device), known)
    return LogitLens(*(field.unflatten(1, tokens.shape) for field in out))


@torch.no_grad()
def follow_tokens(
    model: Transformer,
    tokens: Int[Tensor, "1 pos"],
    pos: int,
    ids: Sequence[int] = (),
    *,
    source: str = "stream",
    mid: bool = False,
    fitted: bool = False,
    n_top: int = 5,
) -> Followed:
    """``ids`` at one position through all rows, then the output's top token and those that lead in any row.

    At most ``MOST_FOLLOWED`` beside ``ids``, those that lead late before those that lead early.
    """
    tokens = tokens[:, : pos + 1]  # what comes later cannot change it
    lens = _Lens(model, tokens, source, mid, fitted)
    at = slice(tokens.shape[1] - 1, tokens.shape[1])
    logits = torch.cat([row for _, row in lens.decoded(at, lens.output(at), BYTES)])
    final = _Final(lens.output(at))
    top = logits.topk(min(n_top, model.cfg.d_vocab), dim=-1)
    leading = dict.fromkeys([int(final.top[0]), *reversed(top.indices[:, 0].tolist())])
    followed = list(dict.fromkeys([*ids, *list(leading)[:MOST_FOLLOWED]]))
    chosen = torch.tensor(followed, device=model.device)
    total = logits.logsumexp(-1, keepdim=True)
    own = logits[:, chosen]
    rank = torch.stack([(logits > own[:, i, None]).sum(-1) for i in range(len(followed))], 1)
    numbers = [_numbers(row[None], final, final.top) for row in logits]
    kl, entropy = (torch.cat([getattr(one, name) for one in numbers]) for name in ("kl", "entropy"))
    require_finite(model, tokens.to(model.device), torch.stack([kl, entropy]))
    found = Followed(chosen, own - total, rank, kl, entropy, top.indices, top.values - total)
    return Followed(*(field.cpu() for field in found))


def settles(rank: Int[Tensor, "row *places"]) -> Int[Tensor, "*places"]:
    """The first row from which on the target stays on top; −1 where it is not on top of the last row."""
    kept = (as_tensor(rank) == 0).flip(0).long().cumprod(0).sum(0)
    return torch.where(kept > 0, len(rank) - kept, -1)


class _Lens:
    """The streams of one text, and what is decoded from them."""

    def __init__(
        self, model: Transformer, tokens: Tensor, source: str, mid: bool, fitted: bool, progress: Progress = silent
    ) -> None:
        if fitted and source != "stream":
            raise ValueError("logit_lens: a fitted decoder reads the stream alone; leave out the rest.")
        self.model, self.rows = model, lens_rows(model.cfg, source, mid)
        if fitted and (without := sorted({*self.rows} - {*fitted_rows(model.cfg)})):
            raise ValueError(
                f"logit_lens: the maps of {model.name} for rows such as {without[0].label!r} would be too large to "
                "keep; leave out mid."
            )
        self.decoder: FittedDecoder | None = fitted_decoder(model, progress) if fitted else None
        streams, final = _streams(model, tokens.to(model.device), source, self.rows)
        self.streams = [stream.flatten(0, 1) for stream in streams]
        self.final = final.flatten(0, 1)
        self.is_output = source == "stream" and not fitted  # the last row

    def logits(self, row: int, at: slice) -> Float[Tensor, "chunk d_vocab"]:
        """What the stream of ``row`` predicts at some positions."""
        return self._together([row], at)[0]

    def decoded(
        self, at: slice, output: Float[Tensor, "chunk d_vocab"], max_bytes: int
    ) -> Iterator[tuple[int, Float[Tensor, "chunk d_vocab"]]]:
        """Every row and what it predicts at some positions, as many at once as fit: few are slower to unembed, each.

        After the last layer the stream is that of the ``output``.
        """
        last = len(self.rows) - 1 if self.is_output else len(self.rows)
        together = at_once(max_bytes // (4 * output.numel()))
        for row in range(0, last, together):
            rows = range(row, min(row + together, last))
            yield from zip(rows, self._together(rows, at))
        if self.is_output:
            yield last, output

    def _together(self, rows: Sequence[int], at: slice) -> Float[Tensor, "row chunk d_vocab"]:
        streams = [self.streams[row][at] for row in rows]
        if self.decoder is not None:
            streams = [self.decoder.read(self.rows[row], stream) for row, stream in zip(rows, streams)]
        return _logits(self.model, torch.cat(streams)).unflatten(0, (len(streams), -1))

    def output(self, at: slice) -> Float[Tensor, "chunk d_vocab"]:
        """The model's own logits."""
        return _logits(self.model, self.final[at])


class _Final:
    """The distribution of the output at some positions, that every row is held against."""

    def __init__(self, logits: Float[Tensor, "chunk d_vocab"]) -> None:
        self.top = _top(logits)
        self.prob, self.logprob = _distribution(logits, self.top)

    def __getitem__(self, some: slice) -> "_Final":
        part = object.__new__(_Final)
        part.top, part.prob, part.logprob = self.top[some], self.prob[some], self.logprob[some]
        return part


def _numbers(logits: Float[Tensor, "chunk d_vocab"], final: _Final, aim: Int[Tensor, " chunk"]) -> LogitLens:
    """Every number of one row, a few positions at a time: what each pass over their logits reads is in the cache."""
    size = at_once(CACHED // (4 * logits.shape[1]))
    parts = [slice(start, start + size) for start in range(0, len(logits), size)]
    found = [_numbers_of(logits[some], final[some], aim[some]) for some in parts]
    return LogitLens(*(torch.cat(field) for field in zip(*found)))


def _numbers_of(logits: Float[Tensor, "chunk d_vocab"], final: _Final, aim: Int[Tensor, " chunk"]) -> LogitLens:
    top, place = _top(logits), aim.clamp(min=0)[:, None]
    prob, logprobs = _distribution(logits, top)
    # A comparison that is written as a number is added up eight times as fast as one written as true or false.
    rank = torch.gt(logits, logits.gather(-1, place), out=torch.empty_like(logits)).sum(-1).long()
    entropy = -torch.linalg.vecdot(prob, logprobs)
    kl = torch.linalg.vecdot(final.prob, final.logprob - logprobs)
    own, highest = (logprobs.gather(-1, one)[:, 0] for one in (place, top[:, None]))
    known = aim >= 0
    return LogitLens(
        torch.where(known, own, torch.nan), torch.where(known, rank, -1), kl.clamp(min=0), entropy, top, highest
    )


def _distribution(logits: Float[Tensor, "chunk d_vocab"], top: Int[Tensor, " chunk"]) -> tuple[Tensor, Tensor]:
    """Probabilities and their logarithms, by one exponential: the largest logit and its share give the sum of all."""
    prob, place = logits.softmax(-1), top[:, None]
    return prob, logits - (logits.gather(-1, place) - prob.gather(-1, place).log())


def _top(logits: Float[Tensor, "chunk d_vocab"]) -> Int[Tensor, " chunk"]:
    """``logits.argmax(-1)``, the first of equal ones: by the largest of each ``STRETCH``, ten times as fast."""
    whole = logits.shape[1] // STRETCH * STRETCH
    rest = logits[:, whole:]
    if not whole:
        return rest.argmax(-1)
    stretches = logits[:, :whole].unflatten(1, (-1, STRETCH))
    at = stretches.amax(-1).argmax(-1)
    top = at * STRETCH + stretches[torch.arange(len(at), device=at.device), at].argmax(-1)
    if not rest.shape[1]:
        return top
    later = rest.amax(-1) > logits.gather(-1, top[:, None])[:, 0]
    return torch.where(later, whole + rest.argmax(-1), top)


def _streams(
    model: Transformer, tokens: Int[Tensor, "batch pos"], source: str, rows: Sequence[LensRow]
) -> tuple[list[Float[Tensor, "batch pos d_model"]], Float[Tensor, "batch pos d_model"]]:
    """What each row reads, and the stream after the last layer."""
    kept: list[Tensor] = []

    def keep(stream: Tensor, hook: HookPoint) -> None:
        kept.append(stream if source == "stream" or not kept else kept[-1] + stream)

    with hooks(model, [(list(lens_points(rows, source)), keep)], writes=False):
        final = model(tokens, stop_at_layer=model.cfg.n_layers)
    return kept, final


def _logits(model: Transformer, stream: Float[Tensor, "chunk d_model"]) -> Float[Tensor, "chunk d_vocab"]:
    """One position per row of a batch: the unembedding does not care where a position stands."""
    return model(stream[:, None], start_at_layer=model.cfg.n_layers)[:, 0].float()
