"""One training run: its checkpoints are read into one model in turn, and every result is kept on disk."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from lens.analysis.checkpoint import (
    Inputs,
    OnInstrument,
    OnRepeats,
    OnSequences,
    OnTexts,
    OnTokens,
    Setting,
    inputs_of,
    measure_instruments,
    measure_pattern,
    measure_repeats,
    measure_sequences,
    measure_texts,
    measure_tokens,
    measured_together,
    on_instrument,
)
from lens.analysis.held_out import held_out_digest
from lens.analysis.instruments.instrument import Cost
from lens.analysis.instruments.measure import cost_of
from lens.analysis.instruments.registry import instrument
from lens.analysis.instruments.sample import repeats
from lens.analysis.names import Head
from lens.analysis.random_tokens import RepeatedTokens
from lens.arrays import as_tensor
from lens.finite import NotFinite
from lens.hooked import HookedTransformer
from lens.load.checkpoints import Checkpoints
from lens.load.device import pick_device
from lens.load.identity import content_of, identical, reader_of
from lens.pieces import cut_characters, say_cut
from lens.results import Result, load, remembered, result_key, results_folder, save_if_possible
from lens.tokens import TokenBatch

Scores = TypeVar("Scores")


class Shape(NamedTuple):
    """What a page must know of the models of a run."""

    name: str
    n_layers: int
    n_heads: int
    n_ctx: int
    n_params: int
    note: str
    bos: str  # which token stands before a text, and why
    device: str
    dtype: str
    has_tokenizer: bool


class Reading(NamedTuple):
    """The beginning of a text as a model reads it."""

    tokens: Tensor  # [1, pos]
    words: list[str]
    n_all: int  # tokens of the whole text
    notice: str  # what is odd about how it was read; may be empty
    unknown: float  # share of these tokens that stand for words which the vocabulary does not have


class Measured(NamedTuple):
    """What is known of one checkpoint: either both results, or why there are none."""

    repeats: OnRepeats | None
    texts: OnTexts | None  # None as well where texts are not read
    lost: str = ""  # a sentence; the weights of this checkpoint, or what they compute, are NaN or infinite


class MeasuredScores(NamedTuple, Generic[Scores]):
    """What was asked of one checkpoint: either its numbers, or why there are none."""

    scores: Scores | None
    lost: str = ""  # a sentence; the weights of this checkpoint, or what they compute, are NaN or infinite


class MeasuredInstrument(NamedTuple):
    """One instrument at one checkpoint: either its numbers, or why there are none."""

    scores: OnInstrument | None
    lost: str = ""  # a sentence; the weights of this checkpoint, or what they compute, are NaN or infinite
    n: int = 0  # samples that a number is the mean of: sequences, pairs or tokens; 1 where the weights alone give it
    unit: str = ""


class Terms(NamedTuple):
    """What measuring an instrument at one checkpoint takes, in the units of ``Cost``."""

    why_not: str  # why models of this run have no such number, as a half sentence; "" if they have
    tokens: int
    operations: int


class _Open:
    """The one model of a run, whatever list of its checkpoints is read, for whoever holds the lock."""

    def __init__(self) -> None:
        self.lock = Lock()  # the weights of the one model change
        self.model: HookedTransformer | None = None
        self.reader = ""  # of the files that it was opened from
        self.of: Checkpoints | None = None  # the list that its weights are of


class TrainingRun:
    """The checkpoints of one run, measured one at a time in a model of its own, which is opened when it is needed.

    What was measured once, in this process or another, is read from disk; the model is then never opened.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.first = 0  # the checkpoint that is opened where any would do
        self._known: tuple[Setting, Inputs] | None = None
        self._open = _Open()

    def listed_again(self, checkpoints: Checkpoints) -> "TrainingRun":
        """The same run with the checkpoints it has now. Both read one model; this one keeps its own list."""
        run = TrainingRun(checkpoints)
        run._open = self._open
        return run

    def shape(self) -> Shape:
        """Name and sizes of the models of this run."""
        parts = {"reader": self._reader(), "device": str(pick_device(None))}
        result = remembered(result_key("shape", __name__, **parts), self._shape)
        return Shape(**result.facts)

    def identical(self, indices: Iterable[int] | None = None) -> tuple[tuple[int, ...], ...]:
        """Groups of checkpoints, of these or of all, whose files are the same: between them nothing was learned."""
        chosen = range(len(self.checkpoints)) if indices is None else indices
        return identical({index: self.content(index) for index in chosen})

    def content(self, index: int) -> str:
        """:func:`content_of` one checkpoint: the name under which its results are kept."""
        return self._identity("content", index, content_of)

    def open(self, index: int) -> None:
        """Read the weights of one checkpoint. Whatever is wrong with its files, it is raised here."""
        with self._open.lock:
            self._at(index)

    def inputs(self, setting: Setting) -> Inputs:
        """The tokens that every checkpoint is measured on."""
        known = self._known  # one pair, so that two threads never mix a setting and another's tokens
        if known is None or known[0] != setting:
            kept = remembered(self._inputs_key(setting), lambda: self._inputs(setting))
            known = self._known = (setting, _unpacked_inputs(kept))
        return known[1]

    def is_kept(self, index: int, setting: Setting) -> bool:
        """Whether :meth:`repeats` and :meth:`texts` of a checkpoint lie on disk."""
        inputs = self.inputs(setting)
        keys = [self._repeats_key(index, inputs.repeated)]
        keys += [] if inputs.texts is None else [self._key("texts", index, inputs.texts.tokens, inputs.texts.mask)]
        return all(map(_is_kept, keys))

    def measure(self, index: int, setting: Setting, texts: bool = True) -> Measured:
        """:meth:`repeats` and, if wanted, :meth:`texts`; a checkpoint that is not finite loses its own point only."""
        try:
            return Measured(self.repeats(index, setting), self.texts(index, setting) if texts else None)
        except NotFinite as fault:
            return Measured(None, None, self._lost(index, fault))

    def repeats(self, index: int, setting: Setting) -> OnRepeats:
        """:func:`measure_repeats` at one checkpoint."""
        repeated = self.inputs(setting).repeated
        key = self._repeats_key(index, repeated)
        return OnRepeats(**self._measured(key, index, lambda model: measure_repeats(model, repeated)._asdict()))

    def texts(self, index: int, setting: Setting) -> OnTexts | None:
        """:func:`measure_texts` at one checkpoint; None for a run whose models read no texts."""
        texts = self.inputs(setting).texts
        if texts is None:
            return None
        key = self._key("texts", index, texts.tokens, texts.mask)
        return OnTexts(**self._measured(key, index, lambda model: measure_texts(model, texts)._asdict()))

    def instrument(self, index: int, name: str, setting: Setting) -> OnInstrument:
        """:func:`on_instrument` of one instrument at one checkpoint."""
        key = self._instrument_key(index, name, setting)
        kept = remembered(key, lambda: self._instruments(index, [name], setting)[name])
        return _unpacked_instrument(kept).scores

    def instruments(self, index: int, names: Sequence[str], setting: Setting) -> dict[str, MeasuredInstrument]:
        """Several instruments at one checkpoint, by name: the same results as one by one, in less time.

        One that is not finite is lost by itself, or with all those that read the same patterns.
        """
        keys = {name: self._instrument_key(index, name, setting) for name in names}
        kept = {name: load(key) for name, key in keys.items()}
        measured = {name: _unpacked_instrument(one) for name, one in kept.items() if one is not None}
        for group in measured_together([name for name in names if name not in measured]):
            try:
                results = self._instruments(index, group, setting)
            except NotFinite as fault:
                measured |= dict.fromkeys(group, MeasuredInstrument(None, self._lost(index, fault)))
            else:
                for name, result in results.items():
                    save_if_possible(keys[name], result)
                    measured[name] = _unpacked_instrument(result)
        return {name: measured[name] for name in names}

    def measure_instrument(self, index: int, name: str, setting: Setting) -> MeasuredInstrument:
        """:meth:`instrument`; a checkpoint that is not finite loses its own point only."""
        return self.instruments(index, [name], setting)[name]

    def sequences(self, index: int, name: str, setting: Setting) -> MeasuredScores[OnSequences]:
        """:func:`measure_sequences` at one checkpoint; one that is not finite loses its own point only."""
        inputs, key = self.inputs(setting), self._instrument_key(index, f"{name}-sequences", setting)

        def measure(model: HookedTransformer) -> dict[str, Tensor]:
            return measure_sequences(model, name, inputs)._asdict()

        return self._or_lost(index, lambda: OnSequences(**self._measured(key, index, measure)))

    def tokens(self, index: int, tokens: Int[Tensor, "1 pos"]) -> MeasuredScores[OnTokens]:
        """:func:`measure_tokens` at one checkpoint; one that is not finite loses its own point only."""
        key = self._key("tokens", index, tokens)

        def measure(model: HookedTransformer) -> dict[str, Tensor]:
            return measure_tokens(model, tokens)._asdict()

        return self._or_lost(index, lambda: OnTokens(**self._measured(key, index, measure)))

    def has_instrument(self, index: int, name: str, setting: Setting) -> bool:
        """Whether :meth:`instrument` of a checkpoint lies on disk."""
        return _is_kept(self._instrument_key(index, name, setting))

    def terms(self, name: str, setting: Setting) -> Terms:
        """Whether an instrument can be measured in these models, and what that takes at one checkpoint."""
        return Terms(**remembered(self._terms_key(name, setting), lambda: self._terms(name, setting)).facts)

    def knows(self, index: int, names: Sequence[str], setting: Setting) -> bool:
        """Whether it can be said what is kept of a checkpoint: it is here, or was, and is remembered."""
        if self.checkpoints.is_local(index):
            return True
        named = [self._identity_key("content", index), self._identity_key("reader", self.first)]
        if not all(map(_is_kept, named)):
            return False
        return _is_kept(self._inputs_key(setting)) and self.has_terms(names, setting)

    def has_terms(self, names: Sequence[str], setting: Setting) -> bool:
        """Whether :meth:`terms` of all these lie on disk: then no model is opened for them."""
        return all(_is_kept(self._terms_key(name, setting)) for name in names)

    def pattern(self, index: int, tokens: Tensor, head: Head) -> Tensor:
        """Attention [query, key] of one head on one text [1, pos] at one checkpoint."""
        key = self._key("pattern", index, tokens, layer=head.layer, head=head.head)
        measured = self._measured(key, index, lambda model: {"pattern": measure_pattern(model, tokens, head)})
        return measured["pattern"]

    def read(self, text: str, prepend_bos: bool | None, longest: int) -> Reading:
        """The first ``longest`` tokens of a text; ValueError if there is none, or no tokenizer."""
        with self._open.lock:
            model = self._opened()
            ids = model.all_ids(text, prepend_bos if model.bos.id is not None else False)
            kept = torch.tensor(ids[: min(longest, model.cfg.n_ctx)])
            odd = (model.two_bos(ids), say_cut(cut_characters(model.tokenizer, kept.tolist())))
            notice = " ".join(sentence for sentence in odd if sentence)
            unknown = float((kept == model.tokenizer.unk_token_id).float().mean()) if model.tokenizer.unk_token else 0.0
            return Reading(kept[None], model.to_str_tokens(kept), len(ids), notice, unknown)

    def _repeats_key(self, index: int, repeated: RepeatedTokens) -> str:
        return self._key("repeats", index, repeated.tokens, repeated.control, n=repeated.n, bos=repeated.bos)

    def _instrument_key(self, index: int, name: str, setting: Setting) -> str:
        one = self.inputs(setting).repeated
        return self._key(f"instrument-{name}", index, one.tokens, one.control, n=one.n, bos=one.bos, seed=one.seed)

    def _or_lost(self, index: int, measure: Callable[[], Scores]) -> MeasuredScores[Scores]:
        try:
            return MeasuredScores(measure())
        except NotFinite as fault:
            return MeasuredScores(None, self._lost(index, fault))

    def _lost(self, index: int, fault: NotFinite) -> str:
        return f"The checkpoint at {self.checkpoints.labels[index]:,} {self.checkpoints.unit}: {fault}"

    def _inputs_key(self, setting: Setting) -> str:
        parts = {"reader": self._reader(), "text": held_out_digest(), "setting": list(setting)}
        return result_key("inputs", __name__, **parts)

    def _terms_key(self, name: str, setting: Setting) -> str:
        return result_key("terms", __name__, reader=self._reader(), name=name, setting=list(setting))

    def _identity_key(self, what: str, index: int) -> str:
        run = self.checkpoints
        return result_key(what, "lens.load.identity", hub_id=run.entry.hub_id, place=run.at(index).place)

    def _reader(self) -> str:
        return self._identity("reader", self.first, reader_of)

    def _identity(self, what: str, index: int, read: Callable[[Checkpoints, int], str]) -> str:
        """What files say; of a revision of the Hub that has been deleted since, what they said while they were here."""
        run = self.checkpoints
        if run.entry.hub_id is None:
            return read(run, index)
        key = self._identity_key(what, index)
        kept = load(key)
        if kept is not None and not run.is_local(index):
            return kept.facts[what]
        made = read(run, index)
        if kept is None or kept.facts[what] != made:
            save_if_possible(key, Result({}, {what: made}))
        return made

    def _key(self, analysis: str, index: int, *tokens: Tensor, **parameters: int) -> str:
        digest = hashlib.sha256(b"".join(_bytes_of(one) for one in tokens)).hexdigest()
        weights, device = self.content(index), str(pick_device(None))
        return result_key(analysis, __name__, weights=weights, tokens=digest, parameters=parameters, device=device)

    def _measured(self, key: str, index: int, measure) -> dict[str, Tensor]:
        def compute() -> Result:
            with self._open.lock:
                return Result({name: tensor.numpy() for name, tensor in measure(self._at(index)).items()}, {})

        return _tensors(remembered(key, compute))

    def _instruments(self, index: int, names: Sequence[str], setting: Setting) -> dict[str, Result]:
        """Instruments at one checkpoint as they are kept."""
        inputs = self.inputs(setting)
        with self._open.lock:
            scores = measure_instruments(self._at(index), names, inputs)
        return {
            name: Result(
                {field: tensor.numpy() for field, tensor in on_instrument(score)._asdict().items()},
                {"n": score.score.n, "unit": score.kind.unit},
            )
            for name, score in scores.items()
        }

    def _at(self, index: int) -> HookedTransformer:
        """The model with the weights of one checkpoint, for whoever holds the lock."""
        model = self._opened()
        if self._open.of is not self.checkpoints or model.checkpoint.index != index:
            model.load_checkpoint(index, of=self.checkpoints)
            self._open.of = self.checkpoints
        return model

    def _opened(self) -> HookedTransformer:
        """The model, with the weights of any checkpoint, for whoever holds the lock."""
        held = self._open
        if held.of is self.checkpoints:
            return held.model
        reader = self._reader()
        if held.reader != reader:  # not open yet, or with another config
            held.model, held.reader, held.of = None, "", None  # two of them need not fit
            held.model = HookedTransformer.from_pretrained(self.checkpoints, checkpoint_index=self.first)
            held.reader, held.of = reader, self.checkpoints
        return held.model

    def _shape(self) -> Result:
        with self._open.lock:
            model = self._opened()
            cfg, bos, has_tokenizer = model.cfg, model.bos, model.tokenizer is not None
        start = f"No BOS: {bos.reason}." if bos.id is None else f"BOS {bos.token} (id {bos.id}): {bos.reason}."
        sizes = (cfg.n_layers, cfg.n_heads, cfg.n_ctx, sum(one.numel() for one in model.parameters()))
        shape = Shape(model.name, *sizes, model.note, start, str(model.device), str(model.dtype), has_tokenizer)
        return Result({}, shape._asdict())

    def _terms(self, name: str, setting: Setting) -> Result:
        one, samples = instrument(name), [repeats(self.inputs(setting).repeated)]
        with self._open.lock:
            model = self._opened()
        why = one.needs.lacks_in(model)
        cost = Cost(0) if why else cost_of(model.cfg, [one], samples)
        return Result({}, Terms(why, *cost)._asdict())

    def _inputs(self, setting: Setting) -> Result:
        with self._open.lock:
            made = inputs_of(self._opened(), setting)
        facts = {name: value for name, value in made.repeated._asdict().items() if not isinstance(value, Tensor)}
        arrays = {"tokens": made.repeated.tokens, "control": made.repeated.control}
        if made.texts is not None:
            arrays |= {"texts": made.texts.tokens, "mask": made.texts.mask}
        facts |= {"words": made.words}
        return Result({name: array.numpy() for name, array in arrays.items()}, facts)


def _is_kept(key: str) -> bool:
    return (results_folder() / key).is_file()


def _tensors(kept: Result) -> dict[str, Tensor]:
    return {name: as_tensor(array) for name, array in kept.arrays.items()}


def _unpacked_instrument(kept: Result) -> MeasuredInstrument:
    return MeasuredInstrument(OnInstrument(**_tensors(kept)), **kept.facts)


def _unpacked_inputs(kept: Result) -> Inputs:
    arrays = _tensors(kept)
    facts = dict(kept.facts)
    words = facts.pop("words")
    repeated = RepeatedTokens(tokens=arrays["tokens"], control=arrays["control"], **facts)
    texts = TokenBatch(arrays["texts"], arrays["mask"]) if "texts" in arrays else None
    return Inputs(repeated, texts, words)


def _bytes_of(tokens: Tensor) -> bytes:
    array = np.ascontiguousarray(tokens.cpu().numpy())
    return f"{array.dtype}{array.shape}".encode() + array.tobytes()
