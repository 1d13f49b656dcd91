"""A linear reader of every layer's stream, fitted to the last one: what could be read there, not what the model uses.

Kept on disk: it belongs to the weights and the shipped text, not to a prompt.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.answer.lens_rows import LensRow, lens_points, lens_rows
from lens.analysis.held_out import beginnings, held_out_digest
from lens.analysis.loss import chunks
from lens.analysis.stats import Estimate, estimate
from lens.analysis.streaming import batches
from lens.analysis.weights_digest import stamp, weights_digest
from lens.arrays import as_tensor
from lens.batching import at_once
from lens.config import Config
from lens.finite import require_finite
from lens.hooked import HookedTransformer
from lens.hooks import HookPoint, hooks
from lens.progress import Progress, part, silent
from lens.results import Result, load, result_key, results_folder, save_if_possible
from lens.texts import UNIT, held_out
from lens.tokens import TokenBatch

DEFINITION = (
    "Each stream goes through an affine map first, fitted by ridge regression to the last stream on half of the "
    "chapters of the shipped text, first token left out; then the model's own final norm and unembedding. What a "
    "linear reader could get, not what the model uses."
)
SOURCE = 'after Belrose et al. 2023, "Eliciting latent predictions", who fit by KL'
LENGTH = 192  # tokens of a chapter that are read
RIDGE = 1e-3  # of the mean variance of a stream's coordinates; the map is drawn towards leaving the stream as it is
POSITIONS = 8  # of each held-out chapter, evenly spread, where KL is taken: the vocabulary is what costs
SUMS = 600_000_000  # bytes of the sums of one pass over the text; a larger model needs more passes
STREAMS = 250_000_000  # bytes of the streams of all rows that are held at once
LARGEST = 500_000_000  # bytes of a fit


class FittedDecoder(NamedTuple):
    """One affine map per row of :func:`fitted_rows`; the last one, of the output itself, changes nothing."""

    weight: Float[Tensor, "row d_model d_model"]  # added to the identity
    bias: Float[Tensor, "row d_model"]
    r2: Float[Tensor, " row"]  # share of the last stream's variance that the reader gets, on the other half
    kl: Float[Tensor, "row chapter"]  # nats, KL(output ‖ fitted row) on the other half, mean of ``POSITIONS``
    raw_kl: Float[Tensor, "row chapter"]  # the same without the fit
    n_fit: int  # tokens
    n_held_out: int
    rows: tuple[LensRow, ...]

    def read(self, row: LensRow, stream: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Where the reader of that row expects the last stream."""
        at = self.rows.index(row)
        weight, bias = self.weight[at].to(stream), self.bias[at].to(stream)
        return stream + (stream @ weight + bias)


class FitQuality(NamedTuple):
    """How good a fit is where it was not fitted, without its weights."""

    r2: Float[Tensor, " row"]
    kl: Estimate  # mean over chapters, [row]
    raw_kl: Estimate
    n_fit: int
    n_held_out: int
    rows: tuple[LensRow, ...]


_kept: "WeakKeyDictionary[HookedTransformer, tuple[tuple, FittedDecoder]]" = WeakKeyDictionary()


def fitted_decoder(model: HookedTransformer, progress: Progress = silent) -> FittedDecoder:
    """The fit of these weights: the one on disk, else made now and kept. ``progress`` may raise to stop."""
    if not _in_memory(model):
        key = fit_key(model)
        kept = load(key)
        if kept is None:
            made = fit_decoder(model, progress)
            kept = Result({name: getattr(made, name).numpy() for name in made._fields[:5]}, _facts(made))
            save_if_possible(key, kept)
        arrays = {name: as_tensor(array) for name, array in kept.arrays.items()}
        _kept[model] = (stamp(model), FittedDecoder(**arrays, **kept.facts, rows=fitted_rows(model.cfg)))
    return _kept[model][1]


def fit_quality(model: HookedTransformer, progress: Progress = silent) -> FitQuality:
    """How well the fit of these weights reads the other half of the text; makes the fit where there is none."""
    fit = fitted_decoder(model, progress)
    kl, raw_kl = (estimate(one.T, unit=UNIT) for one in (fit.kl, fit.raw_kl))
    return FitQuality(fit.r2, kl, raw_kl, fit.n_fit, fit.n_held_out, fit.rows)


def fit_is_kept(model: HookedTransformer) -> bool:
    """Whether the fit of these weights need not be made."""
    return _in_memory(model) or (results_folder() / fit_key(model)).is_file()


def _in_memory(model: HookedTransformer) -> bool:
    return model in _kept and _kept[model][0] == stamp(model)


def fit_key(model: HookedTransformer) -> str:
    """The name of a fit on disk: of the weights themselves, so that a changed model never gets another's."""
    bos = model.bos.id if model.bos.prepend else None
    parameters = {"length": LENGTH, "ridge": RIDGE, "positions": POSITIONS, "bos": bos}
    return result_key("fitted-lens", __name__, weights=weights_digest(model), text=held_out_digest(), **parameters)


def fitted_rows(cfg: Config) -> tuple[LensRow, ...]:
    """The rows that have a map: those in the middle of layers too, unless the maps would be too large to keep."""
    rows = lens_rows(cfg, mid=True)
    return rows if 4 * len(rows) * cfg.d_model**2 <= LARGEST else lens_rows(cfg)


def fit_operations(cfg: Config) -> int:
    """Floating-point operations of a fit, beside reading the text."""
    rows, chapters = len(fitted_rows(cfg)), len(held_out())
    sums = rows * chapters * LENGTH * 3 * cfg.d_model**2
    return sums + (2 * rows + 1) * (chapters // 2) * POSITIONS * 2 * cfg.d_model * cfg.d_vocab


@torch.no_grad()
def fit_decoder(model: HookedTransformer, progress: Progress = silent) -> FittedDecoder:
    """Fits the maps on every second chapter and measures them on the others; nothing is kept.

    ValueError for a model whose maps would be too large to keep.
    """
    rows, d_model = fitted_rows(model.cfg), model.cfg.d_model
    if 4 * len(rows) * d_model**2 > LARGEST:
        size = f"{4 * len(rows) * d_model**2 / 1e9:.1f} GB"
        raise ValueError(f"fit_decoder: the maps of {model.name} take {size}, more than is kept. Use the raw decoder.")
    text = beginnings(model, len(held_out()), model.bos.prepend, LENGTH)
    halves = [TokenBatch(text.tokens[start::2], text.mask[start::2]) for start in (0, 1)]
    size = at_once(SUMS // (16 * d_model**2))
    groups = [rows[start : start + size] for start in range(0, len(rows), size)]
    solved = []
    for done, group in enumerate(groups):
        share = part(progress, 0.5 * done / len(groups), 0.5 * (done + 1) / len(groups))
        solved += _solve(model, halves[0], group, share)
    weight, bias = (torch.stack(one) for one in zip(*solved, strict=True))
    blank, counts = torch.empty(0), (int(_counted(half).sum()) for half in halves)
    fit = FittedDecoder(weight, bias, blank, blank, blank, *counts, rows)
    progress(0.5, "the other half")
    return fit._replace(**_measured(model, halves[1], fit, part(progress, 0.5, 1)))


def _facts(fit: FittedDecoder) -> dict[str, int]:
    return {"n_fit": fit.n_fit, "n_held_out": fit.n_held_out}


def _counted(text: TokenBatch) -> Tensor:
    """Real tokens but the first of each chapter, bool [chapter, pos]."""
    counted = text.mask.bool().clone()
    counted[:, 0] = False
    return counted


def _read(model: HookedTransformer, text: TokenBatch, rows: Sequence[LensRow], progress: Progress) -> Iterator[tuple]:
    """The chapters in batches: their slice, the streams of ``rows`` and the last stream, [chapter, pos, d_model].

    Reading is the first half of a batch's progress, what is done with it the second.
    """
    names = list(lens_points(rows))
    for at in _batches(model.cfg, text, len(rows)):
        kept: list[Tensor] = []
        share = part(_batch(progress, text, at), 0, 0.5)

        def keep(stream: Tensor, hook: HookPoint, kept: list[Tensor] = kept, share: Progress = share) -> None:
            kept.append(stream)
            share(len(kept) / len(names), "reading")

        tokens, mask = text.tokens[at].to(model.device), text.mask[at].to(model.device)
        with hooks(model, [(names, keep)], writes=False):
            final = model(tokens, attention_mask=mask, stop_at_layer=model.cfg.n_layers)
        require_finite(model, tokens, final[mask.bool()], mask, "streams")
        yield at, kept, final


def _batches(cfg: Config, text: TokenBatch, n_rows: int) -> Iterator[slice]:
    """Slices of the chapters whose streams are held at the same time."""
    n, n_pos = text.tokens.shape
    most = at_once(STREAMS // (4 * n_rows * n_pos * cfg.d_model))
    size = min(most, next(batches(n, n_pos, cfg.n_heads)).stop)
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _batch(progress: Progress, text: TokenBatch, at: slice) -> Progress:
    """Progress of one batch of chapters, which it names."""
    n = len(text.tokens)
    share = part(progress, at.start / n, at.stop / n)
    return lambda fraction, stage: share(fraction, f"chapters {at.start + 1}–{at.stop} of {n}: {stage}")


def _solve(
    model: HookedTransformer, text: TokenBatch, rows: Sequence[LensRow], progress: Progress
) -> list[tuple[Float[Tensor, "d_model d_model"], Float[Tensor, " d_model"]]]:
    """Map and bias of each row, from sums over the text."""
    sums: list[_Sums] = []
    for at, streams, final in _read(model, text, rows, progress):
        counted = _counted(text)[at].to(model.device)
        target = final[counted].float()
        for row, stream in enumerate(streams):
            _batch(progress, text, at)(0.5 + 0.5 * row / len(rows), f"sums of row {rows[row].label}")
            x = stream[counted].float()
            if len(sums) <= row:
                sums.append(_Sums(x.mean(0), (target - x).mean(0)))
            sums[row].add(x, target - x)
    return [one.solve() for one in sums]


class _Sums:
    """What a ridge regression needs of its samples. Taken around a point near the means, or digits would be lost."""

    def __init__(self, x: Float[Tensor, " d_model"], y: Float[Tensor, " d_model"]) -> None:
        self.about = (x, y)
        self.n = 0
        self.x, self.y = (torch.zeros_like(one, dtype=torch.float64) for one in (x, y))
        self.xx, self.xy = (torch.zeros(len(x), len(x), dtype=torch.float64, device=x.device) for _ in range(2))

    def add(self, x: Float[Tensor, "n d_model"], y: Float[Tensor, "n d_model"]) -> None:
        x, y = x - self.about[0], y - self.about[1]
        self.n += len(x)
        self.x += x.sum(0)
        self.y += y.sum(0)
        self.xx += x.T @ x
        self.xy += x.T @ y

    def solve(self) -> tuple[Float[Tensor, "d_model d_model"], Float[Tensor, " d_model"]]:
        """Weight and bias; exactly zero where there is nothing to be learned, in the last row."""
        mean_x, mean_y = self.x / self.n, self.y / self.n
        xx = self.xx / self.n - mean_x[:, None] * mean_x
        xy = self.xy / self.n - mean_x[:, None] * mean_y
        ridge = RIDGE * xx.diagonal().mean().clamp(min=torch.finfo(torch.float32).tiny)
        factor = torch.linalg.cholesky(xx + ridge * torch.eye(len(xx), dtype=xx.dtype, device=xx.device))
        weight = torch.cholesky_solve(xy, factor)
        bias = self.about[1] + mean_y - (self.about[0] + mean_x) @ weight
        return weight.float().cpu(), bias.float().cpu()


def _measured(model: HookedTransformer, text: TokenBatch, fit: FittedDecoder, progress: Progress) -> dict[str, Tensor]:
    """R² and KL of the fit on chapters that it has not seen."""
    counted = _counted(text).to(model.device)
    chosen = torch.stack([_spread_positions(one) for one in counted])
    kl = {name: torch.zeros(len(fit.rows), len(text.tokens)) for name in ("kl", "raw_kl")}
    missed, spread = torch.zeros(len(fit.rows), dtype=torch.float64), _Spread()
    for at, streams, final in _read(model, text, fit.rows, progress):
        here, target = counted[at], final[counted[at]].float()
        spread.add(target.double())
        places = (torch.arange(len(here), device=here.device)[:, None], chosen[at])
        output = _Output(model, final[places])
        for row, stream in enumerate(streams):
            _batch(progress, text, at)(0.5 + 0.5 * row / len(streams), f"KL of row {fit.rows[row].label}")
            missed[row] += (target - fit.read(fit.rows[row], stream[here].float())).double().square().sum().cpu()
            some = stream[places]
            for name, one in (("kl", fit.read(fit.rows[row], some.float()).to(some)), ("raw_kl", some)):
                kl[name][row, at] = output.kl(one).mean(1)
    return {"r2": (1 - missed / spread.total()).float(), **kl}


class _Output:
    """The distributions of the output at some positions, that those of other streams are held against."""

    def __init__(self, model: HookedTransformer, final: Float[Tensor, "chapter pos d_model"]) -> None:
        self.model, self.shape = model, final.shape[:2]
        self.parts = list(chunks(self.shape.numel(), model.cfg.d_vocab))
        self.probs, self.negentropy = [], []
        for at in self.parts:
            logprobs = self._logits(final, at).log_softmax(-1)
            self.probs.append(logprobs.exp())
            self.negentropy.append(torch.linalg.vecdot(self.probs[-1], logprobs))

    def kl(self, stream: Float[Tensor, "chapter pos d_model"]) -> Float[Tensor, "chapter pos"]:
        """Nats, KL(output ‖ stream): Σ p ln p − Σ p z + ln Σ exp z of the stream's logits z."""
        found = []
        for at, probs, negentropy in zip(self.parts, self.probs, self.negentropy, strict=True):
            logits = self._logits(stream, at)
            found.append(negentropy - torch.linalg.vecdot(probs, logits) + logits.logsumexp(-1))
        return torch.cat(found).clamp(min=0).unflatten(0, self.shape).cpu()

    def _logits(self, stream: Float[Tensor, "chapter pos d_model"], at: slice) -> Float[Tensor, "n d_vocab"]:
        some = stream.flatten(0, 1)[at, None]
        return self.model(some, start_at_layer=self.model.cfg.n_layers)[:, 0].float()


class _Spread:
    """Sum of squares around the mean, of all that is added."""

    def __init__(self) -> None:
        self.n, self.sum, self.squares = 0, 0.0, 0.0

    def add(self, x: Float[Tensor, "n d_model"]) -> None:
        self.n += len(x)
        self.sum, self.squares = self.sum + x.sum(0), self.squares + x.square().sum(0)

    def total(self) -> float:
        return float((self.squares - self.sum.square() / self.n).sum())


def _spread_positions(counted: Tensor) -> Tensor:
    places = counted.nonzero()[:, 0]
    return places[torch.linspace(0, len(places) - 1, POSITIONS, device=places.device).round().long()]
