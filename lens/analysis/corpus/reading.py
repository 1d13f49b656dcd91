"""What all heads do on documents, read a few documents at a time in one pass, and kept on disk.

The first token is where attention rests, so it stands apart: as a key it is in no bin, no look and no token's share.
No pattern is kept. Documents are independent: what is read of some, :func:`join` puts together.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.corpus.distances import bin_entries
from lens.analysis.instruments.instrument import Instrument
from lens.analysis.instruments.layout import Layout, even_pattern, text_layout
from lens.analysis.instruments.patterns import PatternReader, Readings, check_texts
from lens.analysis.instruments.patterns import join as join_readings
from lens.analysis.instruments.registry import INSTRUMENTS
from lens.analysis.instruments.sample import Sample
from lens.analysis.names import Head
from lens.analysis.streaming import stream_patterns
from lens.analysis.weights_digest import weights_digest
from lens.arrays import as_tensor
from lens.hooked import HookedTransformer
from lens.model import Transformer
from lens.progress import Progress, part, silent
from lens.results import Result, remembered, result_key
from lens.tokens import TokenBatch

TOKENS = 1024  # read between two drawings: about two seconds of a model of 135M weights on two cores
LONGEST = 2**15  # tokens of a document: a key is kept in two bytes


class TokenSums(NamedTuple):
    """For every token that occurs: how often, and what attention its queries gave and its keys got.

    Sums over cells of query and key, key 0 left out; ``even_…`` are those of a head that looks at all keys alike.
    """

    ids: Int[Tensor, " token"]  # ascending
    n_queries: Int[Tensor, " token"]  # positions q ≥ 1 where it stands; as many keys
    even_gave: Float[Tensor, " token"]
    even_got: Float[Tensor, " token"]
    gave: Float[Tensor, "*layer_head token"]
    got: Float[Tensor, "*layer_head token"]


class Corpus(NamedTuple):
    """Every head on some documents, or with ``[document …]`` alone one head: see :func:`of_head`."""

    readings: Readings  # the instruments of patterns, of each document
    shares: Float[Tensor, "*layer_head document bin"]  # of a query's attention, mean over q ≥ 1; the rest is on key 0
    even_shares: Float[Tensor, "document bin"]  # of a head that looks at all keys alike
    look: Float[Tensor, "*layer_head document query"]  # the largest attention off key 0; NaN at query 0 and at pads
    key: Int[Tensor, "*layer_head document query"]  # which key that is
    tokens: TokenSums


def text_instruments() -> tuple[Instrument, ...]:
    """Those that read patterns of a text."""
    return tuple(one for one in INSTRUMENTS if one.pattern is not None and "text" in one.needs.samples)


def parts_of(n_documents: int, length: int) -> list[tuple[int, int]]:
    """(first, last + 1) of the documents that are read together; more documents only add parts."""
    size = max(1, TOKENS // length)
    return [(start, min(start + size, n_documents)) for start in range(0, n_documents, size)]


def corpus(
    model: HookedTransformer,
    sample: Sample,
    progress: Progress = silent,
    show: Callable[[Corpus], object] | None = None,
) -> Corpus:
    """All heads on the texts of ``sample``, in parts; ``show`` gets what is read so far after each of them.

    ``progress`` may raise to stop: the parts that are done lie on disk.
    """
    texts, done = sample.text_batch(), []
    parts = parts_of(*texts.tokens.shape)
    for place, rows in enumerate(parts):
        watch = part(progress, place / len(parts), (place + 1) / len(parts))
        done.append(corpus_part(rows, model, texts, watch))
        if show is not None:
            show(join(done))
    return join(done)


def corpus_part(
    rows: tuple[int, int], model: HookedTransformer, texts: TokenBatch, progress: Progress = silent
) -> Corpus:
    """:func:`read_documents` of some of the texts: what lies on disk, else read now and kept there."""
    some = _cut(rows, texts)
    names = [one.name for one in text_instruments()]
    parts = {"weights": weights_digest(model), "device": str(model.device), "instruments": names, "text": _digest(some)}
    key = result_key("corpus", __name__, **parts)
    return _unpacked(remembered(key, lambda: _packed(read_documents(model, some, progress))))


def private_part(
    rows: tuple[int, int], model: HookedTransformer, texts: TokenBatch, progress: Progress = silent
) -> Corpus:
    """:func:`corpus_part` that leaves nothing on disk: of a text that is not ours to keep."""
    return read_documents(model, _cut(rows, texts), progress)


def _cut(rows: tuple[int, int], texts: TokenBatch) -> TokenBatch:
    """Some of the texts, without the columns in which none of them has a token."""
    tokens, mask = texts.tokens[slice(*rows)].cpu(), texts.mask[slice(*rows)].bool().cpu()
    used = mask.any(0)
    return TokenBatch(tokens[:, used], mask[:, used])


def _digest(texts: TokenBatch) -> str:
    digest = hashlib.sha256(repr(list(texts.tokens.shape)).encode())
    for one in texts:
        digest.update(one.contiguous().numpy().tobytes())
    return digest.hexdigest()


@torch.no_grad()
def read_documents(model: Transformer, texts: TokenBatch, progress: Progress = silent) -> Corpus:
    """All heads on ``texts``, padded on the right where they differ in length; nothing is kept on disk.

    ValueError for pads on the left, a text of one token, or one of ``LONGEST`` tokens.
    """
    _check(texts)
    tokens, mask = texts.tokens.to(model.device), texts.mask.to(model.device).bool()
    cfg, (n, n_pos) = model.cfg, tokens.shape
    layout = text_layout(tokens, mask)
    readers = Readers(layout, text_instruments())
    n_bins, shape = readers.entries.shape[-1], (cfg.n_layers, cfg.n_heads, n)
    readings = torch.empty(2, len(text_instruments()), n, cfg.n_layers, cfg.n_heads)
    shares, look = torch.empty(*shape, n_bins), torch.full((*shape, n_pos), torch.nan)
    key = torch.zeros(*shape, n_pos, dtype=torch.int16)
    ids, places = tokens[layout.later].unique(return_inverse=True)
    gave, got = torch.zeros(2, cfg.n_layers, cfg.n_heads, len(ids), device=model.device)
    at = torch.zeros_like(tokens).masked_scatter(layout.later, places)

    def visit(layer: int, rows: slice, pattern: Float[Tensor, "batch head query key"]) -> None:
        read = readers(pattern.float(), rows)
        readings[:, :, rows, layer] = read.readings.cpu()
        shares[layer, :, rows] = read.shares.transpose(0, 1).cpu()
        look[layer, :, rows, 1:] = read.look.transpose(0, 1).cpu()
        key[layer, :, rows, 1:] = read.key.transpose(0, 1).cpu().short()
        for sums, values in ((gave, read.gave), (got, read.got)):
            sums[layer].index_add_(1, at[rows].flatten(), values.transpose(0, 1).flatten(1))

    stream_patterns(model, tokens, visit, mask, progress=progress)
    even = readers(even_pattern(layout).expand(n, -1, -1, -1), slice(0, n))
    sums = [torch.zeros(len(ids), device=model.device).index_add_(0, at.flatten(), one.flatten()) for one in even[-2:]]
    names = tuple(one.name for one in text_instruments())
    uniform, n_queries = even.readings[0, :, :, 0], readers.reader.n_queries
    return Corpus(
        Readings(names, *readings, uniform.cpu(), n_queries.cpu()),
        shares,
        even.shares[:, 0].cpu(),
        look,
        key,
        TokenSums(ids.cpu(), places.bincount(minlength=len(ids)).cpu(), *(one.cpu() for one in (*sums, gave, got))),
    )


class Read(NamedTuple):
    """What is read of the patterns of one layer on some documents."""

    readings: Float[Tensor, "2 instrument batch head"]  # score and null
    shares: Float[Tensor, "batch head bin"]
    look: Float[Tensor, "batch head query-1"]
    key: Int[Tensor, "batch head query-1"]
    gave: Float[Tensor, "batch head query"]  # to keys other than the first; 0 at query 0 and at pads
    got: Float[Tensor, "batch head key"]  # from queries other than the first; 0 at key 0 and at pads


class Readers:
    """Reads patterns of one layout of documents, all heads at once and in as few passes over them as there are."""

    def __init__(self, layout: Layout, instruments: Sequence[Instrument]) -> None:
        self.reader = PatternReader(instruments, layout)
        self.later = layout.later
        self.padded = not bool(layout.real.all())
        self.entries = bin_entries(layout.real.shape[1], layout.real.device)

    def __call__(self, values: Float[Tensor, "batch head query key"], rows: slice) -> Read:
        """Of ``rows`` of the layout."""
        readings, later = self.reader(values, rows), self.later[rows][:, None]
        n = later.sum(-1, keepdim=True)
        if self.padded:
            values = values * later[..., None]
        inner = values[:, :, 1:, 1:]  # query 0 has no other key than itself
        look, key = inner.max(-1)
        look, key = torch.where(later[..., 1:], look, torch.nan), torch.where(later[..., 1:], key + 1, 0)
        sums = values[:, :, 1:].flatten(2) @ self.entries[1:].flatten(0, 1)
        return Read(readings, sums / n, look, key, F.pad(inner.sum(-1), (1, 0)), F.pad(inner.sum(-2), (1, 0)))


def _check(texts: TokenBatch) -> None:
    check_texts(texts)
    mask = texts.mask.bool()
    if not mask[:, 0].all():
        raise ValueError("read_documents: a text has pads on its left; pad on the right.")
    shortest, longest = int(mask.sum(-1).min()), mask.shape[1]
    if shortest < 2 or longest >= LONGEST:
        raise ValueError(
            f"read_documents: texts of {shortest} to {longest} tokens; give texts of 2 to {LONGEST - 1} tokens."
        )


def of_head(of: Corpus, head: Head) -> Corpus:
    """One head of all; ``readings`` stay those of all heads."""
    tokens = of.tokens._replace(gave=of.tokens.gave[head], got=of.tokens.got[head])
    return of._replace(shares=of.shares[head], look=of.look[head], key=of.key[head], tokens=tokens)


def join(parts: Sequence[Corpus]) -> Corpus:
    """Consecutive documents as one corpus. ValueError for none."""
    if not parts:
        raise ValueError("join: no parts; a corpus has at least one document.")
    bins, width = (max(one.shape[-1] for one in ones) for ones in zip(*((p.shares, p.look) for p in parts)))
    fill = {"shares": (bins, 0.0), "even_shares": (bins, 0.0), "look": (width, torch.nan), "key": (width, 0)}
    wide = {name: torch.cat([_wide(getattr(of, name), *how) for of in parts], -2) for name, how in fill.items()}
    return Corpus(
        join_readings([of.readings for of in parts]), tokens=_join_tokens([of.tokens for of in parts]), **wide
    )


def _wide(values: Tensor, width: int, fill: float) -> Tensor:
    return F.pad(values, (0, width - values.shape[-1]), value=fill)


def _join_tokens(parts: Sequence[TokenSums]) -> TokenSums:
    ids, place = torch.cat([one.ids for one in parts]).unique(return_inverse=True)
    columns = [torch.cat(ones, -1) for ones in list(zip(*parts))[1:]]
    return TokenSums(ids, *(one.new_zeros(*one.shape[:-1], len(ids)).index_add_(-1, place, one) for one in columns))


def _packed(of: Corpus) -> Result:
    named = {f"readings.{name}": one for name, one in of.readings._asdict().items() if name != "names"}
    named |= {f"tokens.{name}": one for name, one in of.tokens._asdict().items()}
    named |= {name: getattr(of, name) for name in ("shares", "even_shares", "look", "key")}
    return Result({name: np.asarray(one) for name, one in named.items()}, {"names": list(of.readings.names)})


def _unpacked(result: Result) -> Corpus:
    arrays = {name: as_tensor(one) for name, one in result.arrays.items()}

    def inside(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): one for name, one in arrays.items() if name.startswith(prefix)}

    own = {name: one for name, one in arrays.items() if "." not in name}
    readings = Readings(names=tuple(result.facts["names"]), **inside("readings."))
    return Corpus(readings=readings, tokens=TokenSums(**inside("tokens.")), **own)
