"""Instruments of attention patterns: all that are asked are read in one streaming pass that keeps no pattern."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.instruments.instrument import Instrument, OfPattern
from lens.analysis.instruments.layout import Layout, Pattern, even_pattern, repeats_layout, text_layout
from lens.analysis.instruments.sample import Sample
from lens.analysis.random_tokens import RepeatedTokens
from lens.analysis.score_results import HeadScores, Samples, head_score
from lens.analysis.stats import means_within
from lens.analysis.streaming import batches, stream_patterns
from lens.model import Transformer
from lens.progress import Progress, part, silent
from lens.tokens import TokenBatch


class Readings(NamedTuple):
    """What instruments read of every sequence, before any statistics. Sequences are independent: see ``join``."""

    names: tuple[str, ...]  # of the instruments, along the first axis of all others
    score: Float[Tensor, "instrument sequence layer head"]
    null: Float[Tensor, "instrument sequence layer head"]  # NaN where there is none
    uniform: Float[Tensor, "instrument sequence"]  # of a head that looks at all keys alike
    n_queries: Int[Tensor, "instrument sequence"]  # that were averaged; 0: the sequence has none for this instrument

    def of(self, name: str) -> "Reading":
        """One instrument's."""
        index = self.names.index(name)
        return Reading(*(one[index] for one in self[1:]))

    def rows(self, rows: slice) -> Self:
        """Some of the sequences."""
        return self._replace(**{name: getattr(self, name)[:, rows] for name in self._fields[1:]})


class Reading(NamedTuple):
    """One instrument on every sequence."""

    score: Float[Tensor, "sequence layer head"]
    null: Float[Tensor, "sequence layer head"]
    uniform: Float[Tensor, " sequence"]
    n_queries: Int[Tensor, " sequence"]


def join(parts: Sequence[Readings]) -> Readings:
    """Consecutive sequences as one."""
    columns = list(zip(*parts, strict=True))
    return Readings(parts[0].names, *(torch.cat(column, dim=1) for column in columns[1:]))


class PatternReader:
    """Reads numbers off patterns that have one layout: the weighted sums of entries all in one product."""

    def __init__(self, instruments: Sequence[Instrument], layout: Layout) -> None:
        self.of = [_of_pattern(one) for one in instruments]
        self.layout = layout
        found = [None if one.entries is None else one.entries(layout) for one in self.of]
        self.own_null = [one is not None and one.nulls is not None for one in found]
        self.n_queries = torch.stack([layout.later.sum(-1) if one is None else one.queries.sum(-1) for one in found])
        groups = [[] if one is None else [one.score, *([] if one.nulls is None else one.nulls)] for one in found]
        self.sizes = [len(group) for group in groups]
        every = [weights for group in groups for weights in group]
        self.weights = torch.stack(every) if every else None  # [entry, row, query, key]

    def __call__(
        self, values: Float[Tensor, "batch head query key"], rows: slice = slice(None)
    ) -> Float[Tensor, "2 instrument batch head"]:
        """Score and null of every instrument; NaN where a pattern has no null of its own. ``rows`` of the layout."""
        layout = self.layout if len(self.layout.real) == 1 else _rows(self.layout, rows)
        pattern, sums = Pattern(values), self._sums(values, rows)
        out = values.new_full((2, len(self.of), *values.shape[:2]), torch.nan)
        start = 0
        for index, (one, size) in enumerate(zip(self.of, self.sizes)):
            if one.value is not None:
                out[0, index] = one.value(pattern, layout)
                continue
            n = self.n_queries[index] if len(self.layout.real) == 1 else self.n_queries[index, rows]
            mean = sums[start : start + size] / n.clamp(min=1)[:, None]
            out[0, index] = mean[0]
            if size > 1:
                out[1, index] = mean[1:].amax(0)
            start += size
        return out

    def _sums(self, values: Tensor, rows: slice) -> Float[Tensor, "entry batch head"]:
        if self.weights is None:
            return values.new_empty(0, *values.shape[:2])
        if self.weights.shape[1] == 1:
            return (values.flatten(2) @ self.weights[:, 0].flatten(1).T).movedim(-1, 0)
        return torch.einsum("bhqk,sbqk->sbh", values, self.weights[:, rows])

    def uniform(self) -> Float[Tensor, "instrument row"]:
        """The numbers of a head that looks at all keys alike."""
        return self(even_pattern(self.layout))[0, :, :, 0]


def _of_pattern(instrument: Instrument) -> OfPattern:
    if instrument.pattern is None:
        raise ValueError(f"{instrument.name} is no number of a pattern; measure it with instruments.measure.measure.")
    return instrument.pattern


def _rows(layout: Layout, rows: slice) -> Layout:
    tokens = None if layout.tokens is None else layout.tokens[rows]
    return Layout(layout.real[rows], tokens, layout.n, layout.bos)


def measure_patterns(
    model: Transformer, instruments: Sequence[Instrument], sample: Sample, progress: Progress = silent
) -> HeadScores:
    """All these numbers of all heads, with nulls and intervals, from one pass over the sequences of ``sample``.

    Below 16 sequences there are neither intervals nor verdicts. ``progress`` may raise to cancel.
    """
    if sample.repeated is not None:
        return summarise_repeats(read_repeats(model, instruments, sample.repeated, progress), instruments, sample)
    return summarise_texts(read_texts(model, instruments, sample.text_batch(), progress), instruments, sample)


@torch.no_grad()
def read_repeats(
    model: Transformer, instruments: Sequence[Instrument], repeated: RepeatedTokens, progress: Progress = silent
) -> Readings:
    """What :func:`summarise_repeats` summarises, of every repeated sequence beside its control."""
    both, n_seqs = torch.cat([repeated.tokens, repeated.control]), len(repeated.tokens)
    reader = PatternReader(instruments, repeats_layout(repeated.n, repeated.bos, model.device))
    out = _stream(model, reader, both, None, progress)
    own = torch.tensor(reader.own_null)[:, None, None, None]
    null = torch.where(own, out[1, :, :n_seqs], out[0, :, n_seqs:])
    names = tuple(one.name for one in instruments)
    uniform, n_queries = (each.cpu().expand(-1, n_seqs) for each in (reader.uniform(), reader.n_queries))
    return Readings(names, out[0, :, :n_seqs], null, uniform, n_queries)


@torch.no_grad()
def read_texts(
    model: Transformer, instruments: Sequence[Instrument], texts: TokenBatch, progress: Progress = silent
) -> Readings:
    """What :func:`summarise_texts` summarises, of every text; a batch at a time, which bounds what is held."""
    check_texts(texts)
    tokens, mask = texts.tokens.to(model.device), texts.mask.to(model.device).bool()
    names, parts = tuple(one.name for one in instruments), []
    rows_of = list(batches(len(tokens), tokens.shape[1], model.cfg.n_heads))
    for done, rows in enumerate(rows_of):
        reader = PatternReader(instruments, text_layout(tokens[rows], mask[rows]))
        watch = part(progress, done / len(rows_of), (done + 1) / len(rows_of))
        out = _stream(model, reader, tokens[rows], mask[rows], _named(watch, f"part {done + 1}: "))
        parts.append(Readings(names, *out, reader.uniform().cpu(), reader.n_queries.cpu()))
    return join(parts)


def _named(progress: Progress, name: str) -> Progress:
    return lambda fraction, stage: progress(fraction, name + stage)


def _stream(
    model: Transformer, reader: PatternReader, tokens: Tensor, mask: Tensor | None, progress: Progress
) -> Float[Tensor, "2 instrument sequence layer head"]:
    cfg = model.cfg
    out = torch.empty(2, len(reader.of), len(tokens), cfg.n_layers, cfg.n_heads, device=model.device)

    def visit(layer: int, rows: slice, pattern: Float[Tensor, "batch head query key"]) -> None:
        out[:, :, rows, layer] = reader(pattern.float(), rows)

    stream_patterns(model, tokens, visit, mask, progress=progress)
    return out.cpu()


def summarise_repeats(found: Readings, instruments: Sequence[Instrument], sample: Sample) -> HeadScores:
    """Means over sequences with intervals, nulls and thresholds; ``sample``: the sequences that were read."""
    repeated = sample.repeated
    layout, scores = repeats_layout(repeated.n, repeated.bos), {}
    for one in instruments:
        reading = found.of(one.name)
        samples = Samples(reading.score, reading.null, float(reading.uniform[0]), int(reading.n_queries.sum()))
        kind = one.kind("repeats", here=_queries(one, layout))
        scores[one.name] = head_score(kind, samples, "sequences", repeated.seed)
    return HeadScores(scores, {}, sample.source, repeated.seed)


def _queries(instrument: Instrument, layout: Layout) -> str:
    """Which queries are averaged, in numbers; "" where it is no sum over cells."""
    queries = sorted({query for query, _ in instrument.reads(layout)})
    return f"Here n = {layout.n}, q = {queries[0]}…{queries[-1]}." if queries else ""


def summarise_texts(found: Readings, instruments: Sequence[Instrument], sample: Sample) -> HeadScores:
    """Means over the texts that have queries for a number; one that no text has is ``missing``, with the reason.

    Texts of one document count once, as their mean: they are not independent.
    """
    scores, missing = {}, {}
    documents = torch.arange(found.n_queries.shape[1]) if sample.documents is None else torch.tensor(sample.documents)
    for one in instruments:
        reading = found.of(one.name)
        used = reading.n_queries > 0
        if not used.any():
            missing[one.name] = f"not computed because {_of_pattern(one).absent}"
            continue
        score, null, uniform = (means_within(each[used], documents[used]) for each in reading[:3])
        null = None if reading.null.isnan().all() else null
        samples = Samples(score, null, float(uniform.mean()), int(reading.n_queries.sum()))
        scores[one.name] = head_score(one.kind(sample.name), samples, sample.independent)
    return HeadScores(scores, missing, sample.source, None)


def check_texts(texts: TokenBatch) -> None:
    """ValueError for a mask of another shape, or real tokens that do not stand together."""
    tokens, mask = texts
    if tokens.shape != mask.shape:
        raise ValueError(
            f"text_scores: mask has shape {list(mask.shape)}; wanted that of tokens, {list(tokens.shape)}."
        )
    starts = (mask.int().diff(dim=-1) == 1).sum(-1) + mask[:, 0].int()
    if (starts > 1).any():
        raise ValueError(
            f"text_scores: the real tokens of text {int(starts.argmax())} do not stand together; pad only at the ends."
        )
